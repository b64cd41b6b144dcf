"""What the record of a search says of the trained network that it delivers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from morphogen.runs.described import Described
from morphogen.tasks import Sums, Task


@dataclass(frozen=True)
class Delivered:
    """A trained network in the run directory, and what it reaches."""

    weights: str
    """Name of its file in the run directory."""
    params: float
    macs: float
    test: Mapping[str, Any] = field(default_factory=dict)
    """What it reaches on the test part, see `reached`; empty without a test part."""
    openings: Sequence[str] = ()
    """Of the test part, with their reasons; those for a result that another replaced, too."""
    remarks: Sequence[str] = ()
    """Of how the test examples were read."""
    figures: Sequence[Mapping[str, Any]] = ()
    """What it reaches beside the metric, such as BLEU: entries of result.json; often none."""

    def entries(self, metric: str) -> dict[str, Any]:
        """Entries of result.json.

        Args:
            metric: name of the task's metric.
        """
        return {
            "seeds": 1,
            "weights": [self.weights],
            f"test_{metric}": dict(self.test) or None,
            "test_openings": list(self.openings),
            "test_remarks": list(self.remarks),
            **({"figures": list(self.figures)} if self.figures else {}),
        }

    @classmethod
    def of(cls, written: Mapping[str, Any], task: Described) -> Delivered | None:
        """Read back from result.json; None if the search delivered no network."""
        if not written.get("weights"):
            return None
        return cls(
            written["weights"][0],
            written["cost"]["params"],
            written["cost"]["macs"],
            task.reached(written).get("test", {}),
            tuple(written["test_openings"]),
            tuple(written["test_remarks"]),
            tuple(written.get("figures") or ()),
        )


def reached(task: Task, sums: Sums, examples: int) -> dict[str, Any]:
    """The metric of one network on the test part, with the interval that its examples allow.

    Args:
        task: which measured it.
        sums: of `Task.measure`.
        examples: on how many it was measured.
    """
    value, ends = task.value(sums), task.interval(sums)
    interval = {} if ends is None else {"low": ends[0], "high": ends[1]}
    return {
        "mean": value,
        **interval,
        "n": 1,
        "examples": examples,
        "values": [value],
    }
