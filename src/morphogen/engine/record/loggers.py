"""TensorBoard, MLflow and Weights & Biases beside the run directory; no method knows of them.

Each is a `Logger` of Lightning Fabric, told of the same epochs as the display. A log lags behind
the run directory and never runs ahead of it: when a run goes on, each logger says which epoch it
has last, and is told of those it has missed; so no step is there twice, and none is missing.

tensorboard  event files in RUN/logs/tensorboard
mlflow       the server of MLFLOW_TRACKING_URI; without one, the database RUN/logs/mlflow.db
wandb        offline in RUN/logs/wandb, for `wandb sync`; online with WANDB_MODE=online
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphogen.core import ConfigError, UnknownNameError
from morphogen.engine.record.watch import Watcher
from morphogen.runs.directory import RunDirectory
from morphogen.tasks.problem import Clock

if TYPE_CHECKING:
    from lightning_fabric.loggers.logger import Logger

PAUSE = 1.0
"""Seconds between two flushes; what a kill takes of a log is told again from the record."""


KNOWN = ("tensorboard", "mlflow", "wandb")
"""Names in the settings; each also is the name of a package and of an extra."""


def names_of(text: str) -> tuple[str, ...]:
    """The loggers in `tensorboard,wandb`, each of which is installed.

    Raises:
        ConfigError: a name is unknown, or its package is not there.
    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in KNOWN:
            raise UnknownNameError("logger", name, KNOWN)
        if find_spec(name) is None:
            raise ConfigError(
                f"loggers is {text!r}, and {name} is not installed; accepted: "
                f"pip install 'morphogen[{name}]', or another of {', '.join(KNOWN)}"
            )
    return names


@contextmanager
def logged(watcher: Watcher, text: str) -> Iterator[Watcher]:
    """The watcher, or one that also writes the logs named in `text`, closed at the end.

    Raises:
        ConfigError: as `names_of`.
    """
    names = names_of(text)
    if not names:
        yield watcher
        return
    logging = Logging(watcher, names)
    status = "failed"
    try:
        yield logging
        status = "success"
    finally:
        logging.close(status)


class Logging:
    """Tells a watcher what it is told, and the loggers of every epoch."""

    def __init__(self, watcher: Watcher, names: tuple[str, ...]) -> None:
        self.watcher, self.names = watcher, names
        self.loggers: dict[str, Logger] = {}
        self._flushed = time.monotonic()

    def started(self, config: Mapping[str, Any], path: Path, finished_epochs: int) -> None:
        """Opens the logs, and has them catch up with the record."""
        self.watcher.started(config, path, finished_epochs)
        from morphogen.engine.record.services import SERVICES  # takes seconds: Fabric's loggers

        rows = RunDirectory(path).metrics() if finished_epochs else []
        for name in self.names:
            with self._unless_it_fails(name):
                logger = self.loggers[name] = SERVICES[name](path, config)
                last = logger.last_step()
                if not last:
                    logger.log_hyperparams(settings_of(config))
                for row in rows:
                    if row["epoch"] > last:
                        logger.log_metrics(figures(row), step=row["epoch"])
                logger.save()

    def stepped(self, clock: Clock) -> None:
        """Tells the watcher; a log has epochs only."""
        self.watcher.stepped(clock)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Writes the figures of an epoch."""
        self.watcher.epoch(row)
        flush = time.monotonic() - self._flushed >= PAUSE
        for name, logger in [*self.loggers.items()]:
            with self._unless_it_fails(name):
                logger.log_metrics(figures(row), step=row["epoch"])
                if flush:
                    logger.save()
        if flush:
            self._flushed = time.monotonic()

    def notice(self, sentence: str) -> None:
        """Tells the watcher."""
        self.watcher.notice(sentence)

    def close(self, status: str) -> None:
        """Ends the logs; `status` is `success` or `failed`."""
        for name, logger in [*self.loggers.items()]:
            with self._unless_it_fails(name):
                logger.finalize(status)

    @contextmanager
    def _unless_it_fails(self, name: str) -> Iterator[None]:
        """A log that cannot be written is told no more; the record is whole without it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - of a service: a full disk, no network, ...
            self.loggers.pop(name, None)
            reason = " ".join(str(error).split()) or type(error).__name__
            self.watcher.notice(
                f"the log of {name} cannot be written ({reason}); the run goes on without it, and "
                "its directory has everything"
            )


def figures(row: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers in a line of metrics, those of `examples` as `examples/train`."""
    found: dict[str, float] = {}
    for name, value in row.items():
        inner = value if name == "examples" and isinstance(value, dict) else {"": value}
        for part, number in inner.items():
            if name != "epoch" and isinstance(number, int | float) and math.isfinite(number):
                found[f"{name}/{part}" if part else name] = float(number)
    return found


def settings_of(config: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """What decides the run, flat: `method`, `settings.seed`, `config.alpha.lr`, ..."""
    out: dict[str, str | int | float | bool] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        else:
            out[prefix] = value if isinstance(value, str | int | float | bool) else str(value)

    walk("", {k: config[k] for k in ("method", "data", "settings", "config")})
    out["space"] = config["space"]["name"]  # in full it may be longer than a logger takes
    return out
