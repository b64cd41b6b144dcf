"""`morphogen report`: run directories to one page of HTML."""

from __future__ import annotations

from dataclasses import MISSING
from pathlib import Path
from typing import Any

from morphogen.cli.command import Command
from morphogen.cli.options import Option, Section
from morphogen.core import ConfigError, RunError
from morphogen.core.names import shown

OPTIONS = Section(
    "Options",
    (
        Option((), "RUN...", "run directories; of several the page compares them", MISSING),
        Option(
            ("--out",),
            "FILE.html",
            "where the page is written, over what is there (default: report.html in the run "
            "directory; with several runs, report.html here)",
            "",
        ),
        Option(("--open",), "", "show the page in the browser", False),
    ),
)


def run(given: dict[str, Any]) -> int:
    """Write the page and say where it is."""
    from morphogen import __version__
    from morphogen.core.files import made, write_anew
    from morphogen.reports.page import report
    from morphogen.reports.reading import read_run

    paths = [Path(p) for p in dict.fromkeys(given["run"])]
    runs = [read_run(path) for path in paths]
    out = Path(given["out"]) if given["out"] else _default(paths)
    if out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--out is {str(out)!r}; accepted: a file that ends in .html")
    page = report(runs, __version__)
    with made(out.parent):
        write_anew(out, page)
    for known in runs:
        for fault in known.faults:
            print(shown(f"note: {known.path}: {fault}"))
        if known.state != "finished":
            print(f"note: {shown(known.path)} is {known.state}: the page shows what is there")
    print(f"{shown(out)} ({len(page.encode()) / 1024:,.0f} KiB)")
    if given["open"]:
        import webbrowser

        if not webbrowser.open(out.resolve().as_uri()):
            raise RunError(f"no browser could be started; the page is in {out}")
    return 0


def _default(paths: list[Path]) -> Path:
    return paths[0] / "report.html" if len(paths) == 1 else Path("report.html")


COMMAND = Command(
    "report",
    "RUN...",
    "Write one HTML page on a run, or one that compares several; it needs no network.",
    (
        "morphogen report runs/idarts-nasbench201-20260101-120000 --open",
        "morphogen report runs/idarts-seed* runs/darts-seed* --out comparison.html",
    ),
    run,
    OPTIONS,
)
