"""`morphogen report`: run directories to one page of HTML."""

from __future__ import annotations

from dataclasses import MISSING
from typing import Any

from morphogen.cli.command import Command
from morphogen.cli.options import Option, Section
from morphogen.core import RunError
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
    from morphogen.reports.writing import report

    done = report(given["run"], given["out"] or None)
    for note in done.notes:
        print(shown(f"note: {note}"))
    print(f"{shown(done.path)} ({done.size / 1024:,.0f} KiB)")
    if given["open"]:
        import webbrowser

        if not webbrowser.open(done.path.resolve().as_uri()):
            raise RunError(f"no browser could be started; the page is in {done.path}")
    return 0


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
