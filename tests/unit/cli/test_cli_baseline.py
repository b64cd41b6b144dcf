"""What the first screens say of whether a search has paid."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tiny
from morphogen.cli import main

FEW = ["--epochs", "1", "--channels", "2", "--batch-size", "32", "--threads", "1"]


@pytest.fixture
def images(tmp_path: Path) -> str:
    return tiny.saved(tmp_path, 120)


def test_uncompared_it_says_so_and_compared_what_came_of_it(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "search")
    words = ["--data", images, "--run", run, "--evaluator", "table", "--evaluations", "3"]
    words += ["--train-images", "60", "--valid-images", "60", "--batch-size", "20", "--no-flip"]
    assert main(["search", "random", *words, "--image-size", "8"]) == 0
    first = " ".join(capsys.readouterr().out.split())
    assert f"Not compared with anything: `morphogen train {run} --baseline` trains it, the" in first

    plain = tmp_path / "plain"
    assert main(["train", run, "--run", str(plain), *FEW]) == 0
    begins = " ".join(capsys.readouterr().out.split())
    assert begins.startswith("note: not compared with anything: --baseline trains the reference")
    assert f"note: data settings as in {run}: image size 8, flip off" in begins
    assert json.loads((plain / "result.json").read_text())["seeds"] == 1

    assert main(["train", run, "--run", str(tmp_path / "both"), "--baseline", *FEW]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "to compare with, by the same recipe: a random architecture" in told
    assert "Compared by test accuracy, trained from scratch by one recipe: " in told
    known = json.loads((Path(run) / "result.json").read_text())["comparison"]
    assert known["training"] == str(tmp_path / "both")
    assert [verdict["seeds"] for verdict in known["verdicts"]] == [3, 3]

    assert main(["resume", run]) == 0  # the search says it now, too
    assert "Compared by test accuracy" in capsys.readouterr().out
    assert main(["runs", str(tmp_path), "--json"]) == 0
    listed = {r["run"]: r for r in json.loads(capsys.readouterr().out)["runs"]}
    assert listed[run]["comparison"] == known
    assert listed[run]["best"]["what"].endswith("trained from scratch, 3 seeds")
    assert listed[str(plain)]["comparison"] is None
