"""From a file of signals to a prediction on the command line; what does not fit is one sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import tiny
from morphogen.cli import main
from morphogen.engine.record.watch import Silent
from morphogen.engine.resume import resume
from morphogen.engine.search.search import search
from morphogen.engine.search.settings import Settings
from morphogen.tasks.signals import SignalConfig

QUICK = ["--epochs", "1", "--batch-size", "16", "--channels", "4", "--threads", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """signals.npz: two classes of other frequencies, twelve subjects, a test part of other ones."""
    path = tmp_path_factory.mktemp("signals")
    rng = np.random.default_rng(0)
    kind, subject = np.arange(240) % 2, np.arange(240) // 16
    rate = np.array([2.0, 6.0])[kind][:, None]
    wave = np.sin(2 * np.pi * rate * np.arange(31) / 31 + rng.uniform(0, 6, (240, 1)))
    x = np.stack([1000 * wave + 5000, rng.normal(size=(240, 31))], 1)
    names, test = np.array(["slow", "fast"])[kind], subject >= 12
    np.savez(
        path / "signals.npz",
        **{"x_train": x[~test], "y_train": names[~test], "groups_train": subject[~test]},
        **{"x_test": x[test], "y_test": names[test], "groups_test": subject[test]},
    )
    np.savez(path / "new.npz", x=x[test])
    return path


def test_search_train_export_predict(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    steps = ["--steps-per-epoch", "2", "--diagnostic-images", "20"]
    assert main(["search", "gdas", "--data", "signals.npz", *QUICK, *steps, "--run", "a"]) == 0
    held = yaml.safe_load(Path("a/config.yaml").read_text())
    assert held["space"]["name"] == "signal201"
    assert "by group, class and seed 0" in held["task"]["parts"]["train"]
    cell = "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
    words = ["train", cell, "--data", "signals.npz", *QUICK, "--epochs", "12", "--lr", "0.05"]
    assert main([*words, "--jitter", "0.1", "--scaling", "0.1", "--run", "t"]) == 0
    result = json.loads(Path("t/result.json").read_text())
    assert result["test_accuracy"]["mean"] > 90
    assert main(["export", "t", "--to", "safetensors,torch-export"]) == 0
    assert main(["report", "t"]) == 0
    capsys.readouterr()
    assert main(["predict", "t/export/model.safetensors", "new.npz", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["predictions"]
    with np.load("signals.npz") as file:
        right = np.mean([p["label"] == y for p, y in zip(said, file["y_test"], strict=True)])
    assert 100 * right == pytest.approx(result["test_accuracy"]["mean"], abs=0.01)
    card = Path("t/export/README.md").read_text()
    assert "# Signal classifier, 2 classes" in card
    assert "float32 `[batch, 2, 31]`" in card


@pytest.mark.slow
def test_onnx_runs_on_signals_of_odd_length(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(folder)
    cell = "|avg_pool_3x3~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
    assert main(["train", cell, "--data", "signals.npz", *QUICK, "--run", "o"]) == 0
    assert main(["export", "o", "--to", "onnx"]) == 0  # which compares it with the network


class Interrupted(Silent):
    """Stops in the second epoch."""

    def __init__(self) -> None:
        self.steps = 0

    def stepped(self, clock: Any) -> None:
        self.steps += 1
        if self.steps == 3:
            raise KeyboardInterrupt


def test_a_search_of_signals_resumes_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    settings = Settings(
        epochs=2,
        steps_per_epoch=2,
        batch_size=16,
        task=SignalConfig(jitter=0.1, scaling=0.1),
        network={"channels": 4},
        hardware={"threads": 1},
        diagnostics={"images": 0},
    )
    asked = {"data": folder / "signals.npz", "settings": settings}
    search("darts", **asked, run=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        search("darts", **asked, run=tmp_path / "cut", watcher=Interrupted)
    resume(tmp_path / "cut")
    tiny.assert_same_run(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "search gdas --data signals.npz --space nasbench201",
            "for images.*are signals.*signal201",
        ),
        ("search gdas --space signal201", "for signals.*are images.*nasbench201"),
        ("search gdas --data signals.npz --no-flip", "--no-flip is an option for images"),
        ("search gdas --jitter 0.1", "--jitter is an option for signals"),
        ("score signal201 --sample 2", "for signals.*are images"),
    ],
)
def test_what_does_not_fit_is_a_sentence(
    words: str,
    said: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    assert main(words.split()) == 2
    found = capsys.readouterr().err
    assert found.startswith("morphogen: ")
    assert len(found.strip().splitlines()) == 1
    assert re.search(said, found)
