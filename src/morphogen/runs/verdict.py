"""Whether what was found is better than something else: one sentence, and no more than it holds."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from morphogen.core.records import Natural, Record, Text
from morphogen.core.statistics import Contrast

Outcome = Literal["better", "worse", "open"]

ITSELF = Contrast(0.0, None, None, 0)
"""Of an architecture that is compared with itself, and not trained twice for it."""


class Verdict(Record):
    """A comparison over seeds, see `core.statistics.contrast`; part of result.json.

    Its interval speaks of other seeds: of other initial weights, orders and splits, on the same
    test examples.
    """

    against: Text
    """What it is compared with, in words: `the reference (ResNet)`, `a random architecture`."""
    metric: Text
    """Name of the metric."""
    unit: Text
    """Of the metric; empty for a bare number."""
    higher_is_better: bool
    difference: float
    """Mean of what was found, less that of the other."""
    low: float | None = None
    high: float | None = None
    """Its 95 % interval; None with one seed."""
    seeds: Natural
    """With which both were trained; 0: both are the same architecture, see `ITSELF`."""

    @model_validator(mode="after")
    def _ends(self) -> Self:
        known = self.low is not None and self.high is not None
        if (self.low is None) != (self.high is None) or known != (self.seeds > 1):
            raise ValueError("an interval from two seeds on, with both its ends")
        return self

    @classmethod
    def of(
        cls, found: Contrast, *, against: str, metric: str, unit: str, higher_is_better: bool
    ) -> Self:
        """From the contrast of what was found (its row a) with the other (its row b)."""
        return cls(
            against=against,
            metric=metric,
            unit=unit,
            higher_is_better=higher_is_better,
            **found._asdict(),
        )

    @property
    def gain(self) -> tuple[float, float, float] | None:
        """By how much the found one is better, and the interval of it; None with one seed."""
        if self.low is None or self.high is None:
            return None
        if self.higher_is_better:
            return self.difference, self.low, self.high
        return -self.difference, -self.high, -self.low

    @property
    def outcome(self) -> Outcome:
        """`better` or `worse` where the interval is free of 0; else `open`.

        An interval without width is none: with few test examples several seeds may well differ by
        the very same number of them.
        """
        if self.gain is None or self.gain[1] == self.gain[2]:
            return "open"
        return "better" if self.gain[1] > 0 else "worse" if self.gain[2] < 0 else "open"

    @property
    def sentence(self) -> str:
        """What may be said, without a full stop: `better than the reference (ResNet) by ...`."""
        if not self.seeds:
            return f"it is {self.against} itself"
        difference = self.difference if self.higher_is_better else -self.difference
        low, high = self.gain[1:] if self.gain else (difference, difference)
        sizes = [abs(x) for x in (difference, low, high)]
        mean, ends = self._amount(sizes[0], sizes), ""
        if self.gain:
            # Of what is worse the amount is told without its sign, and so are the ends.
            least, most = (-high, -low) if self.outcome == "worse" else (low, high)
            ends = f"{self._number(least, sizes)} to {self._number(most, sizes)}"
            ends = f"95 % interval {ends}, {self.seeds} seeds"
        if self.outcome == "better":
            return f"better than {self.against} by {mean} ({ends})"
        if self.outcome == "worse":
            return f"{self.against} is better by {mean} ({ends})"
        side = "better" if difference > 0 else "worse" if difference < 0 else "of difference"
        told = f"{mean} {side}"
        if not self.gain:
            told += " with one seed, of which there is no interval"
        elif low == high:
            told += f" with each of {self.seeds} seeds, too alike for an interval"
        else:
            told += f" ({ends})"
        return f"not to be told from {self.against}: {told}"

    @property
    def short(self) -> str:
        """In a table: `better, +1.8 (0.6 to 3.0)`."""
        if not self.seeds:
            return "the same"
        difference = self.difference if self.higher_is_better else -self.difference
        ends = self.gain[1:] if self.gain else ()
        sizes = [abs(x) for x in (difference, *ends)]
        told = f"{self.outcome}, {'+' if difference >= 0 else ''}{self._number(difference, sizes)}"
        return f"{told} ({' to '.join(self._number(x, sizes) for x in ends) or 'one seed'})"

    def _amount(self, value: float, beside: list[float]) -> str:
        unit = "points" if self.unit == "%" else self.unit
        return f"{self._number(value, beside)} {unit}".rstrip()

    def _number(self, value: float, beside: list[float]) -> str:
        """Percents to one place, or to as many as keep every number beside it apart from 0."""
        if self.unit != "%":
            return f"{value + 0.0:.3g}"
        known = [x for x in beside if x]
        places = next((n for n in range(1, 6) if all(x >= 0.5 * 10**-n for x in known)), 6)
        return f"{value + 0.0:.{places}f}"
