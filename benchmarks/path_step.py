"""A training step of one path of a supernet over the same step of that architecture's own network.

    python benchmarks/path_step.py              all settings
    python benchmarks/path_step.py --only darts settings whose name begins so

A step is forward, backward, clipping and SGD with momentum; on the supernet by `weight_step`, as
the single-path methods take it, on the stand-alone network by the usual `loss.backward()` and
`optimizer.step()`. Architectures are random; both take the same step in turn, so that other load on
the machine hits both alike. Times are CPU time of the process, on one thread; the ratio is the
median over all pairs of steps.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.utils import clip_grad_norm_

from morphogen import spaces
from morphogen.bilevel.optimisers import SGD
from morphogen.bilevel.state import SupernetState, new_supernet, weight_step
from morphogen.supernets import Gates, NetworkSpec, network
from morphogen.tasks import Batch
from morphogen.tasks.classification import Images, ImageTask
from morphogen.tasks.problem import Clock, Problem

sys.path.insert(0, str(Path(__file__).parent))
import record

MOST = 1.15
"""Largest ratio that is fine."""

ARCHITECTURES = 5
"""Random architectures of a setting."""

RATE = SGD(lr=0.01)
CLOCK = Clock(epoch=0, epochs=1, step=0, steps=1)


@dataclass(frozen=True)
class Setting:
    """What is measured; `rounds` pairs of steps of each architecture."""

    space: str
    channels: int
    depth: int
    batch: int
    side: int
    rounds: int
    execution: Literal["fused", "plain"] = "fused"
    both: bool = False
    """The space has two ways to run; it is named."""

    @property
    def name(self) -> str:
        """Space, sizes and way, as the record calls it."""
        way = f", {self.execution}" if self.both else ""
        depth = f", depth {self.depth}" if self.both else ""
        return (
            f"{self.space}, C={self.channels}{depth}, batch {self.batch}, "
            f"{self.side}x{self.side}{way}"
        )


SETTINGS = (
    Setting("shufflenet-small", 8, 1, 64, 16, 5),
    Setting("shufflenet-cifar", 16, 1, 8, 32, 3),
    Setting("nasbench-macro", 16, 1, 16, 32, 4),
    *(
        Setting("nasbench201", 16, depth, batch, 32, rounds, way, both=True)
        for depth, batch, rounds in ((1, 32, 4), (5, 16, 3))
        for way in ("fused", "plain")
    ),
    *(Setting("darts", 16, 8, 8, 32, 2, way, both=True) for way in ("fused", "plain")),
)


def measure(setting: Setting) -> dict[str, float]:
    """Median CPU milliseconds of both steps; median and quartiles of the ratios of pairs."""
    torch.manual_seed(0)
    space = spaces.make(setting.space)
    spec = NetworkSpec(channels=setting.channels, depth=setting.depth, execution=setting.execution)
    g = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (64, 3, setting.side, setting.side), generator=g)
    labels = torch.arange(64) % 10
    data = Images(pixels.to(torch.uint8), labels, tuple("0123456789"))
    task = ImageTask.of(data, train_images=32, valid_images=32, seed=0)
    problem = Problem(space, task, spec, batch_size=16)
    net = new_supernet(problem)
    state = SupernetState(net, RATE.make(net.parameters()))
    x = torch.randn(setting.batch, 3, setting.side, setting.side, generator=g)
    y = torch.randint(10, (setting.batch,), generator=g)
    rng = np.random.default_rng(0)
    pairs: list[tuple[Callable[[], None], Callable[[], None]]] = []
    for _ in range(ARCHITECTURES):
        arch = space.sample(rng)
        own = network(space, arch, spec).train()
        optimiser = torch.optim.SGD(
            own.parameters(),
            lr=RATE.lr,
            momentum=RATE.momentum,
            nesterov=RATE.nesterov,
            weight_decay=RATE.weight_decay,
        )
        gates = Gates.of(space, arch)

        def path(gates: Gates = gates) -> None:
            weight_step(state, problem, Batch(x, y, len(y)), gates, RATE, CLOCK)

        def alone(own: torch.nn.Module = own, optimiser: torch.optim.SGD = optimiser) -> None:
            F.cross_entropy(own(x), y).backward()  # type: ignore[no-untyped-call]
            clip_grad_norm_(own.parameters(), RATE.clip)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

        pairs.append((path, alone))
    taken: list[tuple[float, float]] = []
    for turn in range(setting.rounds + 1):
        for path, alone in pairs:
            first, second = (path, alone) if turn % 2 else (alone, path)
            one, other = _milliseconds(first), _milliseconds(second)
            if turn:  # the first turn warms up
                taken.append((one, other) if first is path else (other, one))
    path_ms, alone_ms = (statistics.median(column) for column in zip(*taken, strict=True))
    low, middle, high = statistics.quantiles([a / b for a, b in taken], n=4)
    return {
        "path_ms": round(path_ms, 1),
        "alone_ms": round(alone_ms, 1),
        "ratio": round(middle, 3),
        "ratio_first_quartile": round(low, 3),
        "ratio_third_quartile": round(high, 3),
        "pairs": len(taken),
    }


def _milliseconds(run: Callable[[], None]) -> float:
    begin = time.process_time()
    run()
    return 1000 * (time.process_time() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="settings whose name begins so; no record")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    began = time.perf_counter()
    figures = {}
    for setting in SETTINGS:
        if setting.name.startswith(only):
            figures[setting.name] = found = measure(setting)
            print(
                f"{setting.name:50s} path {found['path_ms']:8.1f} ms, alone "
                f"{found['alone_ms']:8.1f} ms, ratio {found['ratio']:.3f} "
                f"({found['ratio_first_quartile']:.2f} to {found['ratio_third_quartile']:.2f})",
                flush=True,
            )
    if only:
        return
    default = {n: f["ratio"] for n, f in figures.items() if not n.endswith("plain")}
    worst = max(default, key=lambda n: default[n])
    above = [n for n, ratio in default.items() if ratio > MOST]
    record.write(
        "path-step",
        claim="A training step of one path of a supernet takes at most 15 % longer than the same "
        "step of that architecture's own network, in every space.",
        system="supernets, bilevel.weight_step",
        command="python benchmarks/path_step.py",
        seeds=[0],
        split="random images; time does not depend on them",
        figures=figures,
        published={"figure": f"{MOST}", "source": "the house's own requirement"},
        cost={"seconds": round(time.perf_counter() - began), "threads": 1},
        headline=f"path / own network, CPU time: {min(default.values()):.2f} to "
        f"{max(default.values()):.2f}, most in {worst}",
        verdict="partly" if above else "shown",
        why=(f"above {MOST}: {'; '.join(above)}" if above else f"all at most {MOST}")
        + "; one thread, medians of alternating steps on a machine shared with other work; of "
        "spaces with two ways to run the default one, fused, counts",
    )


if __name__ == "__main__":
    main()
