"""What a classifier says of its inputs: a class, and probabilities of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from morphogen.core.names import shown
from morphogen.tasks.inputs import Prepared

WIDEST = 30
"""Letters of a class up to which columns are aligned."""


@dataclass(frozen=True)
class Prediction:
    """What a network says of one input."""

    label: str
    """The class of the highest probability."""
    probability: float
    """Its probability by the network's own account, which may be too sure of itself."""
    probabilities: dict[str, float]
    """Of every class, in the order of classes."""

    def line(self, top: int) -> str:
        """The likeliest classes, as wide as the longest name so that columns stand."""
        return ranked(self.probabilities, top)

    def plain(self) -> dict[str, Any]:
        """Label and probabilities."""
        return asdict(self)

    def file(self) -> None:
        """A class is no file."""


def ranked(shares: dict[str, float], top: int) -> str:
    """The classes of the largest shares in percent, in columns."""
    wide = min(max(len(shown(name)) for name in shares), WIDEST)
    first = sorted(shares.items(), key=lambda item: -item[1])[:top]
    return "  ".join(f"{shown(name):<{wide}} {100 * p:5.1f} %" for name, p in first)


class Classified:
    """The part of `tasks.inputs.Inputs` that is of outputs: a row of scores for each input."""

    what, labelled, answer = "classifier", "", "label"

    def outputs(self, signature: Prepared) -> tuple[int, ...]:
        """A score for each class."""
        return (len(signature.classes),)

    def answers(
        self, scores: Tensor, items: Sequence[Any], signature: Prepared
    ) -> list[Prediction]:
        """Class and probabilities of each input, of scores `[n, classes]`."""
        found = []
        for row in scores.double().softmax(1).tolist():
            best = max(range(len(row)), key=row.__getitem__)
            each = dict(zip(signature.classes, row, strict=True))
            found.append(Prediction(signature.classes[best], row[best], each))
        return found
