"""Policies from a search to a prediction, and runs that are cut off and go on."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import morphogen
import tiny
from morphogen.cli import main
from morphogen.core.errors import ConfigError, DataError, SpaceError
from morphogen.engine.resume import resume
from morphogen.engine.search.search import search
from morphogen.engine.search.settings import Settings
from morphogen.engine.train.retrain import train
from morphogen.engine.train.training import Training, quick_training
from morphogen.tasks.policies import PolicyConfig
from morphogen.tasks.policies.inputs import Place

BREAKOUT, STARPILOT = "env:minatar/breakout", "env:procgen/starpilot"
ASKED = PolicyConfig(envs=2, horizon=32, passes=1, episodes=3)
SEARCH = Settings(
    epochs=3,
    batch_size=32,
    task=ASKED,
    network={"channels": 2, "depth": 1},
    hardware={"threads": 1},
    diagnostics={"images": 0},
)
TRAINING = Training(
    epochs=3,
    seeds=2,
    batch_size=32,
    held_out=0.0,
    optimiser="adam",
    task=ASKED,
    network={"channels": 2, "depth": 1},
    hardware={"threads": 1},
)
BLOCKS = "blocks=1"


@pytest.mark.parametrize("data", [BREAKOUT, pytest.param(STARPILOT, marks=pytest.mark.slow)])
def test_a_search_that_is_cut_off_comes_to_the_same_bits(data: str, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    search("rl-darts", data=data, settings=SEARCH, run=whole)
    with pytest.raises(KeyboardInterrupt):
        search("rl-darts", data=data, settings=SEARCH, run=cut, watcher=tiny.Stop(steps=5))
    resume(cut)
    tiny.assert_same_run(whole, cut)
    rows = tiny.metrics(whole)
    assert [row["examples"] for row in rows] == [{"train": 64 * n, "valid": 0} for n in (1, 2, 3)]
    assert all(row["train_episodes"] >= 0 for row in rows)


def test_what_has_no_gates_that_act_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="accepted: rl-darts, or another of"):
        search("spos", data=BREAKOUT, settings=SEARCH, run=tmp_path / "run")
    with pytest.raises(ConfigError, match="successive-halving"):
        search(time="10s", data=BREAKOUT, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    asked = tiny.changed(SEARCH, train_images=5)
    with pytest.raises(ConfigError, match="option episodes"):
        search("rl-darts", data=BREAKOUT, settings=asked, run=tmp_path / "run")
    with pytest.raises(SpaceError, match=re.escape("[n, channels, height, width]")):
        search("gdas", data="env:gymnasium/CartPole-v1", settings=SEARCH, run=tmp_path / "cart")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "space"), [(BREAKOUT, "impala-cnn-minatar"), (STARPILOT, "impala-cnn")]
)
def test_a_training_that_is_cut_off_comes_to_the_same_bits(
    data: str, space: str, tmp_path: Path
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(BLOCKS, space=space, data=data, training=TRAINING, run=whole)
    watcher = tiny.Stop(steps=9)
    with pytest.raises(KeyboardInterrupt):
        train(BLOCKS, space=space, data=data, training=TRAINING, run=cut, watcher=watcher)
    resume(cut)
    tiny.assert_same_run(whole, cut)
    for file in whole.glob("*.safetensors"):
        assert file.read_bytes() == (cut / file.name).read_bytes()


@pytest.mark.slow
def test_the_journey_of_a_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    space = "impala-cnn-minatar"
    found = train(BLOCKS, space=space, data=BREAKOUT, training=TRAINING, run=run)
    assert len(found.test_values) == 2
    page = found.report().path.read_text(encoding="utf-8")
    assert "Return in training" in page
    assert "Mean over seeds, with its 95 % interval" in page
    assert "frames for a second of CPU time" in page
    assert "images" not in re.sub(r"<style.*?</style>|<script.*?</script>", "", page, flags=re.S)
    file = found.export("onnx")[0]
    assert file.examples == 6
    files = (run, file.path)
    said = [morphogen.predict(path, range(3)) for path in files]
    assert said[0] == said[1], "the network and its file play alike"
    assert main(["predict", str(file.path), "3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["predictions"]
    assert [one["return"] for one in told] == [one.reached for one in said[0]]
    assert main(["predict", str(file.path), "no"]) != 0
    assert "1 to 10,000" in capsys.readouterr().err
    card = (file.path.parent / "README.md").read_text(encoding="utf-8")
    assert "Multiply-adds for one frame" in card
    assert "Frames drawn | 384" in card


def test_a_file_that_names_code_for_its_environment_is_refused() -> None:
    name = "env:gymnasium/antigravity:CartPole-v1"
    held = SimpleNamespace(preparation=Place(name, 0.1, 1, 0, 0).written())
    with pytest.raises(DataError, match="a file that morphogen wrote"):
        Place.of(held)
    held.preparation["environments"] = "env:gymnasium/CartPole-v1"
    assert Place.of(held).source().actions == 2


def test_a_training_of_a_policy_is_by_the_numbers_of_its_kind() -> None:
    t = quick_training("impala-cnn-minatar", PolicyConfig())
    adam = t.descent
    assert (adam.lr, adam.eps, adam.betas, adam.clip) == (5e-4, 1e-5, (0.9, 0.999), 0.5)
    assert (adam.weight_decay, t.held_out, adam.at(None)) == (0.0, 0.0, 5e-4)  # type: ignore[arg-type]
    assert np.isclose(quick_training("nasbench201").lr, 0.05)


@pytest.mark.slow
def test_the_return_of_one_training_has_an_interval_over_its_episodes(tmp_path: Path) -> None:
    once = replace(TRAINING, seeds=1, epochs=1)
    found = train(
        BLOCKS, space="impala-cnn-minatar", data=BREAKOUT, training=once, run=tmp_path / "run"
    )
    assert found.test["low"] <= found.test["mean"] <= found.test["high"]
    assert found.test["examples"] == 3
