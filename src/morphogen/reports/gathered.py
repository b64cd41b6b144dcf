"""Learning curves of tasks that gather their examples: the metric while training, by what it took.

How good a policy was when it played the frames that it was trained on, against their number, with
the interval over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from morphogen.core.statistics import interval
from morphogen.reports.charts import Point, Series, lines
from morphogen.reports.html import Html
from morphogen.reports.measures import seeds
from morphogen.reports.run import Run
from morphogen.reports.scale import horizontal, vertical
from morphogen.runs.described import Described, title

SHARE = 20
"""A point is the mean over the last epochs, so many of all: one by itself has few episodes."""


def own(task: Described) -> frozenset[str]:
    """Entries of the metrics that are drawn here."""
    return frozenset({f"train_{task.metric}", "train_episodes"} if task.gathered else ())


def learning_curves(groups: Sequence[tuple[str, int, Sequence[Run]]], level: int) -> Html | None:
    """One curve for each group of runs that differ in their seed alone; None if none gathers.

    Args:
        groups: name, style and runs.
        level: of the heading.
    """
    series, several, task = [], 1, None
    for name, style, runs in groups:
        found = [p for run in runs for seed in seeds(run) if (p := points(run, seed))]
        if not found:
            continue
        task, several = runs[0].task, max(several, len(found))
        known = [dict(p) for p in found]
        shared = [x for x, _ in found[0] if all(x in other for other in known)]
        at = [interval([other[x] for other in known]) for x in shared]
        line = [(x, one["mean"]) for x, one in zip(shared, at, strict=True)]
        band = [
            (x, one["low"], one["high"]) for x, one in zip(shared, at, strict=True) if "low" in one
        ]
        series.append(Series(name, line, style, band=band))
    if task is None or not any(s.points for s in series):
        return None
    text = (
        f"{title(task.spelt)} of the episodes that were played to be trained on, with the network "
        "as it then was; each point is the mean over the last twentieth of the epochs. "
    )
    text += (
        "Mean over seeds, with its 95 % interval (Student's t)."
        if several > 1
        else "One seed: no interval."
    )
    x = horizontal([a for s in series for a, _ in s.points], task.gathered, whole=True)
    ends = [v for s in series for _, low, high in s.band for v in (low, high)]
    y = vertical([*(b for s in series for _, b in s.points), *ends], task.label)
    head = f"{title(task.spelt)} in training"
    return lines(head, text, series, x, y, level=level)


def points(run: Run, seed: int) -> list[Point]:
    """(gathered so far, metric) after each epoch of a seed, over the last epochs together."""
    if not run.task.gathered:
        return []
    name = f"train_{run.task.metric}"
    rows = [row for row in run.metrics if not run.training or row.get("seed") == seed]
    window, found = max(1, len(rows) // SHARE), []
    for i, row in enumerate(rows):
        recent = [r for r in rows[max(0, i - window + 1) : i + 1] if _number(r, name)]
        weights = [float(r.get("train_episodes", 1)) for r in recent]
        drawn = taken(row)
        if sum(weights) > 0 and drawn:
            total = sum(float(r[name]) * w for r, w in zip(recent, weights, strict=True))
            found.append((float(drawn), total / sum(weights)))
    return found


def taken(row: Mapping[str, Any]) -> int:
    """What was gathered by the end of an epoch, to train weights on."""
    examples = row.get("examples")
    return int(examples.get("train", 0)) if isinstance(examples, dict) else 0


def _number(row: Mapping[str, Any], name: str) -> bool:
    return isinstance(row.get(name), int | float)
