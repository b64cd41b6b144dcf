"""By what architectures are judged, and the sums from which it is computed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

from torch import Tensor

from morphogen.core.errors import ConfigError

Sums = dict[str, Tensor]
"""Sums over examples, float64: those of batches, and of processes, add up."""


def added(one: Sums, other: Sums) -> Sums:
    """The sums of both; an empty one adds nothing."""
    return {key: one[key] + value for key, value in other.items()} if one else other


@dataclass(frozen=True)
class Figure:
    """What a finished network reaches beside the metric, by more than its outputs for batches."""

    name: str
    """As it is recorded and reported: `BLEU`."""
    value: float
    unit: str = ""
    """`%`; empty for a bare number."""
    higher_is_better: bool = True
    how: str = ""
    """How it was computed, in words or as a signature."""
    bounds: tuple[float, float] = (-inf, inf)
    """The least and the largest value it can have."""


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,40}")

RESERVED = frozenset(
    (
        *("score", "params", "flops", "latency", "memory", "architecture", "candidate", "failed"),
        *("epoch", "phase", "ended_early", "examples", "gates", "alpha", "seed", "seed_epoch"),
        *("seconds", "cpu_seconds", "attempts", "budget", "lr", "openings", "remarks"),
    )
)
"""Entries of metrics.jsonl and result.json, and costs: names that no metric can have."""

Compare = Callable[[Any, Any], Tensor]
"""From a network's output and the targets to one number, the mean, or to one for each example."""


@dataclass(frozen=True)
class Metric:
    """By what architectures are judged."""

    name: str
    """As it is recorded and reported: `accuracy`, `mae`."""
    unit: str = ""
    """`%`, `m/s`; empty for a bare number."""
    higher_is_better: bool = True
    of: Compare | None = None
    """How it is computed from a network's output and the targets: a mean over the batch, or a
    number for each example. None: a task's class computes it (`counts` and `value`)."""
    bounds: tuple[float, float] = (-inf, inf)
    """The least and the largest value it can have, beyond which no interval reaches."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"name of a metric is {str(self.name)[:80]!r}; accepted: letters, digits, _, - and "
                "., a letter first, as in mae or top-5"
            )
        if self.name in RESERVED:
            raise ConfigError(
                f"name of a metric is {self.name!r}, which is on record for something else; "
                "accepted: another name"
            )

    def score(self, value: float) -> float:
        """The value as a score, of which more is better; and the score as a value."""
        return value if self.higher_is_better else -value

    def describe(self) -> dict[str, Any]:
        """For the record of a run."""
        return {
            "name": self.name,
            "unit": self.unit,
            "higher_is_better": self.higher_is_better,
        }
