"""`morphogen runs`: the run directories below a directory, newest first."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphogen.cli.command import JSON, Command
from morphogen.cli.options import Option, Section
from morphogen.cli.terminal.output import print_json
from morphogen.core import MorphogenError, RunError
from morphogen.core.names import shown
from morphogen.core.text import columns, duration

if TYPE_CHECKING:
    from morphogen.reports.run import Run

OPTIONS = Section(
    "Options",
    (
        Option((), "DIR", "where to look, in all folders", "runs"),
        JSON,
    ),
)


HEAD = (
    *("run", "state", "method", "space", "data", "seed", "done", "best", "of what"),
    *("against the reference", "cost", "age"),
)


@dataclass(frozen=True)
class Listed:
    """One line of the list."""

    entry: dict[str, Any]
    """For `--json`."""
    cells: list[str]
    """For people."""
    started: float
    """Seconds since 1970."""


def run(given: dict[str, Any]) -> int:
    """Print the list."""
    root = Path(given["dir"])
    listed, damaged = find(root)
    if given["json"]:
        print_json({"runs": [line.entry for line in listed], "damaged": damaged})
        return 0
    if not listed and not damaged:
        print(f"no runs in {shown(root)}; `morphogen search METHOD` makes one")
        return 0
    rows = [line.cells for line in listed]
    if rows:
        print(columns(HEAD, rows, left=5, indent=0) if sys.stdout.isatty() else _plain(rows))
    for line in listed:
        for fault in line.entry["notes"]:
            print(f"note: {shown(line.entry['run'])}: {shown(fault)}", file=sys.stderr)
    for sentence in damaged:
        print(f"note: {shown(sentence)}", file=sys.stderr)
    return 0


def find(root: Path) -> tuple[list[Listed], list[str]]:
    """The runs at or below `root`, newest first, and a sentence for each that cannot be read.

    Raises:
        RunError: `root` is no directory.
    """
    if not os.path.isdir(root):  # also of a name too long to be one
        raise RunError(f"{root} is no directory; accepted: a folder with runs in it")
    listed: list[Listed] = []
    damaged: list[str] = []
    for path in _directories(root, damaged):
        try:
            listed.append(_listed(path))
        except MorphogenError as error:
            damaged.append(str(error))
    return sorted(listed, key=lambda line: (-line.started, line.entry["run"])), damaged


def _listed(path: Path) -> Listed:
    """All that is said of a run: what is wrong with it comes up here, and stops no other."""
    from morphogen.reports.reading import read_run

    known = read_run(path)
    started = _started(known, path)
    return Listed(_entry(known, started), _row(known, max(0.0, time.time() - started)), started)


def _directories(root: Path, damaged: list[str]) -> Iterator[Path]:
    """Folders with a config.yaml; what lies in a run is not looked into."""
    waiting = [str(root)]  # `os.walk` calls itself, and folders may lie deeper than Python allows
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            damaged.append(f"cannot read {folder}: {error.strerror}")
            continue
        if any(entry.name == "config.yaml" for entry in entries):
            yield Path(folder)
            continue
        waiting += [e.path for e in entries if e.is_dir(follow_symlinks=False)]


def _started(known: Run, path: Path) -> float:
    try:
        return datetime.fromisoformat(str(known.config.get("created"))).timestamp()
    except (ValueError, OverflowError):
        return (path / "config.yaml").stat().st_mtime


def _entry(known: Run, started: float) -> dict[str, Any]:
    """One run for `--json`."""
    best, (seeds, ends) = known.headline, known.spread
    spread = {"seeds": seeds, "interval_95": list(ends) if ends else None}
    return {
        "run": known.path,
        "state": known.state,
        "method": known.method,
        "space": known.space_name,
        "data": known.data,
        "seed": known.seed,
        "done": len(known.metrics),
        "unit": known.unit,
        "architecture": known.text or None,
        "best": {"value": best[1], "what": best[0], "higher_is_better": best[2], **spread}
        if best
        else None,
        "comparison": known.comparison.written() if known.comparison else None,
        "cost": {name: round(known.spent(name), 3) for name in ("seconds", "cpu_seconds")},
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "notes": list(known.faults),
    }


def _row(known: Run, age: float) -> list[str]:
    best = known.headline
    units = {"epoch": "epochs", "architecture": "archs"}
    cells = [
        known.path,
        known.state,
        known.method,
        known.space_name,
        known.data,
        str(known.seed),
        f"{len(known.metrics)} {units[known.unit]}",
        f"{best[1]:.4g}" if best else "-",
        _what(best[0], known.spread[1]) if best else "-",
        known.comparison.verdicts[0].short if known.comparison else "-",
        duration(known.spent("seconds")),
        _age(age),
    ]
    return [shown(cell) for cell in cells]


def _what(name: str, ends: tuple[float, float] | None) -> str:
    """What the figure is of: part, seeds, interval; or that it is a table's."""
    words = name.replace(" in %", "")
    return words + (f", {ends[0]:.4g} to {ends[1]:.4g}" if ends else "")


def _age(seconds: float) -> str:
    """The largest unit of it: minutes at least."""
    for unit, size in (("d", 86400), ("h", 3600)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds // 60)} min"


def _plain(rows: Sequence[Sequence[str]]) -> str:
    """Tabs between the cells, a heading first: for `cut`, `sort` and `grep`."""
    return "\n".join("\t".join(map(shown, row)) for row in (HEAD, *rows))


COMMAND = Command(
    "runs",
    "[DIR]",
    "List the runs in a folder, newest first: whether each is running, finished, ended early or "
    "cut off, what it found and what it cost.",
    (
        "morphogen runs",
        "morphogen runs results/ --json",
    ),
    run,
    OPTIONS,
)
