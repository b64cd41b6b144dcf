"""Axes: from values to places, round ticks, and numbers rounded so that they can be read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

WIDTH, HEIGHT = 460.0, 290.0
"""Of a chart, in its own units; it is scaled to the column it stands in."""

LEFT, RIGHT, TOP, BOTTOM = 54.0, 14.0, 30.0, 44.0
"""Margins around the axes."""


@dataclass(frozen=True)
class Axis:
    """One direction of a chart."""

    low: float
    high: float
    start: float
    """Place of `low`."""
    end: float
    """Place of `high`."""
    label: str
    whole: bool = False
    """Only whole numbers are ticks: epochs, counts."""

    def at(self, value: float) -> float:
        """The place of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values from low to high, at most `most`."""
        step = _step((self.high - self.low) / most)
        if self.whole:
            step = max(1.0, math.ceil(step))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) for i in range(first, last + 1)]


def horizontal(values: Iterable[float], label: str, *, whole: bool = False) -> Axis:
    """The axis below a chart."""
    low, high = _range(values, 0.0 if whole else 0.03)
    return Axis(low, high, LEFT, WIDTH - RIGHT, label, whole)


def vertical(
    values: Iterable[float],
    label: str,
    *,
    whole: bool = False,
    zero: bool = False,
    share: bool = False,
) -> Axis:
    """The axis left of a chart, upwards.

    Args:
        values: what is drawn.
        label: its name.
        whole: only whole numbers are ticks.
        zero: it begins at zero and goes to one at least.
        share: the values are from 0 to 1, and so is the axis: a small change looks small.
    """
    known = list(values)
    low, high = _range(known, 0.06)
    if zero:
        low, high = 0.0, max(high, 1.0)
    if share:
        low, high = min(0.0, *known), max(1.0, *known)
    return Axis(low, high, HEIGHT - BOTTOM, TOP, label, whole)


def number(value: float) -> str:
    """Four significant digits, thousands with commas, millions as `1.2 M`."""
    if abs(value) >= 1e9:
        return f"{value / 1e9:.4g} G"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.4g} M"
    if value == int(value) or abs(value) >= 1e4:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _range(values: Iterable[float], margin: float) -> tuple[float, float]:
    known = list(values)
    low, high = min(known), max(known)
    if low == high:
        half = abs(low) * 0.1 or 1.0
        return low - half, high + half
    return low - margin * (high - low), high + margin * (high - low)


def _step(rough: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(k * power for k in (1, 2, 5, 10) if k * power >= rough * (1 - 1e-9))
