"""How well a scorer orders architectures, as a page, and as a drawing by itself."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from morphogen.reports.charts import cloud_parts
from morphogen.reports.html import Html, el, join
from morphogen.reports.page import document
from morphogen.reports.ranking import Points, clouds, estimate, head, section
from morphogen.reports.scale import HEIGHT, WIDTH

TITLE = 24.0
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
    said = (
        f"{found['title']} against {found['truth']}: {found['n']:,} architectures, tau-b "
        f"{estimate(found['levels'][0]['tau'])}"
    )
    parts = [
        part for c in clouds(found, points)[:1] for part in cloud_parts(c.points, c.marks, c.x, c.y)
    ]
    names = [
        el(
            "text",
            {"x": WIDTH, "y": 13.0 + 15 * i, "class": f"end s{m.style} key"},
            f"\u25cf {m.text}",
        )
        for c in clouds(found, points)[:1]
        for i, m in enumerate(c.marks)
    ]
    style = (files("morphogen.reports") / "assets" / "report.css").read_text(encoding="utf-8")
    box = (0.0, -TITLE, WIDTH, HEIGHT + TITLE)
    paper = dict(zip(("x", "y", "width", "height"), box, strict=True))
    drawn = el(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "class": "chart",
            "viewBox": " ".join(f"{v:g}" for v in box),
            "role": "img",
        },
        el("title", {}, said),
        el("style", {}, Html(style + "svg text.key { fill: var(--c); }")),
        el("rect", {**paper, "fill": "var(--paper)"}),
        el("text", {"x": 0, "y": -8, "class": "panel"}, said),
        *parts,
        *names,
    )
    return f"{drawn}\n"
