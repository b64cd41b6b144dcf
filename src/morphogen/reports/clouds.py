"""All architectures of a benchmark table as a cloud, and the results of searches on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from morphogen.benchmarks import Benchmark, Metric
from morphogen.reports.charts import Mark, cloud
from morphogen.reports.html import Html
from morphogen.reports.run import Run
from morphogen.reports.scale import horizontal, vertical

MARGIN = 0.6
"""Outliers further than this share of the middle 90 % outside of it are not drawn."""


def clouds(
    runs: Sequence[Run], level: int, looks: Sequence[tuple[str, int]] = (("", 1),)
) -> list[Html]:
    """Test figure against validation figure, and against what the network costs.

    Args:
        runs: one run, whose path is drawn, or several of one space, whose results are.
        level: of the headings.
        looks: name in the legend and colour of each run.
    """
    first = runs[0]
    bench = first.table
    if bench is None or not all(run.standing for run in runs):
        return []
    y = bench.metric(first.main_metric)
    return [_cloud(runs, bench, bench.metric(x), y, level, looks) for x in _abscissas(bench, y)]


def _abscissas(bench: Benchmark, y: Metric) -> list[str]:
    """Columns to set against the test figure: what a search could have read, and costs."""
    metrics = list(bench.metrics.values())
    valid = [m.name for m in metrics if m.split == "valid" and m.data == y.data]
    return [*valid[:1], *(m.name for m in metrics if m.split == "cost")][:2]


def _cloud(
    runs: Sequence[Run],
    bench: Benchmark,
    x: Metric,
    y: Metric,
    level: int,
    looks: Sequence[tuple[str, int]],
) -> Html:
    alone = len(runs) == 1
    marks = (
        _path(runs[0], bench, x, y, looks[0][1])
        if alone
        else [
            _mark(run, run.text, f"{name}, seed {run.seed}", bench, x, y, style)
            for run, (name, style) in zip(runs, looks, strict=True)
        ]
    )
    xs, ys = bench.values(x.name), bench.values(y.name)
    kept = middle(xs, [m.x for m in marks]) & middle(ys, [m.y for m in marks])
    left_out = int((~kept).sum())
    text = f"{_what(y)} ({y.seeds}) against {_what(x)} ({x.seeds}); each small dot is one of them."
    text += (
        f" The line leads from the first to the last architecture of this search, seed "
        f"{runs[0].seed}; the large dot is its result."
        if alone and len(marks) > 1
        else " The large dot is the result."
        if alone
        else " Each large dot is one run's result."
    )
    if left_out:
        text += f" {left_out:,} outliers are outside of the frame."
    name = "path of this search" if len(marks) > 1 else "this architecture"
    return cloud(
        f"All {len(bench):,} architectures: test against {_split(x) if x.data else x.unit}",
        text,
        list(zip(xs[kept].tolist(), ys[kept].tolist(), strict=True)),
        marks,
        horizontal([*xs[kept].tolist(), *(m.x for m in marks)], _label(x)),
        vertical([*ys[kept].tolist(), *(m.y for m in marks)], _label(y)),
        names=[(name, looks[0][1])] if alone else list(dict.fromkeys(looks)),
        joined=alone,
        level=level,
    )


def _path(run: Run, bench: Benchmark, x: Metric, y: Metric, style: int) -> list[Mark]:
    """The architecture of each epoch, where it is another than before; the last is the result."""
    steps: list[tuple[str, str]] = []
    for number, row in enumerate(run.metrics, start=1):
        text = str(row.get("architecture", ""))
        if (not steps or steps[-1][0] != text) and run.read(text) is not None:
            steps.append((text, f"{run.unit} {number}"))
    if not steps or steps[-1][0] != run.text:
        steps.append((run.text, "result"))
    return [
        _mark(run, text, f"{when}, {text}", bench, x, y, style)
        for text, when in steps
        if run.read(text) in bench
    ]


def _mark(
    run: Run, text: str, label: str, bench: Benchmark, x: Metric, y: Metric, style: int
) -> Mark:
    record = bench.query(text)
    return Mark(record[x.name], record[y.name], label, style)


def middle(values: NDArray[np.float64], marked: Sequence[float]) -> NDArray[np.bool_]:
    """False for the few outside of all marks, which would press the others into a corner."""
    low, high = np.quantile(values, (0.05, 0.95))
    room = MARGIN * (high - low)
    low, high = min(low - room, *marked), max(high + room, *marked)
    return np.asarray((values >= low) & (values <= high))


def _what(m: Metric) -> str:
    trained = f" after {m.epochs} epochs" if m.epochs else ""
    return m.unit if m.split == "cost" else f"{m.data} {_split(m)} {m.unit}{trained}"


def _label(m: Metric) -> str:
    return m.unit if m.split == "cost" else f"{_split(m)} {m.unit}"


def _split(m: Metric) -> str:
    return {"valid": "validation"}.get(m.split, m.split)
