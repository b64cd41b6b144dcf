"""A training step of networks whose images are channels-last on a CPU, over the same step without.

    python benchmarks/layout.py

Networks of images lay their input out with channels innermost (`fused.quick_layout`), and what
follows keeps that layout. Here they take the same step with images as they come, for grey and for
coloured ones: forward, backward and SGD with momentum, in turn, so that other load on the machine
hits both alike. Times are CPU time of the process, on one thread; the ratio is the median over
pairs of steps.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from unittest.mock import patch

import numpy as np
import record
import torch
import torch.nn.functional as F

from morphogen import spaces
from morphogen.bilevel.optimisers import SGD
from morphogen.core import Architecture
from morphogen.spaces import SearchSpace, reference_of
from morphogen.supernets import NetworkSpec, fused, network

SPACES = (
    "nasbench201",
    "darts",
    "nasbench-macro",
    "nasbench1shot1-s1",
    "shufflenet-small",
    "anynet",
    "impala-cnn-minatar",
)
CHANNELS, SIDE, BATCH = 16, 32, 32
ARCHITECTURES, ROUNDS = 3, 9


def as_they_come() -> AbstractContextManager[object]:
    """Within it networks leave the layout of images alone."""
    return patch.object(fused, "quick_layout", lambda x: x)


def architectures(space: SearchSpace) -> list[Architecture]:
    """The space's reference, if it is one of its own, and some drawn at random."""
    rng = np.random.default_rng(0)
    known = reference_of(space)
    own = [known.architecture] if known and known.space.name == space.name else []
    return [*own, *(space.sample(rng) for _ in range(ARCHITECTURES - len(own)))]


def stepper(
    space: SearchSpace, arch: Architecture, images: int, within: AbstractContextManager[object]
) -> Callable[[], float]:
    """What takes a step, and gives its CPU milliseconds.

    Args:
        space: of the architecture.
        arch: of the network.
        images: channels of its input.
        within: a context for the forward pass, that can be entered again and again.
    """
    torch.manual_seed(0)
    spec = NetworkSpec(channels=CHANNELS, depth=1, in_channels=images, classes=10)
    net = network(space, arch, spec).train()
    optimiser = SGD(lr=0.01).make(net.parameters())
    x, y = torch.randn(BATCH, images, SIDE, SIDE), torch.randint(10, (BATCH,))

    def step() -> float:
        begin = time.process_time()
        with within:
            out = net(x)
        F.cross_entropy(out, y).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return 1000 * (time.process_time() - begin)

    return step


def measure(name: str, images: int) -> dict[str, float]:
    """Median milliseconds of both steps; median and quartiles of the ratios of pairs."""
    space, taken = spaces.make(name), list[tuple[float, float]]()
    for arch in architectures(space):
        laid = stepper(space, arch, images, nullcontext())
        plain = stepper(space, arch, images, as_they_come())
        for turn in range(ROUNDS + 1):
            pair = (laid(), plain()) if turn % 2 else (plain(), laid())[::-1]
            if turn:  # the first turn warms up
                taken.append(pair)
    low, middle, high = statistics.quantiles([one / other for one, other in taken], n=4)
    laid_ms, plain_ms = (statistics.median(column) for column in zip(*taken, strict=True))
    return {
        "channels_last_ms": round(laid_ms, 1),
        "as_they_come_ms": round(plain_ms, 1),
        "ratio": round(middle, 3),
        "ratio_first_quartile": round(low, 3),
        "ratio_third_quartile": round(high, 3),
        "pairs": len(taken),
    }


def main() -> None:
    torch.set_num_threads(1)
    began, figures = time.perf_counter(), {}
    for name in SPACES:
        for images, kind in ((1, "grey"), (3, "coloured")):
            figures[f"{name}, {kind}"] = found = measure(name, images)
            print(f"{name:20s} {kind:9s} {found}", flush=True)
    ratios = {name: found["ratio"] for name, found in figures.items()}
    best, worst = min(ratios, key=lambda n: ratios[n]), max(ratios, key=lambda n: ratios[n])
    record.write(
        "layout",
        claim="On a CPU a training step of a network takes no longer, and mostly less, with images "
        "laid out channels-last.",
        system="supernets",
        command="python benchmarks/layout.py",
        seeds=[0],
        split="random images; time does not depend on them",
        figures=figures,
        published={"figure": "1.05", "source": "the house's own requirement"},
        cost={"seconds": round(time.perf_counter() - began), "threads": 1},
        headline=f"with / without, CPU time: {ratios[best]:.2f} ({best}) to {ratios[worst]:.2f} "
        f"({worst})",
        verdict="shown" if max(ratios.values()) <= 1.05 else "partly",
        why=f"at most 1.05 counts as no longer; {CHANNELS} channels, batches of {BATCH} images of "
        f"{SIDE} x {SIDE}, one thread, medians of alternating steps",
    )


if __name__ == "__main__":
    main()
