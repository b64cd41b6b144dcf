"""Curves with bands on two logarithmic axes, as one SVG file that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from morphogen.reports.html import escaped

WIDTH, HEIGHT = 760, 460
LEFT, TOP, RIGHT, BOTTOM = 70, 50, 190, 55
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#6a3d9a", "#7f7f7f")
"""Told apart also by those who see few colours (after Okabe and Ito)."""
DASHES = ("", "7 3", "2 3", "9 3 2 3")
STYLE = """
svg { background: #fff; color: #1c1c1c; font: 13px system-ui, sans-serif; }
.grid { stroke: currentColor; stroke-opacity: .14; } .axis { stroke: currentColor; }
text { fill: currentColor; }
@media (prefers-color-scheme: dark) { svg { background: #16181c; color: #e8e8e8; } }
"""


NAME = 14.0
"""Height of a name at the end of its curve."""


@dataclass(frozen=True)
class Band:
    """One curve with its interval, of one length; without `low` and `high` it has none."""

    name: str
    x: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True)
class _Log:
    """A logarithmic axis from one place on the page to another."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        steps = (1, 2, 5) if len(decades) <= 4 else (1,)
        found = [s * 10.0**d for d in decades for s in steps]
        return [t for t in found if self.low <= t * (1 + 1e-9) and t <= self.high * (1 + 1e-9)]


def svg(title: str, x_label: str, y_label: str, bands: Sequence[Band]) -> str:
    """The drawing, each curve with its name at its end.

    A curve that reaches zero leaves the page at the bottom.
    """
    positive = [v for band in bands for v in band.mean if v > 0]
    low, high = min(positive, default=0.1), max(positive, default=1.0)
    least = min(value for band in bands for value in band.x)
    most = max(value for band in bands for value in band.x)
    x = _Log(least, max(most, 2 * least), LEFT, WIDTH - RIGHT)
    y = _Log(low / 1.3, max(high, low * 2) * 1.3, HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-labelledby="t"><title id="t">{escaped(title)}</title><style>{STYLE}</style>',
        _text(LEFT, 28, title, {"font-size": "15", "font-weight": "600"}),
        *(_column(x.at(t), t) for t in x.ticks()),
        *(_row(y.at(t), t) for t in y.ticks()),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_label, {"text-anchor": "middle"}),
        f'<g transform="translate(18 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)">'
        + _text(0, 0, y_label, {"text-anchor": "middle"})
        + "</g>",
        f'<clipPath id="c"><rect x="{LEFT}" y="{TOP}" width="{WIDTH - RIGHT - LEFT}" '
        f'height="{HEIGHT - BOTTOM - TOP}"/></clipPath><g clip-path="url(#c)">',
        *(_band(band, i, x, y) for i, band in enumerate(bands)),
        "</g>",
        *_names(bands, x, y),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _band(band: Band, index: int, x: _Log, y: _Log) -> str:
    colour, dash = COLOURS[index % len(COLOURS)], DASHES[index % len(DASHES)]

    def path(values: Sequence[float]) -> list[str]:
        # What is zero or below lies under the page.
        places = [HEIGHT if v <= 0 else y.at(v) for v in values]
        return [f"{x.at(a):.1f},{b:.1f}" for a, b in zip(band.x, places, strict=True)]

    area = " ".join([*path(band.low), *reversed(path(band.high))]) if band.low else ""
    return (f'<polygon points="{area}" fill="{colour}" fill-opacity=".15"/>' if area else "") + (
        f'<polyline points="{" ".join(path(band.mean))}" fill="none" stroke="{colour}" '
        f'stroke-width="2" stroke-dasharray="{dash}"/>'
    )


def _names(bands: Sequence[Band], x: _Log, y: _Log) -> list[str]:
    """The name of each curve beside its end, moved up or down where another is."""
    ends = [min(y.at(b.mean[-1]) if b.mean[-1] > 0 else y.start, y.start) for b in bands]
    order = sorted(range(len(bands)), key=lambda i: ends[i])
    places = spread([ends[i] for i in order], NAME, HEIGHT - NAME / 2)
    parts = []
    for i, place in zip(order, places, strict=True):
        band, colour = bands[i], COLOURS[i % len(COLOURS)]
        start, left = x.at(band.x[-1]), WIDTH - RIGHT + 20
        short = band.name if len(band.name) <= 20 else band.name[:19] + "…"
        parts.append(
            f'<path d="M{start:.1f} {ends[i]:.1f} L{WIDTH - RIGHT + 4} {ends[i]:.1f} L'
            f'{left - 3} {place:.1f}" fill="none" stroke="{colour}" stroke-opacity=".6"/>'
            f'<circle cx="{start:.1f}" cy="{ends[i]:.1f}" r="3" fill="{colour}"/>'
            + f"<g><title>{escaped(band.name)}</title>"
            + _text(left, place + 4, short, {"font-size": "12"})
            + "</g>"
        )
    return parts


def spread(places: Sequence[float], apart: float, most: float) -> list[float]:
    """Places in order, moved so that two are never nearer than `apart`, and none is beyond `most`.

    Groups of places that would overlap are centred on the mean of what they would have.
    """
    groups: list[list[float]] = []  # each: sum of the places less their offsets, and how many
    for place in places:
        groups.append([place, 1.0])
        while len(groups) > 1:
            (before, n), (last, m) = groups[-2:]
            if last / m - before / n >= (n + m) / 2 * apart:
                break
            groups[-2:] = [[before + last, n + m]]
    out = [total / n + (i - (n - 1) / 2) * apart for total, n in groups for i in range(round(n))]
    over = max(0.0, out[-1] - most) if out else 0.0
    for i in range(len(out) - 1, -1, -1):
        limit = most - (len(out) - 1 - i) * apart
        out[i] = min(out[i], limit) if over else out[i]
    return out


def _column(at: float, value: float) -> str:
    return (
        f'<line class="grid" x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{HEIGHT - BOTTOM}"/>'
        + _text(at, HEIGHT - BOTTOM + 18, f"{value:,.0f}", {"text-anchor": "middle"})
    )


def _row(at: float, value: float) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}"/>'
        + _text(LEFT - 8, at + 4, f"{value:g}", {"text-anchor": "end"})
    )


def _text(x: float, y: float, text: str, attributes: Mapping[str, str]) -> str:
    more = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{escaped(text)}</text>'
