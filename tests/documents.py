"""Commands and Python blocks of a Markdown text, and a small size for each, so that all are run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from pathlib import Path

from PIL import Image

import tiny

SMALL = {
    "search": {
        "--epochs": "1", "--steps-per-epoch": "2", "--image-size": "8", "--batch-size": "8",
        "--train-images": "32", "--valid-images": "32", "--channels": "2", "--depth": "1",
        "--diagnostic-images": "16", "--evaluations": "2",
        "--evaluation-epochs": "1", "--threads": "1",
    },
    "train": {
        "--epochs": "1", "--image-size": "8", "--batch-size": "8", "--channels": "2",
        "--depth": "1", "--threads": "1",
    },
    "compare": {"--seeds": "2", "--budget": "8", "--workers": "1"},
    "rank": {"--bootstrap": "20"},
    "score": {
        "--image-size": "8", "--batch-size": "8", "--channels": "2", "--depth": "1",
        "--workers": "1",
    },
    "export": {"--to": "onnx"},
}  # fmt: skip
"""By command: options that make it take a moment."""

PLANNED = {
    "--time": "20s", "--screened": "2", "--perturbations": "0", "--candidates": "1",
    "--drawn": "1", "--steps": "1", "--decision": "1", "--seeds": "2",
}  # fmt: skip
"""Likewise, of a search that names no method."""


def commands(text: str) -> list[list[str]]:
    """The words after `morphogen` of every command in a console block."""
    lines = re.findall(r"^\$ (morphogen .+)$", text, re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in lines]


def blocks(text: str) -> list[str]:
    """Every Python block."""
    return re.findall(r"```python\n(.+?)```", text, re.DOTALL)


def steps(text: str) -> list[list[str] | str]:
    """Commands (as words) and Python blocks (as text) in the order of the page."""
    found: list[list[str] | str] = []
    for kind, body in re.findall(
        r"^```(console|python)\n(.+?)^```", text, re.DOTALL | re.MULTILINE
    ):
        found += commands(body) if kind == "console" else [body]
    return found


def small(words: list[str], *, without: Collection[str] = ()) -> list[str]:
    """The command at a size that takes a moment: its own values give way.

    Args:
        words: of the command.
        without: flags that its data do not have.
    """
    kept = list(words)
    planned = words[0] == "search" and (len(words) == 1 or words[1].startswith("-"))
    for flag, value in (SMALL.get(words[0], {}) | (PLANNED if planned else {})).items():
        if flag in without:
            continue
        if flag == "--channels" and "--partial-channels" in kept:
            value = kept[kept.index("--partial-channels") + 1]  # the least that it takes
        if flag in kept:
            kept[kept.index(flag) + 1] = value
        else:
            kept += [flag, value]
    return kept


def pictures(root: Path) -> None:
    """PNG files, one folder per class, under train and test; 12 x 9 pixels, colour."""
    every = tiny.images(120)
    for i, (pixels, label) in enumerate(zip(every.pixels, every.labels, strict=True)):
        folder = root / ("train" if i < 100 else "test") / "abcd"[int(label)]
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(pixels[0].numpy()).resize((12, 9)).convert("RGB")
        picture.save(folder / f"{i}.png")
