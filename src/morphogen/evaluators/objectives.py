"""What is optimised: a task's metric, and costs of networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from morphogen import cost
from morphogen.benchmarks import Benchmark
from morphogen.core import (
    Architecture,
    ConfigError,
    NumericalError,
    UnknownNameError,
    plugins,
)
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


@dataclass(frozen=True)
class OwnObjective:
    """What a user wants of architectures beside the metric and the costs that are counted here."""

    name: str
    unit: str
    higher_is_better: bool
    of: Callable[[Architecture], float]


GROUP = "objectives"
"""Of entry points by which other packages add objectives (`core/plugins.py`)."""

_OWN: dict[str, OwnObjective] = {}

F = TypeVar("F", bound=Callable[[Architecture], float])


def objective(name: str, *, unit: str = "", higher_is_better: bool = False) -> Callable[[F], F]:
    """Decorator: a function of an architecture becomes an objective that searches know by name.

        @morphogen.objective("energy", unit="mJ")
        def energy(arch: Architecture) -> float: ...

        search("nsga2", ..., objectives="accuracy,energy")

    It has to be registered in each process that searches, resumes or evaluates; what an installed
    package enters under `morphogen.objectives` is.

    Args:
        name: letters, digits, `_`, `-` and `.`; none that means something already.
        unit: of its values.
        higher_is_better: whether more of it is wanted.

    Raises:
        ConfigError: the name cannot be one, or is that of another function.
    """
    if name in COSTS:
        raise ConfigError(f"objective {name!r} is a cost already; accepted: another name")
    Metric(name)  # which says what a name may be

    def enter(of: F) -> F:
        known = _OWN.get(name)
        if known is not None and _place(known.of) != _place(of):  # a notebook's cell runs twice
            raise ConfigError(
                f"objective {name!r} is registered twice, by {_place(known.of)} and by "
                f"{_place(of)}; accepted: one function a name"
            )
        _OWN[name] = OwnObjective(name, unit, higher_is_better, of)
        return of

    return enter


def _place(of: Callable[..., Any]) -> str:
    return f"{getattr(of, '__module__', '')}.{getattr(of, '__qualname__', type(of).__name__)}"


def own_objectives() -> Mapping[str, OwnObjective]:
    """Those that are registered, by name; other packages' included."""
    plugins.load(GROUP)
    return _OWN


def beside_the_metric(names: Sequence[str], also: Sequence[str] = ()) -> tuple[Objective, ...]:
    """The objectives of these names, each a cost or one that a user has registered.

    Args:
        names: of objectives.
        also: other names that would be known where they are from; for the message.

    Raises:
        UnknownNameError: there is none of the name.
    """
    own = {} if all(name in COSTS for name in names) else own_objectives()
    for name in names:
        if name not in COSTS and name not in own:
            raise UnknownNameError("objective", name, [*also, *COSTS, *own])
    return tuple(
        Objective(name, own[name].higher_is_better if name in own else False) for name in names
    )


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
    if len(set(names)) < len(names):
        raise ConfigError(f"objectives are {text!r}, one of them twice; accepted: each once")
    judged = Objective(metric.name, metric.higher_is_better)
    if evaluator == "proxy":
        judged = Objective(f"proxy_{proxy}", True)
    others = [name for name in names if name != metric.name]
    found = {o.name: o for o in beside_the_metric(others, [metric.name])}
    return tuple(judged if name == metric.name else found[name] for name in names)


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
        own = own_objectives() if name not in COSTS else {}
        return own[name].unit if name in own else COSTS[name]

    def __call__(self, arch: Architecture, name: str) -> float:
        """One cost of one architecture; remembered, since a limit asks for it again and again."""
        if name not in COSTS:
            return float(own_objectives()[name].of(arch))
        if self.table is not None and name in self._tabled:
            return float(self.table.scores([arch], name)[0])
        if name == "latency":
            if arch not in self._measured:
                self._measured[arch] = self._latency(arch)
            return self._measured[arch]
        return float(self._counts(arch, _field(name)))

    @property
    def networks(self) -> int:
        """Networks that were built for it so far."""
        return self._counts.networks + len(self._measured)

    def quick(self, names: Sequence[str]) -> bool:
        """Whether asking for these costs of one more architecture takes no network."""
        return all(name in self._tabled or self._counts.summed(_field(name)) for name in names)

    def said(self, arch: Architecture, name: str) -> str:
        """A cost of an architecture in words: `18,594 parameters`, `2.31 ms`."""
        value = self(arch, name)
        if name == "latency":
            return f"a latency of {value:.3g} ms"
        return f"{value:,.10g} {_WORDS[name]}"

    def _latency(self, arch: Architecture) -> float:
        with forked_rng():
            net = network(self.space, arch, self.spec)
            (measured,) = cost.latency([net], self.image, rounds=20, threads=1)
        return measured.median

    def within(self, limits: Sequence[Limit]) -> Callable[[Architecture], bool]:
        """Whether an architecture keeps all limits."""
        return lambda arch: all(self(arch, limit.name) <= limit.most for limit in limits)

    def excess(self, limits: Sequence[Limit]) -> Callable[[Architecture], float]:
        """How much of its tightest limit an architecture takes: up to 1 if it keeps all."""
        return lambda arch: max(self(arch, limit.name) / limit.most for limit in limits)


_WORDS = {"params": "parameters", "flops": "FLOPs", "memory": "bytes of memory traffic"}


def _field(name: str) -> str:
    """Of `cost.Cost`, by the name of a cost that is counted."""
    return "memory_access" if name == "memory" else name


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
            if name in COSTS or name in own_objectives():
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
