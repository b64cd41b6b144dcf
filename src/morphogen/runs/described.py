"""What reports and the command line know of a run's task: what config.yaml says of it. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OBJECT = "(an object passed from Python)"
TASK = "(a task passed from Python)"
PASSED = (OBJECT, TASK)
"""What stands in config.yaml for data that no name leads back to."""

TITLES = {"test": "Test", "held_out": "Held-out"}
"""Parts on which a training is measured, the one that counts most first, and what they go by."""

SEARCHED = {
    "train": "train part", "valid": "search-validation part", "pool": "both parts together"
}  # fmt: skip
"""Parts of which a search draws examples, and how each is called."""

SPELT = {"miou": "mIoU"}
"""Metrics that texts write in another way than fields are named."""


def spelt(metric: str) -> str:
    """The name of a metric within a text: `token_accuracy` as `token accuracy`."""
    return SPELT.get(metric, metric.replace("_", " "))


def title(text: str) -> str:
    """The beginning of a heading or a sentence: `accuracy` as `Accuracy`, `F1` and `mIoU` as is."""
    return text if text in SPELT.values() else text[:1].upper() + text[1:]


def a(word: str) -> str:
    """With its article: `an image`, `a signal`."""
    return f"{'an' if word[:1] in 'aeiou' else 'a'} {word}"


@dataclass(frozen=True)
class Described:
    """The task of a run in words, see `Task.describe`."""

    metric: str
    """Name of the metric, of which entries of metrics.jsonl and result.json are named."""
    unit: str
    """Of the metric; empty for a bare number."""
    higher_is_better: bool
    examples: str
    """What they are called: images, signals, examples."""
    classes: tuple[str, ...] = ()
    """Names; empty for a task without classes."""
    gathered: str = ""
    """What is gathered with the network in training: frames; empty where examples are fixed."""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Described:
        """From the content of config.yaml.

        Args:
            config: of a run; of one that says nothing of its task, that it classifies images.
        """
        task = config.get("task")
        if not isinstance(task, Mapping):
            return cls("accuracy", "%", True, "images")
        metric = task["metric"]
        return cls(
            str(metric["name"]),
            str(metric["unit"]),
            bool(metric["higher_is_better"]),
            str(task["examples"]),
            tuple(map(str, task.get("classes") or ())),
            str(task.get("gathered") or ""),
        )

    @property
    def sign(self) -> int:
        """What the metric is multiplied by so that more is better, as scores are."""
        return 1 if self.higher_is_better else -1

    @property
    def spelt(self) -> str:
        """The metric within a text."""
        return spelt(self.metric)

    @property
    def label(self) -> str:
        """Of an axis or a column: `accuracy, %`."""
        return f"{self.spelt}, {self.unit}" if self.unit else self.spelt

    @property
    def drawn(self) -> str:
        """What batches are made of."""
        return self.gathered or self.examples

    def drawn_of(self, numbers: Mapping[str, Any]) -> dict[str, int]:
        """How many a search has drawn of which part, by the names of `SEARCHED`.

        A part of which none was drawn is left out where that does not surprise: where all came from
        both together, or are gathered.

        Args:
            numbers: by part.
        """
        held = {part: numbers[part] for part in SEARCHED if isinstance(numbers.get(part), int)}
        expected = "pool" in held or bool(self.gathered)
        return {part: number for part, number in held.items() if number or not expected}

    @property
    def one(self) -> str:
        """An example in a word."""
        return self.examples.removesuffix("s")

    def number(self, value: float) -> str:
        """The metric as text without its unit: percents to two places, others to four digits."""
        return f"{value:.2f}" if self.unit == "%" else f"{value:.4g}"

    def signed(self, value: float) -> str:
        """A difference of two values, with its sign."""
        return f"{'+' if value >= 0 else '-'}{self.number(abs(value))}"

    def value(self, value: float) -> str:
        """The metric as text with its unit."""
        return f"{self.number(value)} {self.unit}".rstrip()

    def reached(self, result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        """What a trained network of a finished run reached, by part: `test`, `held_out`.

        Those there are: of a search that delivers no network none.
        """
        found = {part: result.get(f"{part}_{self.metric}") for part in TITLES}
        return {part: held for part, held in found.items() if isinstance(held, Mapping)}

    @staticmethod
    def figures(result: Mapping[str, Any]) -> list[tuple[str, Described, Mapping[str, Any], str]]:
        """What trained networks reached beside the metric.

        Returns:
            Of each figure the part, how it is written, what was reached, and how it was computed.
        """
        return [
            (
                str(one["part"]),
                Described(one["name"], one["unit"], one["higher_is_better"], ""),
                one["reached"],
                str(one["how"]),
            )
            for one in result.get("figures") or ()
        ]

    def covers(self, held: Mapping[str, Any]) -> str:
        """What the interval of a figure is over: `over 3 seeds`, or the examples of one network.

        Args:
            held: what a run reached on a part; one that has an interval.
        """
        if held.get("examples"):
            return f"for {held['examples']:,} test {self.examples}, one seed"
        return f"over {held['n']} seeds"

    def gap(self, row: Mapping[str, Any]) -> float | None:
        """By how much the supernet is better than its discretised network, its norms recalibrated.

        Args:
            row: a line of metrics; None if it has not both figures.
        """
        supernet, alone = (row.get(f"{n}_{self.metric}") for n in ("supernet", "recalibrated"))
        if not isinstance(supernet, int | float) or not isinstance(alone, int | float):
            return None
        gap = self.sign * (supernet - alone)
        return gap if math.isfinite(gap) else None

    def best(self, values: list[float]) -> int:
        """The place of the best value."""
        return max(range(len(values)), key=lambda i: self.sign * values[i])
