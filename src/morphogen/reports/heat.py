"""Architecture parameters over time: one small heat map per choice, options down, epochs across."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from morphogen.reports.charts import drawing
from morphogen.reports.html import Html, details, el, join, table

LEVELS = 12
"""Colours of the scale: the classes `q0` to `q11`."""

COLUMNS = 80
"""Epochs drawn at most; of a longer search every second, third, ... and the last."""

LIGHT = ((246, 244, 236), (120, 170, 200), (12, 52, 96))
"""The scale on white, from low to high: sand, blue, dark blue."""

DARK = ((34, 37, 42), (46, 110, 140), (190, 235, 225))
"""The scale on black, from low to high."""

PANEL, LABELS, ROW, HEAD, FOOT = 300.0, 104.0, 17.0, 22.0, 18.0

Matrix = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Panel:
    """The gates of one choice over time."""

    title: str
    options: Sequence[str]
    kept: Sequence[str]
    """Options of the architecture found."""
    gates: Matrix
    """[epochs][options]."""
    alphas: Matrix | None
    """The architecture parameters behind them, where the method has such."""


def heat_maps(panels: Sequence[Panel], epochs: Sequence[int]) -> Html:
    """The panels of one group on a common scale, its legend, and the table of the last epoch."""
    stride = -(-len(epochs) // COLUMNS)
    chosen = sorted({*range(len(epochs) - 1, -1, -stride)})
    values = [v for p in panels for row in p.gates for v in row]
    # From 0 to 1, or a hundredth more than the others would look like a decision.
    low, high = min(0.0, *values), max(1.0, *values)
    drawn = [_panel(p, [epochs[i] for i in chosen], chosen, low, high) for p in panels]
    note = f" One epoch in {stride} is drawn, and the last." if stride > 1 else ""
    rows = [
        [
            f"{p.title}: {option}" + (" (kept)" if option in p.kept else ""),
            f"{p.gates[0][i]:.4f}",
            f"{p.gates[-1][i]:.4f}",
            f"{p.alphas[-1][i]:.4f}" if p.alphas else "",
        ]
        for p in panels
        for i, option in enumerate(p.options)
    ]
    head = ["option", f"gate, epoch {epochs[0]}", f"gate, epoch {epochs[-1]}", "its alpha"]
    return join(
        [
            _scale(low, high, note),
            el("div", {"class": "panels"}, *drawn),
            details("Values of the first and the last epoch", table("Gates", head, rows)),
        ]
    )


def colours() -> dict[str, list[str]]:
    """`light` and `dark`: the colours of the levels."""
    return {name: [_mix(stops, i / (LEVELS - 1)) for i in range(LEVELS)] for name, stops in _ENDS}


_ENDS: tuple[tuple[str, Sequence[tuple[int, int, int]]], ...] = (("light", LIGHT), ("dark", DARK))


def _mix(stops: Sequence[tuple[int, int, int]], share: float) -> str:
    place = share * (len(stops) - 1)
    i = min(int(place), len(stops) - 2)
    mixed = (round(a + (b - a) * (place - i)) for a, b in zip(stops[i], stops[i + 1], strict=True))
    return "#" + "".join(f"{c:02x}" for c in mixed)


def _panel(
    panel: Panel, epochs: Sequence[int], chosen: Sequence[int], low: float, high: float
) -> Html:
    """One choice: a grid of colours, drawn as one path per level."""
    across = (PANEL - LABELS) / len(epochs)
    height = HEAD + ROW * len(panel.options) + FOOT
    paths: dict[int, list[str]] = {}
    for column, i in enumerate(chosen):
        for row in range(len(panel.options)):
            level = _level(panel.gates[i][row], low, high)
            # A little over its width, so that no seam is seen between neighbours.
            cell = f"M{LABELS + column * across:.1f} {HEAD + row * ROW:g}h{across + 0.2:.2f}v16H"
            paths.setdefault(level, []).append(f"{cell}{LABELS + column * across:.1f}z")
    parts = [el("text", {"x": 0, "y": 14, "class": "panel"}, panel.title)]
    for row, option in enumerate(panel.options):
        kept = option in panel.kept
        at = {"x": LABELS - 6, "y": HEAD + ROW * row + 12, "class": "end kept" if kept else "end"}
        parts.append(el("text", at, ("▸ " if kept else "") + option))
    for level, cells in sorted(paths.items()):
        parts.append(el("path", {"class": f"q{level}", "d": "".join(cells)}))
    below = height - 4
    parts.append(el("text", {"x": LABELS, "y": below}, f"epoch {epochs[0]}"))
    if len(epochs) > 1:
        parts.append(el("text", {"x": PANEL, "y": below, "class": "end"}, f"{epochs[-1]}"))
    last = panel.gates[-1]
    said = ", ".join(f"{o} {g:.2f}" for o, g in zip(panel.options, last, strict=False))
    hover = {
        "mode": "grid",
        "box": [LABELS, HEAD, PANEL - LABELS, ROW * len(panel.options)],
        "rows": list(panel.options),
        "cols": [f"epoch {e}" for e in epochs],
        "gate": [[round(g, 4) for g in panel.gates[i]] for i in chosen],
        "alpha": [[round(a, 3) for a in panel.alphas[i]] for i in chosen] if panel.alphas else None,
    }
    text = f"Heat map of {panel.title}; gates in the last epoch: {said}."
    return drawing(text, parts, hover, size=(PANEL, height), look="small")


def _level(value: float, low: float, high: float) -> int:
    return min(int((value - low) / (high - low) * LEVELS), LEVELS - 1) if high > low else 0


def _scale(low: float, high: float, note: str) -> Html:
    """The colours, with what the lowest and the highest stand for."""
    boxes = [
        el("rect", {"class": f"q{i}", "x": i * 12, "y": 0, "width": 12.5, "height": 12})
        for i in range(LEVELS)
    ]
    shape = {"viewBox": "0 0 144.5 12", "width": 144, "height": 12, "aria-hidden": "true"}
    return el(
        "p",
        {"class": "scale"},
        f"gate {low:.4g} ",
        el("svg", shape, *boxes),
        f" {high:.4g}. ▸ marks what the architecture keeps.{note}",
    )


def matrices(rows: Sequence[Mapping[str, object]], key: str, group: str) -> list[Matrix]:
    """The matrix [choices][options] of a group in each line of metrics, as far as it is one."""
    found: list[Matrix] = []
    for row in rows:
        groups = row.get(key)
        matrix = groups.get(group) if isinstance(groups, dict) else None
        if not isinstance(matrix, list) or not all(isinstance(r, list) for r in matrix):
            return []
        found.append(matrix)
    shapes = {tuple(len(r) for r in m) for m in found}
    return found if len(shapes) == 1 else []
