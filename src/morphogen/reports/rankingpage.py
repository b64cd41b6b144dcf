"""How well a scorer orders architectures, as a page, and as a drawing by itself."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from morphogen.reports.charts import cloud_parts
from morphogen.reports.html import Child, Html, el, join
from morphogen.reports.page import document
from morphogen.reports.ranking import Points, clouds, estimate, head, section
from morphogen.reports.scale import HEIGHT, RIGHT, WIDTH

EDGE = 10.0
"""Margin around a drawing."""

TITLE = 50.0
"""Height of the title over a drawing."""


def page(found: Mapping[str, Any], points: Points, version: str) -> str:
    """The result as one page that asks the network for nothing.

    Args:
        found: the mapping.
        points: score and figure of each architecture.
        version: of morphogen, for the foot.
    """
    top = join([el("p", {"class": "lead"}, f"Scored: {head(found)}"), el("p", {}, found["about"])])
    body = section(found, points)
    name = f"{found['by'].capitalize()} against {found['truth']}"
    return document(
        f"The order of {found['title']}",
        "Order-preserving ability",
        top,
        [(name, "order", body)],
        f"Made by morphogen {version}.",
    )


def svg(found: Mapping[str, Any], points: Points) -> str:
    """The cloud of all architectures by itself, in the colours of the pages, light or dark.

    Args:
        found: the mapping.
        points: score and figure of each architecture.
    """
    what = f"{found['title']} against {found['truth']}"
    tau = f"{found['n']:,} architectures, tau-b {estimate(found['levels'][0]['tau'])}"
    parts: list[Child] = []
    for c in clouds(found, points)[:1]:
        parts += cloud_parts(c.points, c.marks, c.x, c.y)
        for i, mark in enumerate(c.marks):
            place = {"x": WIDTH - RIGHT, "y": 13.0 + 14 * i, "class": f"end s{mark.style} key"}
            parts.append(el("text", place, f"\u25cf {mark.text}"))
    style = (files("morphogen.reports") / "assets" / "report.css").read_text(encoding="utf-8")
    box = (-EDGE, -TITLE, WIDTH + 2 * EDGE, HEIGHT + TITLE + EDGE)
    paper = dict(zip(("x", "y", "width", "height"), box, strict=True))
    drawn = el(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "class": "chart",
            "viewBox": " ".join(f"{v:g}" for v in box),
            "role": "img",
        },
        el("title", {}, f"{what}: {tau}"),
        el("style", {}, Html(style + "svg text.key { fill: var(--c); }")),
        el("rect", {**paper, "fill": "var(--paper)"}),
        el("text", {"x": 0, "y": 18 - TITLE, "class": "panel"}, what),
        el("text", {"x": 0, "y": 36 - TITLE}, tau),
        *parts,
    )
    return f"{drawn}\n"
