"""Comparing run directories to the last bit, and watchers that interrupt or record a search."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, equal

from morphogen.engine.record.watch import Silent
from morphogen.engine.search.loop import TIMES
from morphogen.runs import checkpoint
from morphogen.runs.directory import RunDirectory
from morphogen.tasks.problem import Clock
from morphogen.testing.checks import require


def timeless(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of metrics without what differs between equal runs."""
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def _timeless_lines(text: str) -> list[dict[str, Any]]:
    return timeless([json.loads(line) for line in text.splitlines()])


def metrics(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl, every line of it, or the rows of the store; without times."""
    if (run / "metrics.jsonl").exists():
        return _timeless_lines((run / "metrics.jsonl").read_text())
    return timeless(RunDirectory(run).metrics())


def state(run: Path) -> dict[str, Any]:
    """The last checkpoint's content, without times; empty for a black-box method."""
    if not (run / "checkpoint.pt").exists():
        return {}
    content = checkpoint.read(run / "checkpoint.pt")
    return {**content, "history": _timeless_lines(content["history"])}


def same(one: Any, two: Any) -> bool:
    """Equal to the last bit, types and keys included."""
    if isinstance(one, Tensor):
        return isinstance(two, Tensor) and one.dtype == two.dtype and equal(one, two)
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[k], two[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(same(a, b) for a, b in zip(one, two, strict=True))
    return type(one) is type(two) and bool(one == two)


def require_same_run(one: Path, two: Path) -> None:
    """Architecture, every metric but times, alpha, weights, optimisers, streams: bit for bit.

    Also the network that a search delivers.

    Raises:
        AssertionError: names the file, and the line or the part that differs.
    """
    lines = [metrics(run) for run in (one, two)]
    require(len(lines[0]) == len(lines[1]), f"{len(lines[0])} and {len(lines[1])} lines of metrics")
    for number, (a, b) in enumerate(zip(*lines, strict=True), start=1):
        names = sorted(k for k in {*a, *b} if not same(a.get(k), b.get(k)))
        require(a == b, f"line {number} of the metrics differs in {', '.join(names)}")
    results = [json.loads((run / "result.json").read_text()) for run in (one, two)]
    for result in results:
        for name in TIMES:
            del result["cost"][name]
    names = sorted(k for k in {*results[0], *results[1]} if results[0].get(k) != results[1].get(k))
    require(results[0] == results[1], f"result.json differs in {', '.join(names)}")
    files = [RunDirectory(run).network_file for run in (one, two)]
    held = [file.read_bytes() if file.exists() else b"" for file in files]
    require(held[0] == held[1], f"{files[0].name} differs")
    first, second = state(one), state(two)
    require(list(first) == list(second), "the checkpoints have other parts")
    for part in first:
        require(same(first[part], second[part]), f"the checkpoints differ in {part}")


class Interrupt(Silent):
    """Ctrl-C after so many calls of `stepped`, or when so many epochs are done and safe.

    With both: after so many calls in the epoch that comes then.
    """

    def __init__(self, *, steps: int | None = None, epochs: int | None = None) -> None:
        self.steps, self.epochs = steps, epochs
        self.finished: int | None = None
        self._counts = epochs is None

    def __call__(self) -> Interrupt:
        """Itself, as a function that makes a watcher."""
        return self

    def started(self, config: Any, path: Path, finished_epochs: int) -> None:
        """Where the search began."""
        self.finished = finished_epochs

    def stepped(self, clock: Clock) -> None:
        """Counts."""
        if self.steps is not None and self._counts:
            self.steps -= 1
            if self.steps == 0:
                raise KeyboardInterrupt

    def epoch(self, row: Any) -> None:
        """Compares."""
        if row["epoch"] == self.epochs:
            self._counts = True
            if self.steps is None:
                raise KeyboardInterrupt


class Recorder(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.finished: int | None = None

    def __call__(self) -> Recorder:
        """Itself, as a function that makes a watcher."""
        return self

    def started(self, config: Any, path: Path, finished_epochs: int) -> None:
        """Where the search began."""
        self.finished = finished_epochs

    def notice(self, sentence: str) -> None:
        """Every sentence, in order."""
        self.notices.append(sentence)
