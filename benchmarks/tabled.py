"""NAS-Bench-201 by the texts of its cells: evolutions that read a table, and no supernet."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import record

from morphogen import benchmarks, spaces

SPACE = spaces.make("nasbench201")


@cache
def column(name: str) -> dict[str, float]:
    """A column of the table, by the texts of its cells."""
    table = benchmarks.load("nasbench201")
    texts = [SPACE.format(arch) for arch in table.architectures]
    return dict(zip(texts, table.values(name).tolist(), strict=True))


def summary(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """The mean of each figure over seeds with its interval, and its standard deviation."""
    return {
        name: {
            **record.interval([row[name] for row in rows]),
            "sd": statistics.stdev(row[name] for row in rows),
        }
        for name in rows[0]
    }


def mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each figure over seeds."""
    return {name: statistics.fmean(row[name] for row in rows) for name in rows[0]}
