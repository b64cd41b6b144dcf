"""What longer trainings of one architecture are worth, by shorter ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LearningCurve:
    """Scores by length of training: the distance to the best score falls as a power of the steps.

    The power is that of the shortest and the longest training.
    """

    lengths: Sequence[tuple[float, float]]
    """Steps and score of each training, from short to long."""
    best: float
    """The score that a perfect network has; infinite: not known, and nothing is claimed."""

    def error(self, steps: float) -> float:
        """How far from the best score a training of some length ends, in units of score.

        0 where nothing is known, and that of the longest training where no longer ones are better.
        """
        if len(self.lengths) < 2 or not math.isfinite(self.best) or steps <= 0:
            return 0.0
        (n1, s1), (n2, s2) = self.lengths[0], self.lengths[-1]
        e1, e2 = self.best - s1, self.best - s2
        if n2 <= n1 or e1 <= e2 or e2 <= 0:
            return max(e2, 0.0)
        return float(e2 * (n2 / steps) ** (math.log(e1 / e2) / math.log(n2 / n1)))

    def doubling(self, steps: float) -> float:
        """What twice the steps are worth, at a length."""
        return self.error(steps) - self.error(2 * steps)
