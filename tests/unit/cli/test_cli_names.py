"""Names of runs, folders and classes are data on the whole way, whatever letters they have."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt
from PIL import Image

from morphogen.cli import main

ODD = "\x1b[31mre d'\n[bold]$(touch ran)" + os.fsdecode(b"\xe9")
"""Escape code, quote, line break, markup, a command, and a byte that is no UTF-8."""

CLASSES = ("<img src=x onerror=alert(1)>", "\n\n# heading | of mine", os.fsdecode(b"\x1b]0;\xff"))
ARCH = "|skip_connect~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of that name with class folders in it; its parent is where commands run."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 10, 8, 8), dtype=np.uint8)
    for name, images in zip(CLASSES, noise, strict=True):
        folder = tmp_path / ODD / "data" / name
        folder.mkdir(parents=True)
        for i, image in enumerate(images):
            Image.fromarray(image).save(folder / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    return Path(ODD)


def said(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> str:
    """What is printed, of which every line is printable."""
    assert main([str(word) for word in words]) == code
    text = "".join(capsys.readouterr())
    assert all(line.isprintable() for line in text.replace("\t", "").split("\n"))
    return text


def test_names_on_the_whole_way(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = place / "run"
    text = said(
        capsys, "train", ARCH, "--data", place / "data", "--run", run, "--image-size", 0,
        "--channels", 2, "--batch-size", 9, "--epochs", 1,
    )  # fmt: skip
    assert r"\x1b[31mre d'\n[bold]$(touch ran)\udce9" in text
    # The line to paste is read back by the rules of $'...', octal escapes and all.
    line = next(line for line in text.splitlines() if "morphogen export" in line)
    quoted = re.search(r"\$'((?:\\.|[^'\\])*)'", line)
    assert quoted is not None
    raw = quoted[1].encode().decode("unicode_escape").encode("latin-1")
    assert os.fsdecode(raw) == str(run)
    said(
        capsys, "search", "random", "--evaluator", "table", "--evaluations", 2, "--run",
        place / "table",
    )  # fmt: skip
    assert said(capsys, "runs", place).count("\n") == 3
    said(capsys, "report", run)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "\x1b" not in page
    said(capsys, "export", run, "--to", "safetensors")
    html = MarkdownIt("commonmark", {"html": True}).enable("table")
    card = html.render((run / "export" / "README.md").read_text(encoding="utf-8"))
    assert "<img" not in card
    assert "&lt;img src=x onerror=alert(1)&gt;" in card
    assert card.count("<h1>") == 1
    assert "heading" in card
    said(capsys, "predict", run / "export", place / "data", "--top", 3)
    held = json.loads(said(capsys, "predict", run / "export", place / "data", "--json"))
    assert len(held["predictions"]) == 30
    assert set(held["predictions"][0]["probabilities"]) == {*CLASSES[:2], "\x1b]0;\\xff"}


@pytest.mark.parametrize(
    "name", ["none\nmorphogen: all is well", "\x1b[31mnone", "\u202enone", ODD]
)
def test_messages_are_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["resume", name], ["export", name], ["predict", name, name], ["train", f"{name}/run"],
        ["report", name], ["runs", name], ["rank", name], [name], ["search", name],
        ["search", "darts", "--data", f"/{name}"], ["list", name], ["cost", "nasbench201", name],
        ["query", "nasbench201", name], ["search", "random", "--space", name],
    ):  # fmt: skip
        assert main(words) in (2, 4)
        text = capsys.readouterr().err
        assert text.count("\n") == 1
        assert text.rstrip("\n").isprintable()


def test_a_run_called_like_an_option(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said(
        capsys, "search", "random", "--evaluator", "table", "--evaluations", 2, "--run=-x y",
    )  # fmt: skip
    text = said(capsys, "predict", "-x y", "image.png", code=4)
    line = re.search("`(.*)`", text)
    assert line is not None
    assert shlex.split(line[1]) == ["morphogen", "train", "./-x y"]
