"""What is optimised: a task's metric, and costs of networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphogen import cost
from morphogen.benchmarks import Benchmark
from morphogen.core import Architecture, ConfigError, NumericalError, UnknownNameError
from morphogen.evaluators.limits import COSTS, Limit
from morphogen.spaces import SearchSpace
from morphogen.supernets import NetworkSpec, network
from morphogen.supernets.global_rng import forked_rng
from morphogen.tasks import Metric

Evaluate = Callable[[Sequence[Architecture]], list[float]]
"""An evaluator: a score for each architecture, higher is better; where less of its metric, error or
loss is better, the score is that with a minus."""


class Objective(NamedTuple):
    """One of the numbers that are optimised."""

    name: str
    """As it is recorded."""
    higher_is_better: bool

    def score(self, value: float) -> float:
        """The value as a score, of which more is better; and the score as a value."""
        return value if self.higher_is_better else -value


def objectives_of(
    text: str, metric: Metric, evaluator: str = "training", proxy: str = ""
) -> tuple[Objective, ...]:
    """The objectives in `accuracy,params`, the first one first; an empty text is the metric alone.

    Args:
        text: names of the task's metric and of costs, with commas.
        metric: of the task; what a proxy scores in its stead is recorded by the proxy's name.
        evaluator: where the score is from.
        proxy: its name, where it is one.

    Raises:
        ConfigError: one is unknown, or there twice.
    """
    names = [part.strip() for part in (text or metric.name).split(",")]
    for name in names:
        if name not in (metric.name, *COSTS):
            raise UnknownNameError("objective", name, [metric.name, *COSTS])
    if len(set(names)) < len(names):
        raise ConfigError(f"objectives are {text!r}, one of them twice; accepted: each once")
    judged = Objective(metric.name, metric.higher_is_better)
    if evaluator == "proxy":
        judged = Objective(f"proxy_{proxy}", True)
    return tuple(judged if name == metric.name else Objective(name, False) for name in names)


class Costs:
    """Costs of the architectures of a space: from its table's columns, else counted or measured.

    Args:
        space: of the architectures.
        table: a table whose cost columns are used, in their units.
        spec: size of the networks.
        image: one input, see `cost.Input`.
    """

    def __init__(
        self,
        space: SearchSpace,
        table: Benchmark | None,
        spec: NetworkSpec,
        image: cost.Input,
    ) -> None:
        self.space, self.spec, self.image = space, spec, image
        columns = table.metrics if table is not None else {}
        self.table = table
        self._tabled = {n for n, m in columns.items() if m.split == "cost" and n in COSTS}
        self._counts = cost.Counts(space, spec, image)
        self._measured: dict[Architecture, float] = {}

    def unit(self, name: str) -> str:
        """What a cost is counted in."""
        if self.table is not None and name in self._tabled:
            return self.table.metric(name).unit
        return COSTS[name]

    def __call__(self, arch: Architecture, name: str) -> float:
        """One cost of one architecture; remembered, since a limit asks for it again and again."""
        if self.table is not None and name in self._tabled:
            return float(self.table.scores([arch], name)[0])
        if name == "latency":
            if arch not in self._measured:
                self._measured[arch] = self._latency(arch)
            return self._measured[arch]
        return float(self._counts(arch, "memory_access" if name == "memory" else name))

    def _latency(self, arch: Architecture) -> float:
        with forked_rng():
            net = network(self.space, arch, self.spec)
            (measured,) = cost.latency([net], self.image, rounds=20, threads=1)
        return measured.median

    def within(self, limits: Sequence[Limit]) -> Callable[[Architecture], bool]:
        """Whether an architecture keeps all limits."""
        return lambda arch: all(self(arch, limit.name) <= limit.most for limit in limits)


class Objectives:
    """What a worker does: all objectives of one architecture, by name, in their own units.

    Args:
        objectives: which.
        evaluate: where the metric is from.
        costs: where the others are from.
    """

    def __init__(self, objectives: Sequence[Objective], evaluate: Evaluate, costs: Costs) -> None:
        self.objectives, self.evaluate, self.costs = tuple(objectives), evaluate, costs

    def __call__(self, arch: Architecture) -> dict[str, float]:
        """Name -> value.

        Raises:
            NumericalError: a value is not finite.
        """
        values = {}
        for objective in self.objectives:
            name = objective.name
            if name in COSTS:
                value = self.costs(arch, name)
            else:
                value = objective.score(self.evaluate([arch])[0])
            if not math.isfinite(value):
                raise NumericalError(f"{name} is {value}")
            values[name] = float(value)
        return values


def maximised(
    values: Mapping[str, float] | None, objectives: Sequence[Objective]
) -> NDArray[np.float64]:
    """Objectives as a method gets them, [objectives], higher is better; `-inf` if it failed."""
    if values is None:
        return np.full(len(objectives), -np.inf)
    return np.array([o.score(values[o.name]) for o in objectives], np.float64)
