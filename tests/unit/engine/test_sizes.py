"""Sizes that nobody asked for shrink to the data; the user's own part goes through the runs."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

import tiny
from morphogen.core import ConfigError, DataError
from morphogen.engine.resume import resume
from morphogen.engine.search.search import search
from morphogen.engine.search.settings import BATCH_SIZE, TRAIN_IMAGES, Settings
from morphogen.engine.train.retrain import train
from morphogen.engine.train.training import Training

CELL = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"
SMALL = Settings(
    epochs=1,
    steps_per_epoch=1,
    task={"image_size": 0},
    network={"channels": 2},
    hardware={"threads": 1},
    diagnostics={"images": 0},
)
SHORT = Training(epochs=1, task={"image_size": 0}, network={"channels": 2}, hardware={"threads": 1})


@pytest.fixture
def data(tmp_path):
    """`data(train=50, val=10)`: an .npz file with so many images of two classes in each part."""

    def write(classes=2, **parts):
        rng = np.random.default_rng(0)
        arrays = {}
        for part, n in parts.items():
            arrays[f"x_{part}"] = rng.integers(0, 256, (n, 8, 8), dtype=np.uint8)
            arrays[f"y_{part}"] = np.arange(n) % classes
        np.savez(tmp_path / "d.npz", **arrays)
        return str(tmp_path / "d.npz")

    return write


def begun(data, tmp_path, method="gdas", **changes):
    """The settings on record of a search that was started, what was told, and the run."""
    told, run = tiny.Told(), tmp_path / "run"
    search(
        tiny.config(method),
        data=data,
        settings=tiny.changed(SMALL, **changes),
        run=run,
        watcher=told,
    )
    config = yaml.safe_load((run / "config.yaml").read_text())
    return config, told.notices, run


def test_defaults_shrink_in_proportion_and_it_is_said(data, tmp_path):
    config, told, run = begun(data(train=50), tmp_path)
    split = {"train_images": 33, "valid_images": 17}  # 50 as 3000 : 1600
    assert config["settings"]["split"] == split
    assert config["settings"]["batch_size"] == 16
    assert any("train_images 33, valid_images 17, batch_size 16" in t for t in told)
    assert config["task"]["parts"]["train"] == "33 of 50 training images, by class and seed 0"
    (run / "result.json").unlink()
    again = resume(run)
    assert again.cost["train_examples"] == 16


def test_what_was_asked_for_is_not_changed(data, tmp_path):
    config, told, _ = begun(data(train=50), tmp_path, train_images=20, batch_size=5)
    settings = config["settings"]
    assert settings["split"] == {"train_images": 20, "valid_images": 30}
    assert settings["batch_size"] == 5
    assert [t for t in told if "train_images" in t] == []
    with pytest.raises(ConfigError, match=r"batch_size is 40, .* at most 20"):
        begun(data(train=50), tmp_path / "b", train_images=20, batch_size=40)
    with pytest.raises(DataError, match=r"train_images is 60 .* for instance 34 and 16"):
        begun(data(train=50), tmp_path / "c", train_images=60)
    with pytest.raises(DataError, match="train_images is 3000 "):
        begun(data(train=50), tmp_path / "d", train_images=TRAIN_IMAGES)
    with pytest.raises(ConfigError, match="batch_size is 64, "):
        begun(data(train=50), tmp_path / "e", batch_size=BATCH_SIZE)


def test_a_training_shrinks_its_batch(data, tmp_path):
    told = tiny.Told()
    train(CELL, data=data(train=50), training=SHORT, run=tmp_path / "run", watcher=told)
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["settings"]["batch_size"] == 32  # of 45
    assert any("batch_size 32" in t for t in told.notices)


def test_a_refusal_of_a_training_names_a_share_that_works(data, tmp_path):
    few = data(classes=4, train=8)
    with pytest.raises(DataError, match=r"at least one in each \(held_out 0.5, for instance\)"):
        train(CELL, data=few, training=SHORT, run=tmp_path / "run")
    asked = replace(SHORT, held_out=0.5)
    assert train(CELL, data=few, training=asked, run=tmp_path / "run").held_out


def test_a_class_of_one_image_can_be_trained_on_where_nothing_is_held_out(data, tmp_path):
    few = data(classes=7, train=8, test=4)
    with pytest.raises(DataError, match=r"has 1 image, .* or held_out 0, which trains on all"):
        train(CELL, data=few, training=SHORT, run=tmp_path / "run")
    found = train(CELL, data=few, training=replace(SHORT, held_out=0.0), run=tmp_path / "run")
    assert found.history[0]["examples"] == {"train": 8}
    assert len(found.test_values) == 1


def test_the_users_own_validation_part_is_searched_and_trained_with(data, tmp_path):
    parts = data(train=40, val=24, test=6)
    config, told, run = begun(parts, tmp_path)
    settings = config["settings"]
    assert settings["split"] == {"train_images": 40, "valid_images": 24}
    assert config["task"]["parts"]["valid"] == "24 images of the data's own validation part"
    assert any("search-validation part: x_val, y_val" in t for t in told)
    drawn = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])["examples"]
    assert set(drawn) == {"train", "valid"}

    result = train(CELL, data=parts, training=SHORT, run=tmp_path / "held")
    split = json.loads((result.run / "result.json").read_text())["split"]
    assert "trained on all 40 images of the train part; the 24 of the data's own" in split
    whole = replace(SHORT, held_out=0.0)
    result = train(CELL, data=parts, training=whole, run=tmp_path / "whole")
    split = json.loads((result.run / "result.json").read_text())["split"]
    assert "trained on all 64 images of the train part and of the data's own validation" in split
    assert resume(result.run).test_values == result.test_values
