"""The loggers of `engine.record.loggers`, each a `Logger` of Lightning Fabric."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import Logger
from lightning_fabric.loggers.tensorboard import TensorBoardLogger

from morphogen.core.files import write_anew


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
        write_anew(self._file, json.dumps({"step": self._step}))

    def finalize(self, status: str) -> None:
        """Close the run."""
        self.save()
        self._run.finish(exit_code=0 if status == "success" else 1)


def fingerprint(path: Path, config: Mapping[str, Any]) -> str:
    """One and the same for a run and its continuations, another for every other run."""
    begun = [entry["identity"] for entry in config.get("extended", ())]
    first = [*begun, config.get("identity")][0]
    what = f"{path.name} {config.get('created')} {first}"
    return hashlib.sha256(what.encode()).hexdigest()[:16]


SERVICES: dict[str, Callable[[Path, Mapping[str, Any]], Any]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
}
"""By their names in the settings."""
