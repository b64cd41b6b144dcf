"""Latency, measured on this machine: medians of many interleaved rounds after a warm-up."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from morphogen.core import arguments, ranges
from morphogen.cost.count import Input, batch_of
from morphogen.supernets.nested import call


@dataclass(frozen=True)
class Latency:
    """Milliseconds of a forward pass over one batch, in evaluation mode."""

    median: float
    low: float
    """First quartile."""
    high: float
    """Third quartile; much above the median where something else kept the machine busy."""
    rounds: int
    batch: int
    threads: int
    """CPU threads that torch used."""
    device: str


def latency(
    nets: Sequence[nn.Module],
    image: Input = (3, 32, 32),
    *,
    batch: int = 1,
    rounds: int = 50,
    warm_up: int = 5,
    threads: int = 0,
) -> list[Latency]:
    """Measure how long networks take, one after the other in every round.

    Interleaved, they share whatever disturbs the machine, so that they can be compared with each
    other better than with a measurement of another hour.

    Args:
        nets: networks on one device, with content (not on meta).
        image: one input, see `Input`.
        batch: inputs of a pass.
        rounds: measurements of each network.
        warm_up: passes of each network before, which do not count.
        threads: CPU threads; 0 leaves torch's number.

    Raises:
        ConfigError: a number is out of range.
    """
    batch = arguments.whole("batch", batch, ranges.COUNT)
    rounds = arguments.whole("rounds", rounds, ranges.ROUNDS)
    threads = arguments.whole("threads", threads, ranges.THREADS)
    warm_up = arguments.whole("warm_up", warm_up, ranges.ROUNDS.or_zero)
    if not nets:
        return []
    place = next(nets[0].parameters(), torch.empty(0)).device
    drawn = partial(torch.randn, generator=torch.Generator().manual_seed(0))
    x = batch_of(image, batch, drawn, place)
    taken = np.empty((rounds, len(nets)))
    modes = [(module, module.training) for net in nets for module in net.modules()]
    with torch.inference_mode(), _threads(threads):
        for net in nets:
            net.eval()
            for _ in range(warm_up):
                call(net, x)
        for i in range(rounds):
            for j, net in enumerate(nets):
                _wait(place)
                start = time.perf_counter()
                call(net, x)
                _wait(place)
                taken[i, j] = 1000 * (time.perf_counter() - start)
        used = torch.get_num_threads()
    for module, training in modes:
        module.training = training
    low, median, high = np.quantile(taken, (0.25, 0.5, 0.75), axis=0)
    return [
        Latency(float(m), float(a), float(b), rounds, batch, used, str(place))
        for m, a, b in zip(median, low, high, strict=True)
    ]


def _wait(place: torch.device) -> None:
    """Kernels of an accelerator run behind Python's back."""
    if place.type != "cpu":
        torch.accelerator.synchronize(place)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
