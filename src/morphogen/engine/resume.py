"""Continue a run, whichever it is."""

from __future__ import annotations

import os
from collections.abc import Callable

from morphogen.core import ConfigError
from morphogen.engine.record.watch import Watcher, usual
from morphogen.engine.search import search
from morphogen.engine.search.result import SearchResult
from morphogen.engine.train import retrain
from morphogen.engine.train.trained import TrainResult
from morphogen.runs.config import Space
from morphogen.runs.directory import RunDirectory
from morphogen.tasks import Task
from morphogen.tasks.kinds import Data


def resume(
    run: str | os.PathLike[str],
    *,
    space: Space | None = None,
    data: Data | None = None,
    task: Task | None = None,
    epochs: int | None = None,
    evaluations: int | None = None,
    watcher: Callable[[], Watcher] = usual,
) -> SearchResult | TrainResult:
    """Continue a search or a training to the result it would have had without the interruption.

    On the CPU it is the same bit for bit. Of a finished run the result is read from its files.

    Args:
        run: the run directory.
        space: needed again if code of yours belongs to it, as to a module.
        data: needed again if it was an object of yours rather than a name or path.
        task: needed again if it was one of yours.
        epochs: of a search: go on to so many, also from a finished run; schedules then go on as
            those of a search of that length at the same epoch.
        evaluations: likewise, of a black-box method.
        watcher: makes the object that is told of progress, as for `search`.

    Raises:
        ConfigError: more epochs or evaluations than that are done, or it is a training, whose
            rate has run down with its epochs.
        RunError: there is no such run, or an object is missing.
        CheckpointError: its checkpoint is damaged or another run's.
    """
    if not RunDirectory.open(run).is_training:
        return search.resume(
            run,
            space=space,
            data=data,
            task=task,
            epochs=epochs,
            evaluations=evaluations,
            watcher=watcher,
        )
    for name, value in (("epochs", epochs), ("evaluations", evaluations)):
        if value is not None:
            raise ConfigError(
                f"{name} is {value}, and {os.fspath(run)} is a training, whose rate has run down "
                f"with its epochs; accepted: a new `morphogen train` with {name} in its settings"
            )
    return retrain.resume(run, space=space, data=data, task=task, watcher=watcher)
