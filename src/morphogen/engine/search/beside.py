"""What a search found beside what asks for no search: trainings that end it, where asked for."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from morphogen.core import RunError, arguments
from morphogen.core.config import altered, from_mapping, to_mapping
from morphogen.engine.record.watch import Silent
from morphogen.engine.search.evaluation import limited
from morphogen.engine.search.job import Job, problem_of, task_of_job
from morphogen.engine.search.request import Prepared
from morphogen.engine.search.settings import Settings
from morphogen.engine.train.baseline import SEEDS
from morphogen.engine.train.origin import (
    Origin,
    found_in,
    in_search,
    sizes_of,
    without_recipe,
)
from morphogen.engine.train.recipe import fitted_recipe, names
from morphogen.engine.train.retrain import resume, train
from morphogen.engine.train.trained import TrainResult
from morphogen.engine.train.training import Training, TrainingHardware, quick_training
from morphogen.methods import find
from morphogen.runs.directory import RunDirectory
from morphogen.runs.records import Comparison
from morphogen.spaces import SearchSpace
from morphogen.tasks.kinds import Data, as_arguments

FOLDER = "trained"
"""Of the training of what was found, in the run directory of its search."""


def within_limits(origin: Origin, space: SearchSpace, data: Data) -> Origin:
    """The same, with the space as it was searched if the search had limits.

    Args:
        origin: the run.
        space: of the run.
        data: likewise; they are read, for costs depend on the size of the inputs.
    """
    directory = RunDirectory(origin.run)
    values = directory.config()
    if directory.is_training or not values["settings"].get("limit"):
        return origin
    info, settings = find(values["method"]), from_mapping(Settings, values["settings"])
    config = from_mapping(info.config, values["config"])
    job = Job(info.name, config, space, data, settings, origin.run, resume=True, watcher=Silent)
    return replace(
        origin, within=limited(problem_of(job, task_of_job(job)), settings, values.get("share"))
    )


def recipe(asked: bool | Training, ready: Prepared, *, delivers: bool) -> Training | None:
    """By what a search's result and its opponents are trained.

    Args:
        asked: True: some minutes, on the device of the search; or what else.
        ready: the search, as which the data are seen where nothing is said of them.
        delivers: whether the search delivers a network.

    Returns:
        None if nothing is asked for.
    """
    settings, space, plan = ready.asked.settings, ready.asked.space, ready.planned
    # What is planned by how often the search sees its examples is not for trainings of any length.
    seen = without_recipe(settings.task, plan.chosen if plan else ())
    if isinstance(asked, Training):
        return asked if asked.task is not None else replace(asked, task=seen)
    arguments.instance("baseline", asked, bool, "True, False or a morphogen.Training")
    if not asked:
        return None
    held = settings.hardware
    hardware = TrainingHardware(
        accelerator=held.accelerator, precision=held.precision, threads=held.threads
    )
    usual = replace(quick_training(space, seen), seeds=SEEDS, hardware=hardware)
    sized = altered(usual, sizes_of(to_mapping(settings), delivered=delivers))
    keep = [name for name in names(seen) if plan and in_search(name) in plan.kept]
    return fitted_recipe(sized, space, ready.task, keep)[0]


def beside(job: Job, text: str, recorded: Mapping[str, Any]) -> TrainResult:
    """The training of what a search found, with its opponents, begun or gone on with.

    Args:
        job: the search.
        text: what it found.
        recorded: the recipe.
    """
    path, begun = _folder(job.path, text)
    given = as_arguments(job.data)
    if begun:
        return resume(path, space=job.space, watcher=job.watcher, **given)
    return train(
        text,
        space=job.space,
        training=from_mapping(Training, recorded),
        run=path,
        baseline=True,
        origin=within_limits(found_in(job.path), job.space, job.data),
        watcher=job.watcher,
        **given,
    )


def _folder(run: Path, text: str) -> tuple[Path, bool]:
    """Where the training is, and whether it has begun: the search may have gone on since another.

    Args:
        run: of the search.
        text: the architecture.
    """
    for number in itertools.count(1):
        path = run / (FOLDER if number == 1 else f"{FOLDER}-{number}")
        if not os.path.lexists(path / "config.yaml"):
            return path, False
        if RunDirectory(path).config()["config"].get("architecture") == text:
            return path, True
    raise AssertionError  # it counts on


def told_of(run: Path, trained: TrainResult) -> Comparison | None:
    """The comparison of a training, written into the record of the search that found it.

    Nothing is written where the search has another result by now, or may not be written to.
    """
    if trained.comparison is None:
        return None
    inside = trained.run.is_relative_to(run)
    where = trained.run.relative_to(run) if inside else trained.run
    said = trained.comparison.model_copy(update={"training": str(where)})
    directory = RunDirectory(run)
    written = directory.result()
    if (
        written is not None
        and not directory.is_training
        and written["architecture"] == trained.text
    ):
        with suppress(RunError):
            directory.write_result({**written, "comparison": said.written()})
    return said
