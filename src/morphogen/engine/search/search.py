"""Start a search, or resume one: from names or objects to a run directory and a result."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from morphogen import cost
from morphogen.core import ConfigError, arguments, memory
from morphogen.core.config import from_mapping, to_mapping
from morphogen.core.processes import refuse_again
from morphogen.engine import sizes
from morphogen.engine.devices import place
from morphogen.engine.ownmodule import resumed_space, try_space
from morphogen.engine.record.loggers import names_of
from morphogen.engine.record.watch import Watcher, usual
from morphogen.engine.search import plan
from morphogen.engine.search.beside import recipe
from morphogen.engine.search.evaluation import share_in
from morphogen.engine.search.extend import extended, wanted_length
from morphogen.engine.search.initial import fit_initial
from morphogen.engine.search.job import Job, method_of, spec_of, task_of
from morphogen.engine.search.launch import launch
from morphogen.engine.search.presets import quick_preset
from morphogen.engine.search.regularise import regularised
from morphogen.engine.search.regularise import remarks as regularisers
from morphogen.engine.search.resolve import resolved
from morphogen.engine.search.result import SearchResult, finished, with_baseline, write_result
from morphogen.engine.search.run import run_job
from morphogen.engine.search.select import require_select
from morphogen.engine.search.settings import Settings
from morphogen.engine.search.warmstart import check_split, origin_of, read_run
from morphogen.engine.search.warmstart import write as write_start
from morphogen.engine.train.training import Training
from morphogen.methods import MethodInfo, Relaxing, find, methods
from morphogen.runs.config import (
    Space,
    data_name,
    describe,
    read_back,
    require_types,
    searched_space,
)
from morphogen.runs.directory import RunDirectory
from morphogen.runs.provenance import provenance, require_same_data
from morphogen.spaces import SearchSpace
from morphogen.tasks import Task
from morphogen.tasks.kinds import (
    USUAL_DATA,
    Data,
    asked_of,
    chosen,
    gathers,
    require_fit,
)


@memory.reported(f"{cost.SMALLER}; what a run directory holds goes on with `morphogen resume`")
def search(
    method: str | object | None = None,
    *,
    time: str | None = None,
    space: Space | None = None,
    data: Data | None = None,
    task: Task | None = None,
    settings: Settings | None = None,
    run: str | Path | RunDirectory | None = None,
    start: str | os.PathLike[str] | None = None,
    baseline: bool | Training = False,
    watcher: Callable[[], Watcher] = usual,
) -> SearchResult:
    """Find an architecture.

    Args:
        method: a method's name (then with the options of `quick_preset`), or a method's
            configuration; by default `successive-halving`, planned for the time.
        time: of wall clock for all of it, `90s`, `30m`, `2h`: sizes and lengths that nobody has set
            are then chosen to fit the data and the time. By default, without a method, `2m` on the
            embedded images and `10m` on other data.
        space: a built-in space's name, a space, or your own module with `OneOf` in it; by default
            nasbench201, and what is usual for data of another kind (`signal201`, `transformer`).
        data: a name, a path, or an object, of a kind that `morphogen list data` shows; by default
            fashion-mnist.
        task: data, loss and metric of your own, instead of `data`.
        settings: budget, sizes, seed, devices.
        run: the run directory, new (or one that is `claimed`); by default
            `runs/<method>-<space>-<time>`.
        start: a finished run whose trained supernet this one begins with; on other data its
            classifier is drawn anew. Space and sizes must be that run's.
        baseline: in the end train what was found, the space's reference and a random architecture
            from scratch by the same recipe, and say whether the search has paid, which opens the
            test part. True: with three seeds each, of some minutes; or by a recipe of your own.
        watcher: makes the object that is told of progress, in the main process; by default a
            display in a notebook, and nothing elsewhere.

    Raises:
        MorphogenError: one sentence on what is wrong and what is accepted.
    """
    refuse_again()
    data = chosen(data, task, USUAL_DATA)
    if method is None:
        time = time or plan.usual_time(data)
    info, config = method_of(plan.NAME if method is None else method)
    given = plan.usual_space(info, data) if space is None else space
    named = given if isinstance(given, str | SearchSpace) else None
    if settings is None:
        settings = quick_preset(info, named).settings
    require_types(run, settings=(settings, Settings))
    settings = replace(settings, task=asked_of(data, settings.task))
    if method is None or isinstance(method, str):
        config = quick_preset(info, named, settings.task).options
    arguments.function("watcher", watcher, "a class or function that makes a watcher")
    known = searched_space(given, settings.without)
    require_fit(known, data)
    info.require(known)
    _check_gathering(info, data)
    info.build(config)  # a method sees for itself what no range says of its numbers
    require_select(info, settings)
    settings = regularised(info, config, known, settings)
    # What is wrong with the request is said before anything is written.
    seconds = plan.require_time(info, time)
    where = _place(settings)
    start = os.fspath(start) if isinstance(start, os.PathLike) else start
    begun = None if start is None else read_run(start, known, settings)
    origin = begun[1] if begun else None
    made = plan.planned(known, data, settings, config, seconds) if seconds else None
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
    beside = recipe(baseline, settings, known)
    with RunDirectory.claimed(run, f"{info.name}-{known.name}") as directory:
        if begun:
            write_start(directory.path, *begun)
        job = Job(
            info.name, config, known, data, settings, directory.path, resume=False, watcher=watcher
        )
        directory.begin(
            describe(
                info.name,
                known,
                data,
                settings=to_mapping(settings),
                config=to_mapping(config),
                provenance=provenance(
                    known,
                    task,
                    threads=settings.hardware.threads,
                    devices=settings.hardware.devices,
                    accelerator=settings.hardware.accelerator,
                    table=settings.evaluation.table,
                    begun=directory.start_file if begun else None,
                ),
                remarks=(*shrunk, *cut, *remarks, *regularisers(settings)),
            )
            | {"task": task.on_record(), "network": asdict(spec_of(settings, task))}
            | ({} if share is None else {"share": asdict(share)})
            | ({} if start is None else {"start": str(start)})
            | ({} if beside is None else {"baseline": to_mapping(beside)})
            | (
                {"time": time, "plan": list(made.said), "planned": list(made.chosen)}
                if made
                else {}
            )
        )
    several = job.settings.hardware.devices > 1
    found = launch(where, job) if several else write_result(job, run_job(where, job, task))
    return with_baseline(job, found)


@memory.reported(f"{cost.SMALLER}, in a new run, or more memory")
def resume(
    run: str | os.PathLike[str],
    *,
    space: Space | None = None,
    data: Data | None = None,
    task: Task | None = None,
    epochs: int | None = None,
    evaluations: int | None = None,
    watcher: Callable[[], Watcher] = usual,
) -> SearchResult:
    """Continue a run to the result it would have had without the interruption, bit for bit.

    Args:
        run: its directory.
        space: needed again if code of yours belongs to it, as to a module.
        data: needed again if it was an object of yours rather than a name or path.
        task: needed again if it was one of yours.
        epochs: search on to so many, also from a finished run; schedules then go on as those of a
            search of that length at the same epoch, see `extend`.
        evaluations: likewise, of a black-box method.
        watcher: as for `search`.

    Raises:
        ConfigError: more epochs or evaluations than that are done.
        RunError: there is no such run, or an object is missing.
        CheckpointError: its checkpoint is damaged or another run's.
    """
    refuse_again()
    directory = RunDirectory.open(run)
    values, known, images = read_back(directory, space, chosen(data, task), call="resume")
    info = find(values["method"])
    settings = from_mapping(Settings, values["settings"])
    origin = origin_of(directory.path)
    job = Job(
        info.name,
        from_mapping(info.config, values["config"]),
        resumed_space(known, lambda: task_of(images, settings, origin=origin), settings.seed),
        images,
        settings,
        directory.path,
        resume=True,
        watcher=watcher,
    )
    change = wanted_length(job, epochs=epochs, evaluations=evaluations)
    result = finished(directory, job) if change is None else None
    if result is not None:
        return with_baseline(job, result)
    where, task = _place(job.settings), None
    if change is not None:
        task = task_of(images, settings, origin=origin)
        require_same_data(directory, values, task)
        job = extended(directory, values, job, task, change)
    several = job.settings.hardware.devices > 1
    found = launch(where, job) if several else write_result(job, run_job(where, job, task))
    return with_baseline(job, found)


def _place(settings: Settings) -> Any:
    return place(
        settings.hardware.accelerator, settings.hardware.devices, settings.hardware.precision
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
