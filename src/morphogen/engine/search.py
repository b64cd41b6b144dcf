"""Start a search, or resume one: from names or objects to a run directory and a result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from morphogen.core import ConfigError, RunError, SpaceError
from morphogen.core.config import from_mapping
from morphogen.engine import blackbox
from morphogen.engine.devices import make_fabric
from morphogen.engine.job import (
    OBJECT,
    Job,
    Space,
    config_of,
    describe,
    identity,
    known_space,
    method_of,
    quick_config,
    task_of,
)
from morphogen.engine.loggers import names_of
from morphogen.engine.result import SearchResult, finished
from morphogen.engine.rundir import RunDirectory
from morphogen.engine.settings import Settings
from morphogen.engine.watch import Silent, Watcher
from morphogen.engine.work import launch
from morphogen.methods import find
from morphogen.supernets.own import ModuleSpace
from morphogen.supernets.own import check as check_module
from morphogen.tasks import ImageTask
from morphogen.tasks.classification import Data

__all__ = ["SearchResult", "identity", "quick_config", "resume", "search"]


def search(
    method: str | object = "idarts",
    *,
    space: Space = "nasbench201",
    data: Data = "fashion-mnist",
    settings: Settings | None = None,
    run: str | Path | None = None,
    watcher: Callable[[], Watcher] = Silent,
) -> SearchResult:
    """Find an architecture.

    Args:
        method: a method's name (then with `quick_config`), or a method's configuration.
        space: a built-in space's name, a space, or your own module with `OneOf` in it.
        data: a name or path as `morphogen.tasks.load` takes it, or images.
        settings: budget, sizes, seed, devices.
        run: the run directory, new; by default `runs/<method>-<space>-<time>`.
        watcher: makes the object that is told of progress, in the main process.

    Raises:
        MorphogenError: one sentence on what is wrong and what is accepted.
    """
    settings = settings or Settings()
    info, config = method_of(method)
    known = known_space(space)
    info.require(known)
    # What is wrong with the request is said before anything is written.
    fabric = _fabric(settings)
    task = task_of(data, settings)
    _check_batch(settings, task)
    settings = blackbox.settled(info, known, settings)
    names_of(settings.loggers)
    if isinstance(known, ModuleSpace):
        _try(known, task)
    directory = RunDirectory.create(Path(run) if run else None, f"{info.name}-{known.name}")
    job = Job(
        info.name, config, known, data, settings, directory.path, resume=False, watcher=watcher
    )
    directory.write_config(describe(job, space))
    return launch(fabric, job, task)


def resume(
    run: str | Path,
    *,
    space: Space | None = None,
    data: Data | None = None,
    watcher: Callable[[], Watcher] = Silent,
) -> SearchResult:
    """Continue a run to the result it would have had without the interruption, bit for bit.

    Args:
        run: its directory.
        space: needed again if it was an object of yours rather than a name.
        data: needed again if it was an object of yours rather than a name or path.
        watcher: as for `search`.

    Raises:
        RunError: there is no such run, or an object is missing.
        CheckpointError: its checkpoint is damaged or another run's.
    """
    directory = RunDirectory.open(Path(run))
    values = config_of(directory)
    for name, given in (("space", space), ("data", data)):
        if values[name] == OBJECT and given is None:
            raise RunError(
                f"the {name} of {run} was an object of yours; pass it again: resume({str(run)!r}, "
                f"{name}=...)"
            )
    info = find(values["method"])
    job = Job(
        info.name,
        from_mapping(info.config, values["config"]),
        known_space(space if space is not None else values["space"]),
        data if data is not None else values["data"],
        from_mapping(Settings, values["settings"]),
        directory.path,
        resume=True,
        watcher=watcher,
    )
    return finished(directory, job) or launch(_fabric(job.settings), job)


def _fabric(settings: Settings) -> Any:
    return make_fabric(settings.accelerator, settings.devices, settings.precision)


def _try(space: ModuleSpace, task: ImageTask) -> None:
    """One pass of a user's module over two images, or a `SpaceError` that says what is wrong."""
    some = task.train.take(torch.arange(min(2, len(task.train))))
    x, _ = next(iter(task.sequential(some, batch_size=2)))
    accepted = f"scores [{len(x)}, {len(task.classes)}], one for each image and class"
    try:
        with torch.random.fork_rng(devices=[]):
            scores = check_module(space.copy_module(), x)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SpaceError(
            f"your module fails on images {list(x.shape)}: {reason}; accepted: a module that "
            f"takes them and gives {accepted}"
        ) from error
    shape = list(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
    if len(shape) != 2 or shape[0] != len(x) or shape[1] < len(task.classes):
        raise SpaceError(
            f"your module gives {shape} for images {list(x.shape)}; accepted: {accepted}"
        )


def _check_batch(settings: Settings, task: ImageTask) -> None:
    smallest = min(len(task.train), len(task.valid))
    if settings.batch_size > smallest:
        raise ConfigError(
            f"batch_size is {settings.batch_size}, and the smaller part of the data has "
            f"{smallest} images; accepted: at most {smallest}"
        )
    if settings.batch_size % settings.devices:
        raise ConfigError(
            f"batch_size is {settings.batch_size} for {settings.devices} devices; "
            "accepted: a multiple of the devices"
        )
