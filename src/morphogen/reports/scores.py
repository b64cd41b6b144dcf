"""Figures of a black-box search: every score with the best so far, and the Pareto front."""

from __future__ import annotations

import math

from morphogen.reports.charts import Mark, Series, cloud, lines
from morphogen.reports.html import Html
from morphogen.reports.run import Run
from morphogen.reports.scale import horizontal, vertical

MOST_POINTS = 2000
"""Points drawn at most; of more every second, third, ... is drawn."""


def scored(run: Run, level: int) -> list[Html]:
    """The figures that this run has something for."""
    made = [_scores(run, level), _front(run, level)]
    return [figure for figure in made if figure is not None]


def rising(run: Run) -> list[tuple[float, float]]:
    """The best score so far after each architecture that has one."""
    best, points = -math.inf, []
    for x, value in run.series("score"):
        best = max(best, value)
        points.append((x, best))
    return points


def thin(points: list[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """At most about `most` of the points, evenly taken, the last among them."""
    stride = -(-len(points) // most) or 1
    return points[(len(points) - 1) % stride :: stride]


def _scores(run: Run, level: int) -> Html | None:
    points = run.series("score")
    if not points:
        return None
    words = kind(run)
    text = (
        f"{words[0].upper()}{words[1:]} of each architecture asked for, in order; seed {run.seed}."
    )
    failed = sum("failed" in row for row in run.metrics)
    if failed:
        text += f" {failed:,} of {len(run.metrics):,} evaluations failed and have no score."
    if len(points) > MOST_POINTS:
        text += f" About {MOST_POINTS:,} of {len(points):,} are drawn."
    label, sign = (run.task.label, run.task.sign) if run.judged else ("score", 1)
    each = [(x, sign * y) for x, y in thin(points, MOST_POINTS)]
    best = [(x, sign * y) for x, y in thin(rising(run), MOST_POINTS)]
    series = [Series("best so far", best, 0), Series("scores", each, 1, dots=True)]
    x = horizontal([a for a, _ in each], "architecture", whole=True)
    return lines("Scores", text, series, x, vertical([b for _, b in each], label), level=level)


def kind(run: Run) -> str:
    """What a score is of, in words."""
    s, metric = run.settings["evaluation"], run.task.metric
    if s.get("evaluator") == "table":
        return f"the table's {s.get('metric') or 'validation figure'}"
    if s.get("evaluator") == "proxy":
        return f"the zero-cost proxy {s.get('proxy')} of the untrained network"
    if s.get("evaluator") == "supernet":
        return f"search-validation {metric} with the weights of a trained supernet"
    epochs = s.get("epochs")
    return f"search-validation {metric} after {epochs} epoch{'s'[: epochs != 1]} of training"


def _front(run: Run, level: int) -> Html | None:
    """The first two objectives of all architectures, those of the front joined."""
    front = run.result.get("candidates")
    if not isinstance(front, list) or not front or "reference" not in run.result:
        return None
    y_name, x_name = list(front[0])[1:3]
    found = [
        (float(row[x_name]), float(row[y_name]))
        for row in run.metrics
        if isinstance(row.get(x_name), int | float) and isinstance(row.get(y_name), int | float)
    ]
    members = sorted(front, key=lambda m: float(m[x_name]))
    marks = [Mark(float(m[x_name]), float(m[y_name]), str(m["architecture"]), 1) for m in members]
    text = (
        f"The {len(found):,} architectures evaluated by {y_name} and {x_name}; the line joins the "
        f"{len(marks)} that no other beats in every objective."
    )
    volume = run.result.get("hypervolume")
    if isinstance(volume, int | float):
        text += f" Hypervolume {volume:.5g}, above the worst values found."
    return cloud(
        "Pareto front",
        text,
        found,
        marks,
        horizontal([a for a, _ in found], x_name),
        vertical([b for _, b in found], y_name),
        names=[("Pareto front", 1)],
        joined=True,
        level=level,
    )
