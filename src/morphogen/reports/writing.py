"""Write the page on one run or on several."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from morphogen.core import ConfigError, arguments
from morphogen.core.files import made, write_anew
from morphogen.core.names import brief
from morphogen.reports.html import el
from morphogen.reports.page import render
from morphogen.reports.reading import read_run


@dataclass(frozen=True)
class Report:
    """A page that was written."""

    path: Path
    size: int
    """Bytes."""
    notes: tuple[str, ...]
    """What could not be read of the runs, and which of them are not finished, a sentence each."""

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def _repr_html_(self) -> str:
        """A link to the page, in a notebook."""
        link = el("a", {"href": os.path.relpath(self.path)}, str(self.path))
        return el("p", {}, link, f" ({self.size / 1024:,.0f} KiB)")


def report(
    run: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str] | None = None,
) -> Report:
    """Write one HTML page on a run, or one that compares several; it needs no network.

    Args:
        run: a run directory, or a result, or a list of such: of several the page compares them.
        out: where the page is written, over what is there: a file that ends in .html; by default
            report.html in the run directory, of several runs report.html here.

    Returns:
        Where it is, and what could not be read.

    Raises:
        RunError: it is no run directory, or the page cannot be written.
        ConfigError: `out` does not end in .html.
    """
    from morphogen import __version__

    runs = [run] if isinstance(run, str | os.PathLike) else run
    if not isinstance(runs, Sequence) or not runs:
        raise ConfigError(f"run is {brief(run)}; accepted: a run directory, or a list of them")
    paths = list(dict.fromkeys(arguments.path("run", one) for one in runs))
    read = [read_run(path) for path in paths]
    usual = paths[0] / "report.html" if len(paths) == 1 else Path("report.html")
    notes = []
    for one in read:
        notes += [f"{one.path}: {fault}" for fault in one.faults]
        if one.state != "finished":
            notes.append(f"{one.path} is {one.state}: the page shows what is there")
    return written(render(read, __version__), usual if out is None else out, notes)


def written(
    page: str, out: str | os.PathLike[str], notes: Sequence[str] = (), *, argument: str = "out"
) -> Report:
    """Write a page to a file.

    Args:
        page: its HTML.
        out: the file, which is made anew.
        notes: what was to be said of it, a sentence each.
        argument: what gave `out`, for the message.

    Raises:
        RunError: it cannot be written.
        ConfigError: `out` does not end in .html.
    """
    file = page_file(argument, out)
    with made(file.parent):
        write_anew(file, page)
    return Report(file, len(page.encode()), tuple(notes))


def page_file(argument: str, out: str | os.PathLike[str]) -> Path:
    """A file for a page.

    Raises:
        ConfigError: it does not end in .html.
    """
    file = arguments.path(argument, out)
    if file.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{argument} is {str(file)!r}; accepted: a file that ends in .html")
    return file
