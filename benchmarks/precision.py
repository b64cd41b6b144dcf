"""How far float32 is from float64: scores and gradients of fused and plain supernets.

    python benchmarks/precision.py      Fashion-MNIST as embedded, NAS-Bench-201 and DARTS supernets

The same weights, gates and images go through the plain supernet in float64, and in float32 through
the plain one, the fused one, and the fused one with batch statistics as torch's kernel adds them up
(one row after the other; `rows in turn`). Errors are norms of differences over the norm of what
float64 gives, medians over seeds. Gradients jump where the input of a ReLU or the winner of a max
pooling changes by rounding: one such place decides the error of a gradient, in plain execution too.
Times are CPU time of a weight and an alpha step on one core, the variants in turn.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from morphogen import spaces, supernets
from morphogen.supernets import Gates, NetworkSpec, Supernet
from morphogen.supernets import darts as darts_module
from morphogen.supernets.fused import forward, norms
from morphogen.tasks.classification import ImageTask

sys.path.insert(0, str(Path(__file__).parent))
import record

SETTINGS = {"nasbench201": (1, 64), "darts": (3, 16)}
"""Space -> depth and batch."""
VARIANTS = ("plain", "fused", "fused, rows in turn")


@contextmanager
def rows_in_turn() -> Iterator[None]:
    """Batch statistics by torch's kernels for channels-last images."""

    def own(images: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance = torch.batch_norm_update_stats(images, None, None, 0.0)
        return mean, variance

    ours = forward.statistics, norms.served, darts_module.fused.served
    forward.statistics = own
    norms.served = darts_module.fused.served = lambda x: False
    try:
        yield
    finally:
        forward.statistics, norms.served, darts_module.fused.served = ours


class Case:
    """One supernet, its weights drawn from a seed, on one batch of real images."""

    def __init__(self, name: str, seed: int, task: ImageTask) -> None:
        depth, batch = SETTINGS[name]
        self.space = spaces.make(name)
        generator = torch.Generator().manual_seed(seed)
        self.x, self.y, _ = task.stream("train", batch, generator, augmented=False).next()
        self.alphas = {
            group: 1e-3 * torch.randn(mask.shape, generator=generator)
            for group, mask in self.space.masks.items()
        }
        torch.manual_seed(seed)
        spec = NetworkSpec(channels=16, depth=depth, in_channels=task.in_channels)
        self.net = supernets.build(self.space, spec)

    def made(self, variant: str, dtype: torch.dtype = torch.float32) -> Supernet:
        """The supernet as the variant executes it."""
        net = copy.deepcopy(self.net).to(dtype)
        net.execution = variant.partition(",")[0]  # type: ignore[assignment]
        return net

    def outcome(self, net: Supernet, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
        """Scores, the gradient of all alphas, that of all weights; each as one float64 vector."""
        alphas = {k: a.to(dtype).requires_grad_() for k, a in self.alphas.items()}
        rows = {k: torch.softmax(a, 1) for k, a in alphas.items()}
        scores = net(self.x.to(dtype), Gates.dense(self.space, rows))
        inputs = [*alphas.values(), *net.parameters()]
        found = torch.autograd.grad(F.cross_entropy(scores, self.y), inputs, materialize_grads=True)
        count = len(alphas)
        parts = ([scores.detach()], found[:count], found[count:])
        return tuple(torch.cat([t.reshape(-1).double() for t in part]) for part in parts)

    def errors(self) -> dict[str, list[float]]:
        """Variant -> relative error of scores, alpha gradient, weight gradient."""
        exact = self.outcome(self.made("plain", torch.float64), torch.float64)
        found = {}
        for variant in VARIANTS:
            net = self.made(variant)
            if "turn" in variant:
                with rows_in_turn():
                    got = self.outcome(net)
            else:
                got = self.outcome(net)
            pairs = zip(got, exact, strict=True)
            found[variant] = [float((a - b).norm() / b.norm()) for a, b in pairs]
        return found

    def time_ratio(self, rounds: int) -> float:
        """CPU time of a forward and full backward pass, fused, by that with rows in turn.

        Medians over rounds, in each of which both are measured.
        """
        net = self.made("fused")
        ours: list[float] = []
        theirs: list[float] = []
        for turn in range(rounds + 1):
            began = time.process_time()
            self.outcome(net)
            between = time.process_time()
            with rows_in_turn():
                self.outcome(net)
            if turn:  # the first turn warms up
                ours.append(between - began)
                theirs.append(time.process_time() - between)
        return statistics.median(ours) / statistics.median(theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.perf_counter()
    task = ImageTask.of("fashion-mnist", train_images=1000, valid_images=100, seed=0)
    figures: dict[str, dict[str, Any]] = {}
    worst, before = 0.0, 0.0
    for name, (depth, batch) in SETTINGS.items():
        cases = [Case(name, seed, task) for seed in range(options.seeds)]
        errors = [case.errors() for case in cases]
        middle = {
            variant: dict(
                zip(
                    ("scores", "alpha gradient", "weight gradient"),
                    (
                        float(f"{statistics.median(e[variant][i] for e in errors):.3g}")
                        for i in range(3)
                    ),
                    strict=True,
                )
            )
            for variant in VARIANTS
        }
        ratio = cases[0].time_ratio(options.rounds)
        worst = max(worst, middle["fused"]["scores"] / middle["plain"]["scores"])
        before = max(before, middle[VARIANTS[2]]["scores"] / middle["plain"]["scores"])
        figures[f"{name}, C=16, depth {depth}, batch {batch}"] = {
            "relative error": middle,
            "time ratio": round(ratio, 3),
        }
        print(name, figures)
    times = ", ".join(f"{f['time ratio']:.2f}" for f in figures.values())
    record.write(
        "fused-precision",
        claim="In float32, scores of fused supernets are at most twice as far from float64 as "
        "those of plain ones.",
        system="supernets.fused",
        command="python benchmarks/precision.py",
        seeds=range(options.seeds),
        split="embedded Fashion-MNIST, training images; nothing is trained",
        figures=figures,
        published={"figure": "none", "source": "a property of this implementation"},
        cost={"seconds": round(time.perf_counter() - began, 1), "threads": 1},
        headline=f"scores {worst:.1f} times plain's error ({before:.0f} with torch's order of "
        f"sums), for {times} of the time of a step ({', '.join(SETTINGS)})",
        verdict="shown" if worst <= 2 else "not shown",
        why="medians over seeds, worst of two spaces; gradients jump at kinks, so that their "
        "errors vary much. Of time nothing is claimed: it is measured beside",
    )


if __name__ == "__main__":
    main()
