"""`morphogen resume`: a search or a training goes on. Torch is imported late."""

from __future__ import annotations

from dataclasses import MISSING
from functools import partial
from pathlib import Path
from typing import Any

from morphogen.cli.command import JSON_PROGRESS, Command
from morphogen.cli.options import Option, Section, whole
from morphogen.core.ranges import COUNT


def resume(given: dict[str, Any]) -> int:
    """`morphogen resume RUN`, from its options."""
    lengths = {
        name: whole(f"--{name}", given[name], COUNT)
        for name in ("epochs", "evaluations")
        if given[name]
    }
    from morphogen.cli import searching, training
    from morphogen.cli.interruptible import interruptible
    from morphogen.cli.terminal.watching import watcher
    from morphogen.engine.resume import resume as resume_run
    from morphogen.engine.train.trained import TrainResult

    with interruptible(Path(given["run"])):
        result = resume_run(
            given["run"],
            epochs=lengths.get("epochs"),
            evaluations=lengths.get("evaluations"),
            watcher=partial(watcher, given["json"]),
        )
    if isinstance(result, TrainResult):
        return training.report(result, as_json=given["json"])
    return searching.report(result, as_json=given["json"])


COMMAND = Command(
    "resume",
    "RUN [options]",
    "Continue an interrupted search or training, bit for bit as if it had not stopped; or search "
    "on from a finished one.",
    (
        "morphogen resume runs/idarts-nasbench201-20260101-120000",
        "morphogen resume runs/idarts-nasbench201-20260101-120000 --epochs 50",
    ),
    resume,
    Section(
        "Options",
        (
            Option((), "RUN", "the run directory that the search named", MISSING),
            Option(
                ("--epochs",),
                "N",
                "search on to N epochs, also from a finished run: schedules go on as those of a "
                "search of N epochs, so that the result is not that of such a search from the "
                "start",
                "",
            ),
            Option(
                ("--evaluations",),
                "N",
                "likewise to N architectures, of a black-box method, whose result is that of a "
                "search of N from the start",
                "",
            ),
            JSON_PROGRESS,
        ),
    ),
)
