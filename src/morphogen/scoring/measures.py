"""Measures of a supernet under gates: what operation scores ask. Higher is better.

None of them changes the supernet or draws from torch's own generator; each call draws the same
noise, so that options which draw are compared under equal draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from torch import nn

from morphogen.evaluators.supernet import SupernetEvaluator
from morphogen.proxies import PROXIES, score
from morphogen.scoring.resumed import Resumed
from morphogen.scoring.scores import Measure
from morphogen.supernets import Gated, Gates, Layered, Supernet
from morphogen.tasks import Batch
from morphogen.tasks.problem import Problem

if TYPE_CHECKING:
    ProxyName = str
else:
    ProxyName = Literal[tuple(PROXIES)]
    """The name of a proxy; a configuration refuses any other."""


NWOT = {"nwot": True, "nwot_eval": False}
"""Proxies that add up over layers, and whether batch norms are in train mode for them."""


def inherited_score(evaluator: SupernetEvaluator, net: Supernet) -> Measure:
    """The task's metric on the evaluator's examples, norms with each batch's statistics."""
    return lambda gates: evaluator.under(net, gates).score


def minus_loss(evaluator: SupernetEvaluator, net: Supernet) -> Measure:
    """Minus the mean loss on the evaluator's examples; NaN where it is no finite number."""

    def measure(gates: Gates) -> float:
        loss = evaluator.under(net, gates).loss
        return -loss if math.isfinite(loss) else math.nan

    return measure


def zero_cost(problem: Problem, net: Supernet, proxy: str, batch: Batch) -> Measure:
    """A proxy of the supernet on one minibatch, each operation executed by itself.

    Fused execution would share activations between operations, and a proxy that counts them would
    not see which operation is missing.
    """
    if isinstance(net, Layered) and proxy in NWOT:
        resumed = Resumed(net, batch.x, training=NWOT[proxy])
        return lambda gates: _number(resumed(gates.detach()))

    def measure(gates: Gates) -> float:
        with plain(net):
            return proxy_of(problem, Gated(net, gates.detach()), proxy, batch)

    return measure


def proxy_of(problem: Problem, net: nn.Module, proxy: str, batch: Batch) -> float:
    """A proxy of any network; minus infinity if nothing leads through it, NaN if no number."""
    return _number(score(proxy, net, batch.x, batch.y, loss=problem.task.loss))


def _number(value: float) -> float:
    return value if value < math.inf else math.nan


@contextmanager
def plain(net: nn.Module) -> Iterator[None]:
    """Within the context a supernet with several ways of execution runs one module per option."""
    before = getattr(net, "execution", None)
    if before is None:
        yield
        return
    setattr(net, "execution", "plain")  # noqa: B010
    try:
        yield
    finally:
        setattr(net, "execution", before)  # noqa: B010
