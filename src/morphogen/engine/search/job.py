"""What a search is made of, as one value that can be sent to other processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from morphogen.bilevel.regularised import RegularisedProblem
from morphogen.core import ConfigError
from morphogen.core.config import to_mapping
from morphogen.engine.record.watch import Watcher
from morphogen.engine.search import warmstart
from morphogen.engine.search.presets import quick_config
from morphogen.engine.search.settings import Settings
from morphogen.engine.sizes import usual
from morphogen.evaluators.objectives import Objective, objectives_of
from morphogen.methods import MethodInfo, find, methods
from morphogen.runs.config import data_name
from morphogen.spaces import SearchSpace
from morphogen.supernets import NetworkSpec
from morphogen.tasks import Metric, Task
from morphogen.tasks.cut import Cut
from morphogen.tasks.kinds import Data, task_for
from morphogen.tasks.problem import Devices, Problem


@dataclass(frozen=True)
class Job:
    """All that a process needs to run a search; sent to every data-parallel process."""

    method: str
    config: Any
    space: SearchSpace
    data: Data
    settings: Settings
    path: Path
    resume: bool
    watcher: Callable[[], Watcher]


def method_of(method: str | object) -> tuple[MethodInfo, Any]:
    """A method from its name (then with `quick_config`) or from its configuration."""
    if isinstance(method, str):
        info = find(method)
        return info, quick_config(info)
    for info in methods().values():
        if type(method) is info.config:
            return info, method
    raise ConfigError(
        f"{type(method).__name__} is no method's configuration; accepted: a name "
        f"({', '.join(methods())}) or one of their configurations"
    )


def task_of(data: Data, s: Settings, *, origin: warmstart.Origin | None = None) -> Task:
    """The data, cut as the settings say.

    Args:
        data: what was asked for.
        s: sizes and seed.
        origin: where the supernet is from that the run begins with. The channels of its inputs
            are taken; on the same data also its split, so that nothing that trained it is held out.
    """
    again = origin is not None and origin.data == data_name(data)
    split = usual(s.split)
    cut = Cut(
        split.train_images,
        split.valid_images,
        at_most=[name for name, count in to_mapping(s.split).items() if not count],
        channels=origin.in_channels if origin else None,
        seed=origin.seed if origin and again else s.seed,
    )
    return task_for(data, s.task, cut)


def task_of_job(job: Job) -> Task:
    """The data of a job, as they fit the weights that it begins with."""
    return task_of(job.data, job.settings, origin=warmstart.origin_of(job.path))


def spec_of(s: Settings, task: Task) -> NetworkSpec:
    """Sizes of the networks."""
    return NetworkSpec(
        channels=s.network.channels,
        depth=s.network.depth,
        classes=task.outputs(),
        in_channels=task.in_channels,
        execution=s.network.execution,
        dropout=s.network.dropout,
        partial_channels=s.regularisation.partial_channels,
    )


def problem_of(job: Job, task: Task, devices: Devices | None = None) -> Problem:
    """What a method sees of the job."""
    s = job.settings
    kind: Callable[..., Problem] = Problem
    if s.regularisation.used:
        kind = partial(RegularisedProblem, regularisation=s.regularisation)
    return kind(
        job.space,
        task,
        spec_of(s, task),
        batch_size=s.batch_size,
        seed=s.seed,
        devices=devices,
        start=warmstart.read(job.path, data_name(job.data), task),
    )


def objectives_in(s: Settings, metric: Metric) -> tuple[Objective, ...]:
    """What the settings ask to optimise, in a task of this metric."""
    e = s.evaluation
    return objectives_of(e.objectives, metric, e.evaluator, e.proxy)
