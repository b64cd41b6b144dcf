"""Start a search, or resume one: from names or objects to a run directory and a result."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from morphogen import cost
from morphogen.core import arguments, memory
from morphogen.core.config import from_mapping, to_mapping
from morphogen.core.processes import refuse_again
from morphogen.engine.devices import place
from morphogen.engine.ownmodule import resumed_space
from morphogen.engine.record.watch import Watcher, usual
from morphogen.engine.search.beside import recipe
from morphogen.engine.search.extend import extended, wanted_length
from morphogen.engine.search.job import Job, task_of
from morphogen.engine.search.launch import launch
from morphogen.engine.search.planning import plan
from morphogen.engine.search.request import prepared, requested
from morphogen.engine.search.result import SearchResult, finished, with_baseline, write_result
from morphogen.engine.search.run import run_job
from morphogen.engine.search.settings import Settings
from morphogen.engine.search.warmstart import origin_of
from morphogen.engine.search.warmstart import write as write_start
from morphogen.engine.train.training import Training
from morphogen.methods import find
from morphogen.runs.config import (
    Space,
    read_back,
    require_types,
)
from morphogen.runs.directory import RunDirectory
from morphogen.runs.provenance import require_same_data
from morphogen.tasks import Task
from morphogen.tasks.kinds import (
    USUAL_DATA,
    Data,
    chosen,
)


@memory.reported(f"{cost.SMALLER}; what a run directory holds goes on with `morphogen resume`")
def search(
    method: str | object | None = None,
    *,
    time: str | None = None,
    keep: Collection[str] = (),
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
        keep: names of fields of the settings, `network.channels`, or of the method's configuration,
            `candidates`, that are not chosen for the time although they are as usual.
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
    require_types(run)
    arguments.function("watcher", watcher, "a class or function that makes a watcher")
    asked = requested(method, space, data, settings)
    ready = prepared(asked, time=time, keep=keep, start=start)
    asked = ready.asked
    where = _place(asked.settings)  # a plan may have chosen the precision
    delivers = asked.info.delivers_in(asked.space)
    beside = recipe(baseline, ready, delivers=delivers)
    with RunDirectory.claimed(run, f"{asked.info.name}-{asked.space.name}") as directory:
        if ready.begun:
            write_start(directory.path, *ready.begun)
        job = Job(
            asked.info.name,
            asked.config,
            asked.space,
            data,
            asked.settings,
            directory.path,
            resume=False,
            watcher=watcher,
        )
        held = ready.described(directory)
        directory.begin(held | ({} if beside is None else {"baseline": to_mapping(beside)}))
    several = job.settings.hardware.devices > 1
    found = launch(where, job) if several else write_result(job, run_job(where, job, ready.task))
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
