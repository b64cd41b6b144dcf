"""README and CONTRIBUTING do what they say: every command and every Python block is run.

The default tier runs README's, the slow one CONTRIBUTING's; CI runs both.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from documents import blocks, pictures, small
from documents import commands as commands_of
from morphogen.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
WAY = README[README.index("## From images") : README.index("## More")]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    """Those that stand alone."""
    return commands_of(README.replace(WAY, ""))


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "morphogen", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def test_there_are_commands_and_blocks_to_run() -> None:
    assert len(commands()) >= 7
    assert len(blocks(README)) == 3
    assert len(blocks(CONTRIBUTING)) == 2


def test_the_first_command_ends_with_a_trained_network_and_what_it_reaches(tmp_path: Path) -> None:
    first = commands()[0]
    assert first == ["search"]
    done = run(small(first), tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"stem=\w+;downsample=\w+;depth_1=\d;", done.stdout)
    assert re.search(r"Test accuracy of the trained network: \d+\.\d\d %", done.stdout)
    (found,) = (tmp_path / "runs").iterdir()
    files = {"config.yaml", "metrics.jsonl", "result.json", "network.safetensors"}
    assert {p.name for p in found.iterdir()} >= files


@pytest.mark.parametrize("arguments", commands()[1:], ids=lambda a: " ".join(a)[:40])
def test_every_other_command_runs_or_asks_for_the_data_it_names(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code = main(small(arguments))
    out, err = capsys.readouterr()
    if "path/to" in " ".join(arguments):  # a place holder for the reader's own data
        assert code == 2
        assert "path/to" in err
        assert err.count("\n") == 1
    else:
        assert code == 0, err
        assert out


def test_the_way_from_images_to_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "path" / "to" / "images")
    some = next((tmp_path / "path" / "to" / "images" / "test" / "a").iterdir())
    some.rename(tmp_path / "path" / "to" / "image.png")
    steps = commands_of(WAY)
    way = ["search", "report", "export", "train", "export", "predict", "runs"]
    assert [step[0] for step in steps] == way
    for step in steps:
        # ONNX takes its exporter ten seconds; the whole way with it is in docs/, and run there.
        words = [word.replace("onnx", "safetensors") for word in small(step)]
        code = main(words)
        out, err = capsys.readouterr()
        assert code == 0, err
        assert out
    assert "trained" in out
    assert "found" in out


@pytest.mark.parametrize("block", blocks(README), ids=["search", "own-module", "own-task"])
def test_python_blocks_run(
    block: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    size = "task={'image_size': 8}, network={'channels': 2}, hardware={'threads': 1}"
    size += ", diagnostics={'images': 16}"
    short = block.replace("epochs=5", f"epochs=1, steps_per_epoch=2, {size}")
    exec(compile(short, "README.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.strip()


@pytest.mark.slow
def test_the_method_of_contributing_runs(tmp_path: Path) -> None:
    block, promises = blocks(CONTRIBUTING)
    assert len(block.splitlines()) < 80
    script = tmp_path / "test_sign_darts.py"
    imports = """
from typing import Annotated
import torch
from pydantic import Field
import morphogen
from morphogen.bilevel.gates import probabilities, softmax_gates
from morphogen.bilevel.hypergradient import first_order
from morphogen.bilevel.optimisers import SGD, Adam
from morphogen.bilevel.state import BilevelState, weight_step
from morphogen.core import Architecture
from morphogen.core.config import config
from morphogen.methods import Metrics, method
from morphogen.spaces import Differentiable, SearchSpace
from morphogen.supernets import Gates
from morphogen.tasks.problem import Clock, Problem
"""
    docstring, _, body = block.partition('"""\n\n')
    script.write_text(
        docstring
        + '"""\n'
        + imports
        + body
        + promises
        + """
settings = morphogen.Settings(
    epochs=1, steps_per_epoch=2, network={"channels": 4}, task={"image_size": 8},
    split={"train_images": 200, "valid_images": 200},
)
if __name__ == "__main__":
    print(morphogen.search(SignDARTSConfig(), settings=settings).text)
""",
        encoding="utf-8",
    )

    def python(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=240
        )

    done = python(str(script))
    assert done.returncode == 0, done.stderr
    assert "nor_conv_3x3" in done.stdout or "~0|" in done.stdout
    kept = python("-m", "pytest", "-q", "-p", "no:cacheprovider", str(script))
    assert kept.returncode == 0, kept.stdout
