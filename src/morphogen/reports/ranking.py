"""How well a scorer orders architectures, as text and as a section of a page.

What is shown is the plain mapping of `rank` (`Ranked.to_mapping`), as `rank.json` keeps it; None
stands where there is no number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from morphogen.core.text import columns, fold
from morphogen.reports.charts import Mark, cloud
from morphogen.reports.clouds import middle
from morphogen.reports.html import Html, el, join, table
from morphogen.reports.scale import Axis, horizontal, vertical
from morphogen.reports.scores import thin

Points = Sequence[tuple[float, float]]
"""Score and figure of each architecture."""

MOST_POINTS = 4000
"""Points drawn at most; of more every second, third, ... is drawn."""

FEWEST = 10
"""Architectures in the figure of the best ones, at least."""

TOP = 0.1
"""Share of the architectures in the figure of the best ones."""

SUBSETS = {"all": "all", "truth": "truly best", "prediction": "predicted best"}


# -- text ------------------------------------------------------------------------------------------


def text(found: Mapping[str, Any], width: int) -> str:
    """The whole result for a terminal.

    Args:
        found: the mapping.
        width: columns.
    """
    parts = [
        fold(f"{found['title']}, {found['by']}, against {found['truth']}: {head(found)}", width),
        fold(found["about"], width, indent=2),
        columns(["among", "n", "Kendall's tau-b", "Spearman"], _level_rows(found)),
    ]
    if found["heads"]:
        parts.append(columns(["best", "precision", "overlap", "by chance"], _head_rows(found)))
    parts.append(fold(chosen(found), width, indent=2))
    parts += [fold(note, width, indent=2) for note in notes(found)]
    return "\n\n".join(parts)


def head(found: Mapping[str, Any]) -> str:
    """How many architectures, of what."""
    return f"{found['n']:,} architectures of {found['space']} ({found['truth_about']})."


def chosen(found: Mapping[str, Any]) -> str:
    """What one gets who takes the best predicted."""
    return (
        f"Best predicted: {found['chosen']}, truly number {found['rank']:,} of {found['n']:,}; "
        f"regret {estimate(found['regret'], 'z.4g')} in {found['truth']}."
    )


def notes(found: Mapping[str, Any]) -> list[str]:
    """What to know in order to read the numbers, and what to beware of."""
    sentences = [
        "In brackets: 95 % intervals, percentile bootstrap over the architectures. A local tau is "
        "smaller for the narrower range alone; compare it with another scorer's among the same "
        "ones, never with the global one.",
    ]
    if found["heads"]:
        sentences.append(
            "precision: share of the k best predicted that are as good as the k-th best; overlap: "
            "share that both have in common; by chance: what either is without any knowledge."
        )
    if found["other_data"]:
        sentences.append(
            f"The scorer saw {found['scorer_data']}, the truth is of {found['truth_data']}: this "
            "is the order on other data."
        )
    n = found["n"]
    tied = [
        f"{found[kind]:,} different {kind}" for kind in ("truths", "predictions") if found[kind] < n
    ]
    if tied:
        sentences.append(
            f"Among {n:,} architectures there are {' and '.join(tied)}: tau-b is made for ties, "
            "such as those of differently written architectures with one and the same network."
        )
    if found["levels"][0]["tau"]["value"] is None:
        sentences.append("One side is constant: nothing is ordered, and no correlation is defined.")
    return sentences


def levels(found: Mapping[str, Any]) -> Html:
    """The correlations, over all and among the best, as a table."""
    names = ["among", "n", "Kendall's tau-b", "Spearman"]
    return table("Correlations of score and truth", names, _level_rows(found), cards=True)


def _level_rows(found: Mapping[str, Any]) -> list[list[str]]:
    return [
        [
            f"{SUBSETS[level['subset']]} {_size(level['fraction'], level['n'])}".strip()
            if level["subset"] != "all"
            else "all",
            f"{level['n']:,}",
            estimate(level["tau"]),
            estimate(level["spearman"]),
        ]
        for level in found["levels"]
    ]


def _head_rows(found: Mapping[str, Any]) -> list[list[str]]:
    return [
        [
            f"{h['k']:,}" + (f" ({_share(h['fraction'])})" if h["fraction"] else ""),
            estimate(h["precision"]),
            estimate(h["overlap"]),
            f"{h['chance']:.2f}",
        ]
        for h in found["heads"]
    ]


def _size(fraction: float | None, n: int) -> str:
    return _share(fraction) if fraction else f"{n:,}"


def _share(fraction: float) -> str:
    return f"{100 * fraction:g} %"


def estimate(figure: Mapping[str, float | None], form: str = "z.2f") -> str:
    """`0.61 (0.53 to 0.69)`; a dash where there is no number."""
    value, low, high = (figure[k] for k in ("value", "low", "high"))
    if value is None:
        return "-"
    ends = "" if low is None or high is None else f" ({low:{form}} to {high:{form}})"
    return f"{value:{form}}{ends}"


# -- figures ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cloud:
    """What is drawn of some of the architectures."""

    title: str
    caption: str
    points: Points
    marks: Sequence[Mark]
    x: Axis
    y: Axis

    def figure(self, level: int) -> Html:
        """With heading, legend, values at the pointer."""
        names = [(mark.text, mark.style) for mark in self.marks]
        return cloud(
            self.title,
            self.caption,
            self.points,
            self.marks,
            self.x,
            self.y,
            names=names,
            level=level,
        )


def clouds(found: Mapping[str, Any], points: Points) -> list[Cloud]:
    """All architectures, and the best ones; none where there is nothing to draw.

    Args:
        found: the mapping.
        points: of all architectures, finite or not.
    """
    known = [p for p in points if all(map(math.isfinite, p))]
    if len(known) < 2:
        return []
    order = sorted(known, key=lambda p: p[1], reverse=found["higher_is_better"])
    top = order[: round(TOP * len(order))]
    drawn = [_cloud(found, order, f"All {len(points):,} architectures", points)]
    if len(top) >= FEWEST:
        title = f"The truly best {_share(TOP)}, {len(top):,} architectures"
        drawn.append(_cloud(found, top, title, points))
    return drawn


def _cloud(found: Mapping[str, Any], shown: Points, title: str, points: Points) -> Cloud:
    """`shown` is ordered, the truly best first."""
    score, truth = found["by"], found["truth"]
    sign = -1.0 if score == "loss" else 1.0
    text = f"{truth} against the scorer's {score}; each small dot is an architecture."
    left_out = len(points) - sum(all(map(math.isfinite, p)) for p in points)
    if left_out:
        text += f" {left_out:,} without a finite score are not drawn."
    first, picked = shown[0], points[found["chosen_place"]]
    named = [(first, "truly best", 1), (picked, "best predicted", 0)]
    if first == picked:
        named = [(first, "truly best and best predicted", 0)]
    elif picked not in shown:
        text += " The best predicted of all is not among them."
        del named[1]
    marks = [Mark(sign * a, b, name, style) for (a, b), name, style in named]
    turned = np.array([(sign * a, b) for a, b in shown])
    kept = middle(turned[:, 0], [m.x for m in marks]) & middle(turned[:, 1], [m.y for m in marks])
    inside = [(float(a), float(b)) for a, b in turned[kept]]
    few = thin(inside, MOST_POINTS)
    outliers = len(shown) - len(inside)
    if outliers:
        text += f" {outliers:,} outlier{'s are' if outliers > 1 else ' is'} outside of the frame."
    if len(few) < len(inside):
        text += f" About {MOST_POINTS:,} are drawn."
    x, y = ([*(p[i] for p in inside), *((m.x, m.y)[i] for m in marks)] for i in (0, 1))
    return Cloud(title, text, few, marks, horizontal(x, score), vertical(y, truth))


def section(found: Mapping[str, Any], points: Points, level: int = 3) -> Html:
    """Figures, tables and notes: of the page, and of a run's report."""
    boxes = [el("p", {"class": "source"}, note) for note in notes(found)]
    parts: list[Html | None] = [
        el("p", {}, chosen(found)),
        el("div", {"class": "figures"}, *(c.figure(level) for c in clouds(found, points))),
        el(
            "section",
            {},
            el(f"h{level}", {}, "The order, among all and among the best"),
            levels(found),
        ),
    ]
    if found["heads"]:
        parts.append(
            el(
                "section",
                {},
                el(f"h{level}", {}, "What the best predicted hold"),
                table(
                    "Hits",
                    ["best", "precision", "overlap", "by chance"],
                    _head_rows(found),
                    cards=True,
                ),
            )
        )
    return join([*parts, *boxes])
