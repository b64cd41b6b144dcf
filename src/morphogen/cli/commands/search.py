"""`morphogen search`: an architecture for given data. Torch is imported late."""

from __future__ import annotations

from collections.abc import Sequence

from morphogen.cli.command import HELP, Command
from morphogen.cli.terminal.output import width
from morphogen.core.text import columns, count, fold


def search(words: Sequence[str]) -> int:
    """`morphogen search METHOD ...`."""
    if any(word in HELP for word in words) and words[0].startswith("-"):
        print(_overview())
        return 0
    from morphogen.cli import catalogue

    named = bool(words) and not words[0].startswith("-")
    entry = catalogue.method_entry(words[0]) if named else None
    from morphogen.cli import searching

    return searching.search(entry, words[int(named) :])


def _overview() -> str:
    from morphogen.cli import catalogue

    spaces = [
        [e.name, count(e.size), f"{len(e.metrics)} metrics" if e.metrics else "-"]
        for e in catalogue.space_entries()
        if "Differentiable" in e.capabilities or e.metrics
    ]
    return "\n".join(
        [
            f"Usage: morphogen search {COMMAND.usage}",
            "",
            fold(COMMAND.summary, width()),
            "",
            "Methods:",
            catalogue.method_lines(catalogue.method_entries().values()),
            "",
            "Search spaces (--space; `morphogen list spaces` says more):",
            columns(["name", "architectures", "table"], spaces),
            "",
            fold(
                "Data (--data): fashion-mnist is shipped; else a path to a parquet or .npz file, "
                "to an image folder, hf:NAME, or a standard data set (cifar10:PATH names its "
                "classes).",
                width(),
            ),
            "",
            "Examples:",
            *(f"  {line}" for line in COMMAND.examples),
            "",
            fold("`morphogen search METHOD --help` lists every option of a method.", width()),
        ]
    )


COMMAND = Command(
    "search",
    "METHOD [options]",
    "Find an architecture in a search space, on your data; writes a run directory that `resume` "
    "continues.",
    (
        "morphogen search idarts",
        "morphogen search darts --data cifar10:/data/cifar-10-batches-py --epochs 20 --seed 1",
        "morphogen search idarts --preset paper --data cifar10:/data/cifar-10-batches-py",
        "morphogen search random --evaluator table --evaluations 100",
    ),
    search,
)
