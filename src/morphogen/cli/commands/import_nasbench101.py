"""`morphogen import-nasbench101`: a public file becomes a table to query."""

from __future__ import annotations

import sys
from dataclasses import MISSING, asdict
from pathlib import Path
from typing import Any

from morphogen.cli.command import JSON, Command
from morphogen.cli.options import Option, Section
from morphogen.cli.terminal.output import print_json
from morphogen.core.names import shell, shown

OPTIONS = Section(
    "Options",
    (
        Option((), "FILE", "nasbench_only108.tfrecord or nasbench_full.tfrecord", MISSING),
        Option(("--to",), "FILE.parquet", "where the table is written", "nasbench101.parquet"),
        JSON,
    ),
)


def import_nasbench101(given: dict[str, Any]) -> int:
    """Convert a public file once, and say what was found."""
    from morphogen.benchmarks import nasbench101
    from morphogen.core.text import columns

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


COMMAND = Command(
    "import-nasbench101",
    "FILE",
    "Convert a public file of NAS-Bench-101, which you have downloaded, into a small table of all "
    "cells of the three spaces of NAS-Bench-1Shot1, for --table of `query`, `search`, `compare` "
    "and `rank`.",
    (
        "morphogen import-nasbench101 nasbench_only108.tfrecord",
        "morphogen import-nasbench101 /data/nasbench_full.tfrecord --to /data/nasbench101.parquet",
    ),
    import_nasbench101,
    OPTIONS,
)
