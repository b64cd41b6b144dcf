"""What a loop writes: a checkpoint has the lines of metrics, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny
from morphogen.engine.search.search import resume, search
from morphogen.engine.train.retrain import train
from morphogen.engine.train.training import Training
from morphogen.runs import checkpoint


def require_same(run: Path, epochs: int) -> None:
    written = (run / "metrics.jsonl").read_text()
    assert written.count("\n") == epochs
    assert checkpoint.read(run / "checkpoint.pt")["history"] == written


def test_the_checkpoint_of_a_search_has_the_lines_of_its_metrics_also_after_a_resume(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        search(
            tiny.config("darts"),
            space=tiny.own(),
            data=tiny.images(),
            settings=tiny.changed(tiny.SETTINGS, epochs=3),
            run=run,
            watcher=tiny.Stop(epochs=2),
        )
    require_same(run, 2)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3}\n')  # of an epoch that no checkpoint counts
    resume(run, space=tiny.own(), data=tiny.images())
    require_same(run, 3)


def test_the_checkpoint_of_a_training_has_the_lines_of_all_seeds(tmp_path):
    training = Training(
        epochs=2,
        seeds=2,
        batch_size=16,
        held_out=0.25,
        task={"image_size": 8},
        network={"channels": 2, "depth": 1},
        hardware={"threads": 1},
    )
    cell = "|skip_connect~0|+|nor_conv_1x1~0|skip_connect~1|+|skip_connect~0|none~1|none~2|"
    train(cell, data=tiny.saved(tmp_path), training=training, run=tmp_path / "run")
    require_same(tmp_path / "run", 4)
