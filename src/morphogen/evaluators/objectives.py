"""What is optimised: an evaluator's accuracy, and costs of networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from morphogen import cost
from morphogen.benchmarks import Benchmark
from morphogen.core import Architecture, ConfigError, NumericalError, UnknownNameError
from morphogen.evaluators.limits import COSTS, Limit
from morphogen.spaces import SearchSpace
from morphogen.supernets import NetworkSpec, network
from morphogen.supernets.draws import aside

ACCURACY = "accuracy"
"""The evaluator's score, higher is better; a table's error or loss comes with a minus."""

Evaluate = Callable[[Sequence[Architecture]], list[float]]
"""An evaluator: a score for each architecture, higher is better. Tables and trainings are there;
a supernet with inherited weights or a zero-cost proxy is one as soon as it can be called so."""


def names_of(text: str) -> tuple[str, ...]:
    """The objectives in `accuracy,params`, the first one first.

    Raises:
        ConfigError: one is unknown, or there twice, or there is none.
    """
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in (ACCURACY, *COSTS):
            raise UnknownNameError("objective", name, [ACCURACY, *COSTS])
    if len(set(names)) < len(names):
        raise ConfigError(f"objectives are {text!r}, one of them twice; accepted: each once")
    return names


def labels_of(text: str, evaluator: str, proxy: str) -> tuple[str, ...]:
    """The objectives as they are recorded: what a proxy scores is not called accuracy.

    Args:
        text: as for `names_of`.
        evaluator: where the score is from.
        proxy: its name, where it is one.
    """
    score = f"proxy_{proxy}" if evaluator == "proxy" else ACCURACY
    return tuple(score if name == ACCURACY else name for name in names_of(text))


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
        with aside():
            net = network(self.space, arch, self.spec)
            (measured,) = cost.latency([net], self.image, rounds=20, threads=1)
        return measured.median

    def within(self, limits: Sequence[Limit]) -> Callable[[Architecture], bool]:
        """Whether an architecture keeps all limits."""
        return lambda arch: all(self(arch, limit.name) <= limit.most for limit in limits)


class Objectives:
    """What a worker does: all objectives of one architecture, by name, in their own units.

    Args:
        names: of the objectives.
        evaluate: where accuracy is from.
        costs: where the others are from.
    """

    def __init__(self, names: Sequence[str], evaluate: Evaluate, costs: Costs) -> None:
        self.names, self.evaluate, self.costs = tuple(names), evaluate, costs

    def __call__(self, arch: Architecture) -> dict[str, float]:
        """Name -> value.

        Raises:
            NumericalError: a value is not finite.
        """
        values = {}
        for name in self.names:
            value = self.costs(arch, name) if name in COSTS else self.evaluate([arch])[0]
            if not math.isfinite(value):
                raise NumericalError(f"{name} is {value}")
            values[name] = float(value)
        return values


def maximised(values: Mapping[str, float] | None, names: Sequence[str]) -> NDArray[np.float64]:
    """Objectives as a method gets them, [objectives], higher is better; `-inf` if it failed."""
    if values is None:
        return np.full(len(names), -np.inf)
    return np.array([-values[n] if n in COSTS else values[n] for n in names], np.float64)
