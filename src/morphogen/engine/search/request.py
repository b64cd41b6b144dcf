"""What a search is asked for, read and checked: nothing is written before all of it is right."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from morphogen import cost
from morphogen.core import ConfigError
from morphogen.core.config import to_mapping
from morphogen.core.names import brief
from morphogen.engine import sizes
from morphogen.engine.ownmodule import try_space
from morphogen.engine.record.loggers import names_of
from morphogen.engine.search.evaluation import share_in
from morphogen.engine.search.initial import fit_initial
from morphogen.engine.search.job import method_of, spec_of, task_of
from morphogen.engine.search.planning import plan
from morphogen.engine.search.presets import quick_preset
from morphogen.engine.search.regularise import regularised
from morphogen.engine.search.regularise import remarks as regularisers
from morphogen.engine.search.resolve import resolved
from morphogen.engine.search.select import require_select
from morphogen.engine.search.settings import Settings
from morphogen.engine.search.warmstart import Begun, check_split, read_run
from morphogen.evaluators.share import Share
from morphogen.methods import MethodInfo, Relaxing, methods
from morphogen.runs.config import Space, data_name, describe, require_types, searched_space
from morphogen.runs.directory import RunDirectory
from morphogen.runs.provenance import provenance
from morphogen.spaces import SearchSpace
from morphogen.tasks import Task
from morphogen.tasks.kinds import Data, asked_of, gathers, require_fit


@dataclass(frozen=True)
class Request:
    """A method, its configuration, a space, data and settings that go together."""

    info: MethodInfo
    config: Any
    space: SearchSpace
    data: Data
    settings: Settings


def requested(
    method: str | object | None, space: Space | None, data: Data, settings: Settings | None
) -> Request:
    """What names and defaults stand for; the data are not read yet.

    Raises:
        MorphogenError: something is not known, or does not serve the method.
    """
    info, config = method_of(plan.NAME if method is None else method)
    given = plan.usual_space(info, data) if space is None else space
    named = given if isinstance(given, str | SearchSpace) else None
    if settings is None:
        settings = quick_preset(info, named).settings
    require_types(None, settings=(settings, Settings))
    settings = replace(settings, task=asked_of(data, settings.task))
    if method is None or isinstance(method, str):
        config = quick_preset(info, named, settings.task).options
    known = searched_space(given, settings.without)
    require_fit(known, data)
    info.require(known)
    _check_gathering(info, data)
    info.build(config)  # a method sees for itself what no range says of its numbers
    require_select(info, settings)
    settings = regularised(info, config, known, settings)
    return Request(info, config, known, data, settings)


@dataclass(frozen=True)
class Prepared:
    """A request that can be run: the data are read, and every number is definite."""

    asked: Request
    task: Task
    remarks: tuple[str, ...]
    """What a user should know of it."""
    share: Share | None
    """Of the space, that is within the limits."""
    planned: plan.Planned | None
    time: str | None
    """For which it is planned."""
    start: str | None
    """The run whose supernet it begins with."""
    begun: Begun | None
    """That supernet."""

    def described(self, directory: RunDirectory) -> dict[str, Any]:
        """What config.yaml says of it."""
        asked, s = self.asked, self.asked.settings
        held = describe(
            asked.info.name,
            asked.space,
            asked.data,
            settings=to_mapping(s),
            config=to_mapping(asked.config),
            provenance=provenance(
                asked.space,
                self.task,
                threads=s.hardware.threads,
                devices=s.hardware.devices,
                accelerator=s.hardware.accelerator,
                table=s.evaluation.table,
                begun=directory.start_file if self.begun else None,
            ),
            remarks=self.remarks,
        )
        held |= {"task": self.task.on_record(), "network": asdict(spec_of(s, self.task))}
        if self.share is not None:
            held["share"] = asdict(self.share)
        if self.start is not None:
            held["start"] = self.start
        if self.planned is not None:
            held["time"] = self.time
            held["plan"] = list(self.planned.said)
            held["planned"] = list(self.planned.chosen)
            held["kept"] = list(self.planned.kept)
        return held


def prepared(
    asked: Request,
    *,
    time: str | None = None,
    keep: Collection[str] = (),
    start: str | os.PathLike[str] | None = None,
) -> Prepared:
    """Read the data, plan for the time, and make every number definite.

    Args:
        asked: the request.
        time: for which it is to be planned.
        keep: names of fields that a plan does not change.
        start: a finished run whose trained supernet it begins with.

    Raises:
        MorphogenError: it cannot be done.
    """
    info, config, known, data = asked.info, asked.config, asked.space, asked.data
    settings = asked.settings
    seconds = plan.require_time(info, time)
    if keep and not seconds:
        raise ConfigError(f"keep is {brief(sorted(keep))} without a time; accepted: a time, as 10m")
    start = os.fspath(start) if isinstance(start, os.PathLike) else start
    begun = None if start is None else read_run(start, known, settings)
    origin = begun[1] if begun else None
    made = plan.planned(known, data, settings, config, seconds, keep) if seconds else None
    if made:
        settings, config = made.settings, made.config
    task = task_of(data, settings, origin=origin)
    known_data = origin is not None and origin.knows(data_name(data), task)
    task.check_test(open=info.delivers_in(known))
    settings, shrunk = sizes.fitted(settings, task)
    if origin is not None and known_data and not task.own_valid:
        check_split(origin, settings)
    _check_batch(settings, task)
    _check_memory(info, known, settings, task)
    known, remarks = try_space(
        known,
        task,
        "train",
        batch_size=settings.batch_size // settings.hardware.devices,
        seed=settings.seed,
    )
    settings = resolved(info, known, settings, origin, metric=task.metric, known_data=known_data)
    share = share_in(known, task, spec_of(settings, task), settings)
    config, cut = fit_initial(info, config, settings.evaluation.budget)
    names_of(settings.loggers)
    return Prepared(
        Request(info, config, known, data, settings),
        task,
        (*shrunk, *cut, *remarks, *regularisers(settings)),
        share,
        made,
        time if made else None,
        start,
        begun,
    )


def _check_memory(info: MethodInfo, space: SearchSpace, s: Settings, task: Task) -> None:
    """Supernet or short training must fit; an accelerator has a memory of its own."""
    if s.hardware.accelerator != "cpu" or (info.black_box and s.evaluation.evaluator == "table"):
        return
    cost.require(
        space,
        spec_of(s, task),
        task.example(),
        batch=s.batch_size,
        arch=space.sample(np.random.default_rng(0)) if info.black_box else None,
    )


def _check_gathering(info: MethodInfo, data: Data) -> None:
    """Examples that are gathered with the network in training need one that can act all the time.

    Raises:
        ConfigError: the method trains a supernet that has no gates by which it could.
    """
    if gathers(data) and not info.black_box and not issubclass(info.build, Relaxing):
        known = [m.name for m in methods().values() if issubclass(m.build, Relaxing)]
        raise ConfigError(
            f"method {info.name!r} has no supernet under gates, and the examples of "
            f"{data_name(data)} are gathered with one that acts; accepted: rl-darts, or another of "
            f"{', '.join(known)}"
        )


def _check_batch(settings: Settings, task: Task) -> None:
    smallest = min(task.drawn("train"), task.drawn("valid"))
    if settings.batch_size > smallest:
        raise ConfigError(
            f"batch_size is {settings.batch_size}, and the smaller part of the data has "
            f"{smallest} {task.unit}; accepted: at most {smallest}"
        )
    if settings.batch_size % settings.hardware.devices:
        raise ConfigError(
            f"batch_size is {settings.batch_size} for {settings.hardware.devices} devices; "
            "accepted: a multiple of the devices"
        )
