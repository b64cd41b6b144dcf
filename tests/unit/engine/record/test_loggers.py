"""Logs read back with the tools they are for: every epoch once, also after a cut and a resume."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import pytest

import run_directories as made
import tiny
from morphogen.core import ConfigError, UnknownNameError
from morphogen.engine.record import loggers
from morphogen.engine.record.loggers import Logging, figures, logged, names_of
from morphogen.engine.record.watch import Silent
from morphogen.engine.search.search import search
from morphogen.reports.page import render
from morphogen.reports.reading import read_run

ROWS = [made.epoch(n, made.CONV) for n in range(1, 7)]


def follow(path: Path, name: str) -> None:
    """A search that is cut off after three epochs, its log being one behind, and goes on."""
    run = made.write(path, made.config(), ROWS[:3])
    config = made.config() | {"identity": "x"}
    first = Logging(Silent(), (name,))
    first.started(config, run, 0)
    for row in ROWS[:2]:
        first.epoch(row)
    first.close("failed")
    second = Logging(Silent(), (name,))
    second.started(config, run, 3)
    for row in ROWS[3:]:
        second.epoch(row)
    second.close("success")


def same(found: list[tuple[int, float]]) -> None:
    assert [step for step, _ in found] == [1, 2, 3, 4, 5, 6]
    assert [loss for _, loss in found] == pytest.approx([2.0 / n for n in range(1, 7)])


def test_tensorboard_has_every_epoch_once(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing import event_accumulator as events

    follow(tmp_path / "run", "tensorboard")
    read = events.EventAccumulator(str(tmp_path / "run" / "logs" / "tensorboard")).Reload()
    same([(e.step, e.value) for e in read.Scalars("train_loss")])
    assert [e.value for e in read.Scalars("examples/train")] == [640.0 * n for n in range(1, 7)]
    assert "gates" not in " ".join(read.Tags()["scalars"])


def test_a_log_that_cannot_be_written_ends_no_run(tmp_path: Path) -> None:
    """A file lies where its folder should be."""
    run = made.write(tmp_path / "run", made.config(), ROWS[:1])
    (run / "logs").touch()

    notes: list[str] = []

    class Notes(Silent):
        def notice(self, sentence: str) -> None:
            notes.append(sentence)

    logging = Logging(Notes(), ("tensorboard",))
    logging.started(made.config(), run, 0)
    for row in ROWS:
        logging.epoch(row)
    logging.close("success")
    (said,) = notes
    assert said.startswith("the log of tensorboard cannot be written (")


def test_a_search_of_ones_own_module_is_logged_and_reported(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing import event_accumulator as events

    chosen = replace(tiny.SETTINGS, epochs=2, loggers="tensorboard")
    result = search(
        tiny.config("darts"),
        space=tiny.own(),
        data=tiny.images(),
        settings=chosen,
        run=tmp_path / "run",
    )
    read = events.EventAccumulator(str(tmp_path / "run" / "logs" / "tensorboard")).Reload()
    logged_losses = [(e.step, e.value) for e in read.Scalars("valid_loss")]
    assert [step for step, _ in logged_losses] == [1, 2]
    assert [loss for _, loss in logged_losses] == pytest.approx(
        [row["valid_loss"] for row in result.history]
    )
    page = render([read_run(tmp_path / "run")], "0.0")
    for choice in result.space.choices:
        for option in choice.options:
            assert f">{escape(option)}<" in page or f"▸ {escape(option)}<" in page


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what MLflow's own dependencies deprecate
def test_mlflow_has_every_epoch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    follow(tmp_path / "run", "mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'run' / 'logs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("morphogen").experiment_id
    (run,) = client.search_runs([experiment])
    history = client.get_metric_history(run.info.run_id, "train_loss")
    same([(m.step, m.value) for m in history])
    assert run.data.params["config.alpha.lr"] == "0.01"
    assert run.info.status == "FINISHED"


def records(file: Path) -> Iterator[bytes]:
    """The records of a .wandb file: seven bytes, then LevelDB's log format in blocks of 32 KiB."""
    data = file.read_bytes()
    at, record = 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what wandb's own dependencies deprecate
def test_wandb_offline_has_every_epoch_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.delenv("WANDB_MODE", raising=False)
    follow(tmp_path / "run", "wandb")
    found: list[tuple[int, float]] = []
    for file in sorted((tmp_path / "run" / "logs" / "wandb").glob("offline-run-*/*.wandb")):
        for data in records(file):
            record = Record()
            record.ParseFromString(data)
            items = {(i.key or "/".join(i.nested_key)): i for i in record.history.item}
            if "train_loss" in items:
                step = int(json.loads(items["_step"].value_json))
                found.append((step, json.loads(items["train_loss"].value_json)))
    same(found)


def test_the_watcher_is_told_as_before(tmp_path: Path) -> None:
    heard: list[Any] = []

    class Ear(Silent):
        def epoch(self, row: Any) -> None:
            heard.append(row["epoch"])

        def notice(self, sentence: str) -> None:
            heard.append(sentence)

    ear = Ear()
    with logged(ear, "") as same:
        assert same is ear
    logging = Logging(ear, ())
    logging.epoch(ROWS[0])
    logging.notice("so")
    assert heard == [1, "so"]


def test_figures_are_the_finite_numbers() -> None:
    row = {"epoch": 3, "score": 1, "lost": float("nan"), "candidate": "x", "gates": {"a": [1]}}
    assert figures(row | {"examples": {"train": 5}}) == {"score": 1.0, "examples/train": 5.0}


def test_unknown_and_absent_loggers_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'tensorboard'"):
        names_of("tensorbord")
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'morphogen\[wandb\]'"):
        names_of("wandb")
    assert names_of("") == ()
