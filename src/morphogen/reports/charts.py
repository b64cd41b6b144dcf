"""Charts as SVG with a table behind each: lines, and a cloud of points with some of them marked.

Drawn here rather than by a plotting library: a page with plotly.js in it weighs five megabytes
before the first number, its figures are blank where scripts are off, keep their colours when the
page turns dark, and say nothing to a screen reader. Values appear at the pointer and at the arrow
keys by `assets/report.js`, which reads them from the attribute `data-hover`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from morphogen.reports.html import Child, Html, as_json, details, el, join, table
from morphogen.reports.scale import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, Axis, number

Point = tuple[float, float]

FEW = 500
"""Points of a cloud that are so few that each is drawn larger."""


@dataclass(frozen=True)
class Series:
    """One line, or one set of dots."""

    name: str
    points: Sequence[Point]
    style: int = 0
    """Colour and dash, 0 to 7; the classes `s0` to `s7` of report.css."""
    dots: bool = False
    """Points without a line between them."""
    band: Sequence[tuple[float, float, float]] = ()
    """(x, low, high) of an interval around the line."""


@dataclass(frozen=True)
class Mark:
    """One point that stands out in a cloud."""

    x: float
    y: float
    text: str
    style: int = 0


def figure(
    title: str,
    caption: Child,
    *body: Child,
    level: int = 3,
    wide: bool = False,
) -> Html:
    """A figure with its heading, what it shows, and the drawing."""
    return el(
        "figure",
        {"class": "wide" if wide else None},
        el("figcaption", {}, el(f"h{level}", {}, title), el("p", {}, caption)),
        *body,
    )


def lines(
    title: str,
    caption: Child,
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    *,
    level: int = 3,
    names: Sequence[tuple[str, int]] = (),
    starts: Sequence[tuple[float, str]] = (),
) -> Html:
    """A chart of lines over a common x, with legend, values at the pointer, and a table.

    Args:
        title: heading of the figure.
        caption: what is measured, on which data.
        series: what is drawn; those without points are left out.
        x: axis below, e.g. epochs.
        y: axis on the left.
        level: of the heading.
        names: legend, if not each series has a line in it: name and style.
        starts: where a part of x begins, and its name: phases of a search.
    """
    series = [s for s in series if s.points]
    parts = [_start(x, at, name) for at, name in starts if x.low < at <= x.high]
    drawn = [
        _frame(x, y),
        *parts,
        *(_band(s, x, y) for s in series if s.band),
        *(_dots(s, x, y) if s.dots else _line(s, x, y) for s in series),
    ]
    at = sorted({px for s in series for px, _ in s.points})
    known = [dict(s.points) for s in series]
    stops = [
        {
            "x": round(x.at(px), 1),
            "y": [
                [round(y.at(values[px]), 1), s.style]
                for s, values in zip(series, known, strict=True)
                if px in values
            ],
            "t": [
                f"{x.label} {number(px)}",
                *(
                    f"{s.name}: {number(values[px])}"
                    for s, values in zip(series, known, strict=True)
                    if px in values
                ),
            ],
        }
        for px in at
    ]
    shown = [(*n, False) for n in names] or [(s.name, s.style, s.dots) for s in series]
    said = "; ".join(
        f"{s.name} from {number(s.points[0][1])} to {number(s.points[-1][1])}" for s in series
    )
    said += "".join(f"; {name} from {x.label} {number(at)}" for at, name in starts)
    rows = [
        [number(px), *(number(values[px]) if px in values else "" for values in known)] for px in at
    ]
    return figure(
        title,
        caption,
        legend(shown) if len(shown) > 1 else None,
        drawing(f"{title}, {y.label} by {x.label}: {said}.", drawn, {"mode": "x", "stops": stops}),
        details("Values", table(title, [x.label, *(s.name for s in series)], rows)),
        level=level,
    )


def cloud(
    title: str,
    caption: Child,
    points: Sequence[Point],
    marks: Sequence[Mark],
    x: Axis,
    y: Axis,
    *,
    names: Sequence[tuple[str, int]],
    joined: bool = False,
    level: int = 3,
) -> Html:
    """Many points as a cloud, some of them marked on top of it.

    Args:
        title: heading of the figure.
        caption: what is measured, on which data.
        points: the cloud.
        marks: what stands out, in order.
        x: axis below.
        y: axis on the left.
        names: legend: name and style of the marks.
        joined: a line leads from mark to mark.
        level: of the heading.
    """
    drawn = cloud_parts(points, marks, x, y, joined=joined)
    hover = {
        "mode": "xy",
        "stops": [
            {
                "x": round(x.at(m.x), 1),
                "y": [[round(y.at(m.y), 1), m.style]],
                "t": [m.text, f"{x.label}: {number(m.x)}", f"{y.label}: {number(m.y)}"],
            }
            for m in marks
        ],
        "cloud": {
            "x": [x.low, x.high, x.start, x.end, x.label],
            "y": [y.low, y.high, y.start, y.end, y.label],
        },
    }
    said = f"{title}: {len(points):,} points of {y.label} against {x.label}; marked: " + "; ".join(
        f"{m.text} at {number(m.x)}, {number(m.y)}" for m in marks[-4:]
    )
    rows = [[m.text, number(m.x), number(m.y)] for m in marks]
    return figure(
        title,
        caption,
        legend([(name, style, True) for name, style in names]),
        drawing(said + ".", drawn, hover),
        details("Values of the marked points", table(title, ["point", x.label, y.label], rows)),
        level=level,
    )


def cloud_parts(
    points: Sequence[Point], marks: Sequence[Mark], x: Axis, y: Axis, *, joined: bool = False
) -> list[Child]:
    """What is drawn of a cloud: axes, points, marks; see `cloud`."""
    # Half a unit is what can be told apart: equal places are drawn once.
    places = sorted({(round(2 * x.at(a)) / 2, round(2 * y.at(b)) / 2) for a, b in points})
    dots = "".join(f"M{a:g} {b:g}h0" for a, b in places)
    trail = " ".join(f"{x.at(m.x):.1f},{y.at(m.y):.1f}" for m in marks)
    return [
        _frame(x, y),
        el("path", {"class": "cloud few" if len(places) < FEW else "cloud", "d": dots}),
        el("polyline", {"class": "trail", "points": trail}) if joined else None,
        *(
            el(
                "circle",
                {
                    "class": f"mark s{m.style}",
                    "cx": x.at(m.x),
                    "cy": y.at(m.y),
                    "r": 6 if m is marks[-1] or not joined else 3.5,
                },
            )
            for m in marks
        ),
    ]


def drawing(
    said: str,
    children: Sequence[Child],
    hover: object = None,
    *,
    size: tuple[float, float] = (WIDTH, HEIGHT),
    look: str = "chart",
) -> Html:
    """An SVG that scales with its column, says what it shows, and answers pointer and keys."""
    keys = {"tabindex": 0, "data-hover": as_json(hover)} if hover else {}
    if hover:
        said += " Arrow keys read the values."
    box = f"0 0 {size[0]:g} {size[1]:g}"
    shape = {"class": look, "viewBox": box, "role": "img", "aria-label": said}
    return el("svg", {**shape, **keys}, *children)


def legend(entries: Sequence[tuple[str, int, bool]]) -> Html:
    """Names with a sample of the line, or of the dot."""
    items = []
    for name, style, dot in entries:
        sample = (
            el("circle", {"class": f"mark s{style}", "cx": 12, "cy": 6, "r": 4})
            if dot
            else el("line", {"class": f"line s{style}", "x1": 0, "y1": 6, "x2": 24, "y2": 6})
        )
        shape = {"viewBox": "0 0 24 12", "width": 24, "height": 12, "aria-hidden": "true"}
        items.append(el("li", {}, el("svg", shape, sample), name))
    return el("ul", {"class": "legend"}, *items)


def _frame(x: Axis, y: Axis) -> Html:
    """Grid lines, ticks and labels of both axes."""
    bottom, right = HEIGHT - BOTTOM, x.end
    parts = [
        el("line", {"class": "axis", "x1": LEFT, "y1": bottom, "x2": right, "y2": bottom}),
    ]
    for tick in y.ticks(6):
        at = y.at(tick)
        parts.append(el("line", {"class": "grid", "x1": LEFT, "y1": at, "x2": right, "y2": at}))
        parts.append(el("text", {"x": LEFT - 6, "y": at + 4, "class": "end"}, number(tick)))
    for tick in x.ticks(7):
        at = x.at(tick)
        notch = {"class": "axis", "x1": at, "y1": bottom, "x2": at, "y2": bottom + 4}
        parts.append(el("line", notch))
        parts.append(el("text", {"x": at, "y": bottom + 17, "class": "mid"}, number(tick)))
    parts.append(el("text", {"x": 0, "y": 13, "class": "name"}, y.label))
    below = {"x": (LEFT + right) / 2, "y": HEIGHT - 6, "class": "mid name"}
    parts.append(el("text", below, x.label))
    return join(parts)


def _start(x: Axis, value: float, name: str) -> Html:
    """Where a part of the x axis begins: a line and its name."""
    at = x.at(value)
    across = {"class": "start", "x1": at, "y1": TOP, "x2": at, "y2": HEIGHT - BOTTOM}
    name_at = {"class": "note", "x": at + 4, "y": TOP - 5}
    return join([el("line", across), el("text", name_at, name)])


def _line(series: Series, x: Axis, y: Axis) -> Html:
    places = [(x.at(a), y.at(b)) for a, b in series.points]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
    line = el("polyline", {"class": f"line s{series.style}", "points": path})
    if len(places) > 40:
        return line
    return join(
        [
            line,
            *(
                el("circle", {"class": f"dot s{series.style}", "cx": a, "cy": b, "r": 2.4})
                for a, b in places
            ),
        ]
    )


def _band(series: Series, x: Axis, y: Axis) -> Html:
    above = [(x.at(a), y.at(high)) for a, _, high in series.band]
    below = [(x.at(a), y.at(low)) for a, low, _ in series.band]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in [*above, *reversed(below)])
    return el("polygon", {"class": f"band s{series.style}", "points": path})


def _dots(series: Series, x: Axis, y: Axis) -> Html:
    path = "".join(f"M{x.at(a):.1f} {y.at(b):.1f}h0" for a, b in series.points)
    return el("path", {"class": f"dots s{series.style}", "d": path})
