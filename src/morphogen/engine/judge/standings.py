"""What the traces of a comparison say: means with intervals, ranks, tests, curves.

Every figure is over seeds. Ranks and tests are on the best search figure at the end of the budget,
method against method with the same seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.benchmarks import Benchmark
from morphogen.core.statistics import interval
from morphogen.engine.judge.trials import Trace, curve, queries_to_optimum, scores_of

POINTS = 80
"""Query counts, evenly spaced by their logarithm, at which curves are given."""

LEVEL = 0.05
"""A difference with a smaller p-value is called significant."""


@dataclass(frozen=True)
class Entry:
    """One method with one configuration, over all seeds."""

    name: str
    """As the user wrote it."""
    traces: Sequence[Trace]
    """One for each seed."""


def standings(
    table: Benchmark, searched: str, reported: str, entries: Sequence[Entry], budget: int
) -> dict[str, Any]:
    """All figures of a comparison as plain values.

    Args:
        table: what was searched.
        searched: the column that the searches read.
        reported: the column in which the best by `searched` is reported.
        entries: the methods; all with the same seeds.
        budget: look-ups that each search had.

    Returns:
        `entries`, best mean rank first, and the `tests` between them.
    """
    ends = np.array(
        [[_best(table, searched, t, budget) for t in e.traces] for e in entries]
    )  # [entries, seeds], higher is better
    ranks = _ranks(ends)
    at = np.unique(np.geomspace(1, budget, POINTS).round().astype(int))
    found = []
    for i, entry in enumerate(entries):
        found.append(
            {
                "name": entry.name,
                "mean_rank": float(ranks[i].mean()),
                "reported": _over(_column(table, entry, searched, reported, budget)[:, -1]),
                "regret": _over(_regrets(table, entry, searched, reported, budget)[:, -1]),
                "search_regret": _over(_regrets(table, entry, searched, searched, budget)[:, -1]),
                "optimum": _optimum(table, entry, searched, budget),
                "seconds": interval([t.seconds for t in entry.traces]),
                "curves": {
                    "queries": at.tolist(),
                    "search_regret": _curve(
                        _regrets(table, entry, searched, searched, budget)[:, at - 1]
                    ),
                    "regret": _curve(_regrets(table, entry, searched, reported, budget)[:, at - 1]),
                },
            }
        )
    order = np.argsort(ranks.mean(axis=1), kind="stable")
    return {
        "entries": [found[i] for i in order],
        "tests": _tests([entries[i].name for i in order], ends[order]),
    }


def _best(table: Benchmark, searched: str, trace: Trace, budget: int) -> float:
    return float(scores_of(table, searched)[trace.rows[:budget]].max())


def _column(
    table: Benchmark, entry: Entry, searched: str, reported: str, budget: int
) -> NDArray[np.float64]:
    """[seeds, budget]: the reported value of the best so far."""
    return np.stack([curve(table, t, searched, reported, budget) for t in entry.traces])


def _regrets(
    table: Benchmark, entry: Entry, searched: str, reported: str, budget: int
) -> NDArray[np.float64]:
    """[seeds, budget]: distance of the best so far to the best of the table."""
    _, best = table.optimum(reported)
    return np.abs(_column(table, entry, searched, reported, budget) - best)


def _over(values: NDArray[np.float64]) -> dict[str, float]:
    """Mean and 95 % interval over seeds."""
    return interval(values.tolist())


def _curve(values: NDArray[np.float64]) -> dict[str, list[float]]:
    """Mean and 95 % interval of each column of [seeds, points]."""
    found = [_over(column) for column in values.T]
    return {
        "mean": [f["mean"] for f in found],
        "low": [f.get("low", f["mean"]) for f in found],
        "high": [f.get("high", f["mean"]) for f in found],
    }


def _optimum(table: Benchmark, entry: Entry, searched: str, budget: int) -> dict[str, Any]:
    """Queries to a best search figure of the whole table; misses count as the budget."""
    queries = [queries_to_optimum(table, t, searched) for t in entry.traces]
    hits = [q for q in queries if q is not None and q <= budget]
    counted = [*hits, *[budget] * (len(queries) - len(hits))]
    return {
        "found": len(hits),
        "of": len(queries),
        "queries": interval(counted),
        "median": float(np.median(counted)),
    }


def _ranks(ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """[entries, seeds]: 1 for the best of a seed, equals share the mean of their ranks."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(-ends, axis=0), np.float64)


def _tests(names: Sequence[str], ends: NDArray[np.float64]) -> dict[str, Any]:
    """Friedman's test over all methods, Wilcoxon's signed ranks of each against the first.

    The p-values of the second are Holm's, for as many comparisons as there are.
    """
    from scipy.stats import friedmanchisquare, wilcoxon

    methods, seeds = ends.shape
    if methods < 2 or seeds < 2:
        return {}
    found: dict[str, Any] = {}
    if methods > 2:
        same = bool((ends == ends[0]).all())
        found["friedman_p"] = 1.0 if same else float(friedmanchisquare(*ends).pvalue)
    raw = {
        name: 1.0 if np.array_equal(ends[0], other) else float(wilcoxon(ends[0], other).pvalue)
        for name, other in zip(names[1:], ends[1:], strict=True)
    }
    return {**found, "wilcoxon_p_against_first": holm(raw)}


def holm(raw: Mapping[str, float]) -> dict[str, float]:
    """Holm's p-values of several tests: the smallest times their number, and so on upwards."""
    adjusted, above = {}, 0.0
    for i, (name, p) in enumerate(sorted(raw.items(), key=lambda item: item[1])):
        above = max(above, min(1.0, (len(raw) - i) * p))
        adjusted[name] = above
    return {name: adjusted[name] for name in raw}
