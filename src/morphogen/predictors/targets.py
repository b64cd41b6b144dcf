"""What a predictor is fitted to: scores of mean 0 and standard deviation 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from morphogen.core import ConfigError

Values = NDArray[np.float64]


def finite(scores: Values) -> Values:
    """`scores` [n] with the worst finite one in place of failed evaluations (-inf); 0 if none is.

    A failed evaluation says that the architecture is bad, and not how bad.
    """
    scores = np.asarray(scores, np.float64)
    good = np.isfinite(scores)
    worst = scores[good].min() if good.any() else 0.0
    return np.where(good, scores, worst)


@dataclass(frozen=True)
class Standard:
    """The affine map that takes `mean` to 0 and `deviation` to a distance of 1."""

    mean: float
    deviation: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean) and np.isfinite(self.deviation) and self.deviation > 0):
            raise ConfigError(
                f"targets have mean {self.mean} and deviation {self.deviation}; accepted: finite "
                "numbers, the deviation above 0"
            )

    @classmethod
    def of(cls, scores: Values) -> Standard:
        """Of the scores [n] themselves; where all are equal they are only shifted."""
        spread = float(np.std(scores))
        return cls(float(np.mean(scores)), spread if spread > 0 else 1.0)

    def __call__(self, scores: Values) -> Values:
        """Standardised scores."""
        return np.asarray((np.asarray(scores, np.float64) - self.mean) / self.deviation)

    def undo(self, values: Values) -> Values:
        """Scores of standardised values."""
        return np.asarray(np.asarray(values, np.float64) * self.deviation + self.mean)
