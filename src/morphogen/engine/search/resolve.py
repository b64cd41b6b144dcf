"""Settings that depend on the machine made definite; what does not fit the method is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

import numpy as np
import torch

from morphogen import benchmarks, cost
from morphogen.core import ConfigError, memory
from morphogen.engine.search.settings import Settings
from morphogen.engine.search.warmstart import Origin
from morphogen.evaluators.executors.make import cores
from morphogen.evaluators.limits import limits_of
from morphogen.evaluators.objectives import objectives_of
from morphogen.evaluators.table import TableEvaluator
from morphogen.methods import MethodInfo, methods
from morphogen.proxies import named
from morphogen.spaces import SearchSpace
from morphogen.supernets import network
from morphogen.tasks import Metric


def resolved(
    info: MethodInfo,
    space: SearchSpace,
    settings: Settings,
    origin: Origin | None = None,
    *,
    metric: Metric,
    known_data: bool = False,
) -> Settings:
    """The settings with what depends on the machine made definite; what does not fit is refused.

    Args:
        info: the method.
        space: what is searched.
        settings: as they were given.
        origin: of the supernet that the run begins with, if it does.
        metric: of the task.
        known_data: whether its supernet was trained on the run's data.

    Raises:
        ConfigError: the method, or the executor, cannot do what is asked.
        CapabilityError: there is no table of the space.
    """
    if not info.black_box:
        _require_served(info, settings)
        return settings
    names = [o.name for o in objectives_of(settings.evaluation.objectives, metric)]
    limits = [limit.name for limit in limits_of(settings.limit)]
    _require_evaluator(info, space, settings, names)
    _check_origin(settings, origin, known_data=known_data)
    _require_executor(settings)
    _require_countable(space, settings, {*names, *limits} - {metric.name})
    return _with_workers(settings)


def _require_served(info: MethodInfo, s: Settings) -> None:
    """Of a method that trains a supernet of its own: what it has no use for is as usual."""
    plain, black_box = Settings(), attrgetter("black_box")
    serving: list[tuple[str, str, str, Callable[[MethodInfo], bool]]] = [
        ("objectives", s.evaluation.objectives, plain.evaluation.objectives, black_box),
        ("limit", s.limit, plain.limit, lambda m: m.black_box or m.limits),
        ("executor", s.workers.executor, plain.workers.executor, black_box),
    ]
    for field, asked, usual, serves in serving:
        if asked != usual and not serves(info):
            raise ConfigError(
                f"{field} is {asked!r}, and {info.name!r} searches in a "
                f"supernet of its own; accepted: one of {', '.join(_fit(serves))}"
            )


def _require_evaluator(
    info: MethodInfo, space: SearchSpace, s: Settings, names: Sequence[str]
) -> None:
    """Of a black-box method: the evaluator gives what it asks for; `names` of objectives."""
    e = s.evaluation
    if len(names) > 1 and not info.objectives:
        raise ConfigError(
            f"method {info.name!r} optimises one objective, and objectives are {e.objectives!r}; "
            "accepted: one of them (the others as limit), or a method of several: "
            + (", ".join(_fit(lambda m: m.objectives)) or "none yet")
        )
    if e.evaluator != "training" and info.staged:
        raise ConfigError(
            f"evaluator is {e.evaluator!r}, and {info.name!r} asks for trainings of several "
            "lengths; accepted: evaluator training"
        )
    if e.table and e.evaluator != "table":
        raise ConfigError(
            f"table is {e.table}, and evaluator {e.evaluator!r} reads none; accepted: evaluator "
            "table, or no table"
        )
    if e.evaluator == "table":
        TableEvaluator(space, e.metric, e.table)
    if e.evaluator == "proxy":
        named([e.proxy])


def _require_executor(s: Settings) -> None:
    """What the executor can do."""
    if s.workers.executor == "local":
        if s.workers.timeout:
            raise ConfigError(
                f"timeout is {s.workers.timeout:g} with executor 'local', which cannot end what "
                "hangs; accepted: timeout 0, or executor processes or ray"
            )
    elif s.hardware.devices > 1:
        raise ConfigError(
            f"devices is {s.hardware.devices} with executor {s.workers.executor!r}; accepted: "
            "devices 1, or executor local, where the devices share each evaluation"
        )
    if s.workers.executor == "ray":
        from morphogen.evaluators.executors import cluster  # noqa: F401 - it says what is missing


def _require_countable(space: SearchSpace, s: Settings, counted: set[str]) -> None:
    """There are networks, where one is needed to score or to count what the table has not."""
    e = s.evaluation
    table = benchmarks.of(space, e.table) if e.evaluator == "table" else None
    if e.evaluator == "proxy" or counted - set(table.metrics if table is not None else ()):
        arch = space.sample(np.random.default_rng(0))
        with torch.device("meta"):
            network(space, arch, cost.published(space))  # it says if there is none


def _with_workers(s: Settings) -> Settings:
    """How many there are, and architectures of a round."""
    if s.workers.executor == "local":
        return s
    workers = s.workers.count or cores()
    if s.workers.executor == "processes":
        memory.require_processes(min(workers, s.evaluation.budget), "workers")
    size = s.workers.round_size or workers
    return replace(s, workers=replace(s.workers, count=workers, round_size=size))


def _check_origin(s: Settings, origin: Origin | None, *, known_data: bool) -> None:
    """A supernet is needed by one evaluator, and no other has a use for it."""
    evaluator = s.evaluation.evaluator
    if evaluator != "supernet":
        if origin is not None:
            raise ConfigError(
                f"from is {origin.run}, and evaluator {evaluator!r} uses no supernet; accepted: "
                "evaluator supernet, or no from"
            )
        return
    if origin is None:
        raise ConfigError(
            "evaluator is 'supernet', and there is none to score with; accepted: with --from RUN, "
            "a finished run that trained one"
        )
    if not known_data:
        raise ConfigError(
            f"the supernet of {origin.run} was trained on {origin.data}, other data than these; "
            "accepted: the same, since its classifier knows no others"
        )


def _fit(serves: Any) -> list[str]:
    return [name for name, info in methods().items() if serves(info)]
