"""Which table belongs to a space: a file of the user's, or the one that ships."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import cast

from morphogen.benchmarks import nasbench101, shipped
from morphogen.benchmarks.table import Benchmark
from morphogen.core import CapabilityError, arguments
from morphogen.spaces import SearchSpace, about, make
from morphogen.spaces.nasbench1shot1 import PARENTS, NASBench1Shot1


def of(space: SearchSpace, file: str = "") -> Benchmark | None:
    """The benchmark of a space, or None.

    A sub-space made by `restrict` and a constrained space have the benchmark of the whole: ranks
    and optimum are those of the whole space.

    Args:
        space: whose architectures are looked up.
        file: a table that `morphogen import-nasbench101` wrote; empty for the shipped one.

    Raises:
        CapabilityError: there is a file, and it cannot be about this space.
        DataError: the file is missing, or none of ours.
    """
    arguments.instance("space", space, SearchSpace, "a search space, such as spaces.make(NAME)")
    if file:
        if space.name not in PARENTS:
            raise CapabilityError(
                f"a table of NAS-Bench-101 is for NAS-Bench-1Shot1, not space {space.name!r}; "
                f"accepted: {', '.join(PARENTS)}"
            )
        path = Path(file)
        changed = path.stat().st_mtime_ns if path.exists() else 0
        return _imported(path, changed, space.name)
    known = about(space)
    if known is None or not known.table:
        return None
    table = shipped.load(known.table)
    whole = table.space
    there = all(set(c.options) <= set(whole.choice(c.name).options) for c in space.choices)
    return table if there else None


@lru_cache(maxsize=4)
def _imported(path: Path, changed: int, name: str) -> Benchmark:
    """Read once per process and version of the file."""
    return nasbench101.load(path, cast(NASBench1Shot1, make(name)))
