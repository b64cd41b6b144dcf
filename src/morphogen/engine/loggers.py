"""TensorBoard, MLflow and Weights & Biases beside the run directory; no method knows of them.

Each is a `Logger` of Lightning Fabric, told of the same epochs as the display. A log lags behind
the run directory and never runs ahead of it: when a run goes on, each logger says which epoch it
has last, and is told of those it has missed; so no step is there twice, and none is missing.

tensorboard  event files in RUN/logs/tensorboard
mlflow       the server of MLFLOW_TRACKING_URI; without one, the database RUN/logs/mlflow.db
wandb        offline in RUN/logs/wandb, for `wandb sync`; online with WANDB_MODE=online
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from lightning_fabric.loggers.logger import Logger
from lightning_fabric.loggers.tensorboard import TensorBoardLogger

from morphogen.core import ConfigError, UnknownNameError
from morphogen.engine.rundir import RunDirectory
from morphogen.engine.watch import Watcher
from morphogen.tasks.problem import Clock

PAUSE = 1.0
"""Seconds between two flushes; what a kill takes of a log is told again from the record."""


class Resumable(Protocol):
    """What is asked of a logger beside Fabric's own interface."""

    def last_step(self) -> int:
        """The last step it has; 0 if there is none."""


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
        self.loggers: list[Logger] = []
        self._flushed = time.monotonic()

    def started(self, config: Mapping[str, Any], path: Path, finished_epochs: int) -> None:
        """Opens the logs, and has them catch up with the record."""
        self.watcher.started(config, path, finished_epochs)
        rows = RunDirectory(path).metrics() if finished_epochs else []
        for name in self.names:
            logger = KNOWN[name](path, config)
            self.loggers.append(logger)
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
        for logger in self.loggers:
            logger.log_metrics(figures(row), step=row["epoch"])
        if time.monotonic() - self._flushed >= PAUSE:
            for logger in self.loggers:
                logger.save()
            self._flushed = time.monotonic()

    def notice(self, sentence: str) -> None:
        """Tells the watcher."""
        self.watcher.notice(sentence)

    def close(self, status: str) -> None:
        """Ends the logs; `status` is `success` or `failed`."""
        for logger in self.loggers:
            logger.finalize(status)


def figures(row: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers in a line of metrics, those of `images` as `images/train`."""
    found: dict[str, float] = {}
    for name, value in row.items():
        inner = value if name == "images" and isinstance(value, dict) else {"": value}
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

    walk("", {k: config[k] for k in ("method", "space", "data", "settings", "config")})
    return out


class TensorBoard(TensorBoardLogger):
    """Event files; a resumed run adds one to those there are."""

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        super().__init__(path / "logs", "tensorboard", "", default_hp_metric=False)

    def last_step(self) -> int:
        """Read back from the event files."""
        if not Path(self.log_dir).is_dir():
            return 0
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(self.log_dir, size_guidance={"scalars": 1}).Reload()
        last = [events.Scalars(tag)[-1].step for tag in events.Tags()["scalars"]]
        return max(last, default=0)


class MLflow(Logger):
    """One MLflow run in the experiment `morphogen`, found again by its tag."""

    TAG = "morphogen.run"

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        from mlflow import MlflowClient

        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            (path / "logs").mkdir(exist_ok=True)
            uri = f"sqlite:///{(path / 'logs' / 'mlflow.db').resolve()}"
        self._client = MlflowClient(tracking_uri=uri)
        known = self._client.get_experiment_by_name("morphogen")
        experiment = known.experiment_id if known else self._client.create_experiment("morphogen")
        key = fingerprint(path, config)
        runs = self._client.search_runs([experiment], f"tags.`{self.TAG}` = '{key}'")
        if runs:
            self._run = runs[0].info.run_id
            self._client.update_run(self._run, "RUNNING")
        else:
            made = self._client.create_run(experiment, tags={self.TAG: key}, run_name=path.name)
            self._run = made.info.run_id

    @property
    def name(self) -> str:
        """The experiment."""
        return "morphogen"

    @property
    def version(self) -> str:
        """MLflow's own identifier of the run."""
        return str(self._run)

    def last_step(self) -> int:
        """Asked of the server."""
        names = self._client.get_run(self._run).data.metrics
        steps = [self._client.get_metric_history(self._run, name)[-1].step for name in names]
        return max(steps, default=0)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """All figures of an epoch in one request."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        sent = [Metric(name, value, now, step or 0) for name, value in metrics.items()]
        self._client.log_batch(self._run, metrics=sent)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The settings as MLflow's parameters, which are text of at most 6000 signs."""
        from mlflow.entities import Param

        sent = [Param(name, str(value)[:6000]) for name, value in params.items()]
        self._client.log_batch(self._run, params=sent)

    def finalize(self, status: str) -> None:
        """Close the run on the server."""
        self._client.set_terminated(self._run, "FINISHED" if status == "success" else "KILLED")


class WandB(Logger):
    """One run of Weights & Biases. What is offline cannot be asked: its last step is in a file."""

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        import wandb

        folder = path / "logs"
        folder.mkdir(exist_ok=True)
        self._file = folder / "wandb.json"
        self._step = json.loads(self._file.read_text())["step"] if self._file.exists() else 0
        self._run = wandb.init(
            project="morphogen",
            name=path.name,
            id=fingerprint(path, config),
            resume="allow",
            dir=str(folder),
            mode=os.environ.get("WANDB_MODE", "offline"),
            settings=wandb.Settings(silent=True, console="off"),
        )

    @property
    def name(self) -> str:
        """The project."""
        return "morphogen"

    @property
    def version(self) -> str:
        """The run's identifier."""
        return str(self._run.id)

    def last_step(self) -> int:
        """The last step that was kept."""
        return int(self._step)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """The figures of an epoch."""
        self._run.log(metrics, step=step)
        self._step = step or 0

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The settings as the run's config."""
        self._run.config.update(dict(params), allow_val_change=True)

    def save(self) -> None:
        """Keep the last step."""
        self._file.write_text(json.dumps({"step": self._step}))

    def finalize(self, status: str) -> None:
        """Close the run."""
        self.save()
        self._run.finish(exit_code=0 if status == "success" else 1)


def fingerprint(path: Path, config: Mapping[str, Any]) -> str:
    """One and the same for a run and its continuations, another for every other run."""
    what = f"{path.name} {config.get('created')} {config.get('identity')}"
    return hashlib.sha256(what.encode()).hexdigest()[:16]


KNOWN: dict[str, Callable[[Path, Mapping[str, Any]], Any]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
}
"""Name in the settings -> its logger; each also is the name of its package and of its extra."""
