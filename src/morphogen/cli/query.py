"""`query`: what a table says of an architecture; `import-nasbench101`: a table to query."""

from __future__ import annotations

import sys
from dataclasses import MISSING, asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphogen.cli.options import TABLE, Option, Section
from morphogen.core import CapabilityError, UnknownNameError
from morphogen.core.names import shell, shown

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
        Option(("--json",), "", "print one JSON object on stdout", False),
    ),
)

IMPORT = Section(
    "Options",
    (
        Option((), "FILE", "nasbench_only108.tfrecord or nasbench_full.tfrecord", MISSING),
        Option(("--to",), "FILE.parquet", "where the table is written", "nasbench101.parquet"),
        Option(("--json",), "", "print one JSON object on stdout", False),
    ),
)


def query(given: dict[str, Any]) -> int:
    """Look an architecture up and print every figure with its rank and regret."""
    from morphogen import spaces
    from morphogen.benchmarks import nasbench101
    from morphogen.cli.commands import print_json, show_drawing, width
    from morphogen.reports.draw import draw
    from morphogen.reports.standing import query_text, standing
    from morphogen.reports.text import fold

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
    return benchmarks.describe(space.name).title, table


def import_nasbench101(given: dict[str, Any]) -> int:
    """Convert a public file once, and say what was found."""
    from morphogen.benchmarks import nasbench101
    from morphogen.cli.commands import print_json
    from morphogen.reports.text import columns

    source, target = Path(given["file"]), Path(given["to"])
    if sys.stderr.isatty():
        print(f"reading {shown(source)}; this takes a few minutes", file=sys.stderr)
    found = nasbench101.convert(source, target)
    if given["json"]:
        print_json({"table": str(target), **asdict(found)})
        return 0
    rows = [[name, f"{cells:,}"] for name, cells in found.kept.items()]
    lines = [
        f"{shown(target)}: from {found.records:,} trainings of {found.cells:,} cells, after "
        f"{', '.join(map(str, found.epochs))} epochs",
        columns(["space", "cells of it"], rows),
    ]
    if found.cells < nasbench101.CELLS:
        lines.append(
            f"Note: the file has {found.cells:,} cells, the public ones have "
            f"{nasbench101.CELLS:,}; an architecture whose cell is missing is not found."
        )
    ask = shell("morphogen", "query", "nasbench1shot1-s1", "ARCH", "--table", target)
    lines.append(f"Ask it: {ask}")
    print("\n\n".join(lines))
    return 0
