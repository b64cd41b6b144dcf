"""`morphogen query`: what a table says of an architecture."""

from __future__ import annotations

from dataclasses import MISSING
from typing import TYPE_CHECKING, Any

from morphogen.cli.command import CELL, JSON, Command
from morphogen.cli.options import TABLE, Option, Section
from morphogen.cli.terminal.output import print_json, show_drawing, width
from morphogen.core import CapabilityError, UnknownNameError

if TYPE_CHECKING:
    from morphogen.benchmarks import Benchmark
    from morphogen.spaces import SearchSpace

OPTIONS = Section(
    "Options",
    (
        Option((), "SPACE", "a space with a table; `morphogen list spaces` names them", MISSING),
        Option(
            (),
            "ARCH",
            "the architecture in the space's notation or in others' (a row of NAS-Bench-201, "
            "NASLib's six numbers, Genotype(...)); in quotes, since | means something to the shell",
            MISSING,
        ),
        Option(("--metric",), "NAME", "one metric, with more about it (default: all)", ""),
        TABLE,
        JSON,
    ),
)


def query(given: dict[str, Any]) -> int:
    """Look an architecture up and print every figure with its rank and regret."""
    from morphogen import spaces
    from morphogen.benchmarks import nasbench101
    from morphogen.core.text import fold
    from morphogen.reports.draw import draw
    from morphogen.reports.standing import query_text, standing

    space = spaces.make(given["space"])
    title, table = _table(space, given["table"])
    arch = table.read(given["arch"])
    names = list(table.metrics)
    if given["metric"] and given["metric"] not in names:
        raise UnknownNameError(f"metric of {space.name}", given["metric"], names)
    found = standing(table, arch, [given["metric"]] if given["metric"] else names)
    remarks = space.remarks(arch)
    text = space.format(arch)
    regret = {
        split: nasbench101.authors_regret(table, arch, split)
        for split in nasbench101.AUTHORS_BEST.get(space.name, ())
    }
    if given["json"]:
        print_json(
            {
                "space": space.name,
                "architecture": text,
                "remarks": list(remarks),
                "metrics": found,
                "citation": table.citation,
            }
            | ({"authors_regret": regret} if regret else {})
        )
        return 0
    parts = [f"{title}: {text}", show_drawing(draw(space, arch, width=width()))]
    parts += [fold(f"Note: {remark}.", width()) for remark in remarks]
    parts.append(query_text(table, found, width()))
    if regret:
        values = ", ".join(f"{split} {value:.5f}" for split, value in regret.items())
        about = "mean of the three runs minus the best single run of their list"
        parts.append(fold(f"Regret as the authors plot it ({about}): {values}.", width(), indent=2))
    print("\n\n".join(parts))
    return 0


def _table(space: SearchSpace, file: str) -> tuple[str, Benchmark]:
    """What the table is called, and the table; a `CapabilityError` if there is none."""
    from morphogen import benchmarks
    from morphogen.spaces.nasbench1shot1 import PARENTS

    table = benchmarks.of(space, file)
    if table is None:
        remedy = ", or --table FILE (`morphogen import-nasbench101 --help`)"
        raise CapabilityError(
            f"space {space.name!r} has no benchmark table; accepted: "
            + ", ".join(benchmarks.NAMES)
            + (remedy if space.name in PARENTS else "")
        )
    if file:
        return f"NAS-Bench-1Shot1, search space {space.name[-1]}", table
    return benchmarks.describe(table.name).title, table


COMMAND = Command(
    "query",
    "SPACE ARCH",
    "Look an architecture up in the shipped benchmark table of a space.",
    (
        f"morphogen query nasbench201 \\\n      {CELL}",
        "morphogen query nasbench-macro 12121212 --metric test_acc --json",
    ),
    query,
    OPTIONS,
)
