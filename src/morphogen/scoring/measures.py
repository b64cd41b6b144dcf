"""Measures of a supernet under gates: what operation scores ask. Higher is better.

None of them changes the supernet: batch norms use the statistics of the batch and leave the running
ones alone, and torch's generator is put back, so that options which draw noise are compared under
the same noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from morphogen.proxies import PROXIES, score
from morphogen.scoring.scores import Measure
from morphogen.supernets import Gated, Gates, Supernet, frozen_statistics
from morphogen.tasks.problem import Batch, Problem


if TYPE_CHECKING:
    ProxyName = str
else:
    ProxyName = Literal[tuple(PROXIES)]
    """The name of a proxy; a configuration refuses any other."""


def accuracy(problem: Problem, net: Supernet, batches: Sequence[Batch]) -> Measure:
    """Percent of the images classified rightly, batch norms with the statistics of each batch."""
    return lambda gates: _over(problem, net, gates, batches)[0]


def minus_loss(problem: Problem, net: Supernet, batches: Sequence[Batch]) -> Measure:
    """Minus the mean loss, batch norms with the statistics of each batch."""
    return lambda gates: -_over(problem, net, gates, batches)[1]


def zero_cost(problem: Problem, net: Supernet, proxy: str, batch: Batch) -> Measure:
    """A proxy of the supernet on one minibatch, each operation executed by itself.

    Fused execution would share activations between operations, and a proxy that counts them would
    not see which operation is missing.
    """

    def measure(gates: Gates) -> float:
        with plain(net):
            return proxy_of(problem, Gated(net, gates.detach()), proxy, batch)

    return measure


def proxy_of(problem: Problem, net: nn.Module, proxy: str, batch: Batch) -> float:
    """A proxy of any network; NaN where it is no finite number."""
    value = score(proxy, net, *batch, loss=problem.task.loss)
    return value if math.isfinite(value) else math.nan


@contextmanager
def plain(net: nn.Module) -> Iterator[None]:
    """Within the context a supernet with several ways of execution runs one module per option."""
    before = getattr(net, "execution", None)
    if before is None:
        yield
        return
    net.execution = "plain"
    try:
        yield
    finally:
        net.execution = before


@torch.no_grad()
def _over(
    problem: Problem, net: Supernet, gates: Gates, batches: Sequence[Batch]
) -> tuple[float, float]:
    """Accuracy in percent and mean loss."""
    loss, right, total = 0.0, 0, 0
    gates = gates.detach()
    with frozen_statistics(net), torch.random.fork_rng(devices=[]), problem.devices.autocast():
        for x, y in batches:
            scores = net(x, gates).float()
            loss += float(problem.task.loss(scores, y)) * len(y)
            right += int((scores.argmax(dim=1) == y).sum())
            total += len(y)
    return 100.0 * right / total, loss / total
