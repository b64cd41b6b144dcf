"""From predictions to what is evaluated next; everything higher is better."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

SHRINK = 5.0
"""WeakNAS and BANANAS divide the deviation by it in their expected improvement."""

DECAY = 0.96
"""Of the pool's schedule, per hundredth of it."""


def expected_improvement(
    mean: Values, deviation: Values, best: float, *, shrink: float = SHRINK
) -> Values:
    """E[max(f - best, 0)] for f normal around `mean` with `deviation / shrink`; [n].

    With s the shrunk deviation and g = (mean - best) / s it is s (g Phi(g) + phi(g)); without any
    deviation it is max(mean - best, 0).

    Args:
        mean: [n] predicted.
        deviation: [n] of the ensemble.
        best: highest score so far, on the same scale.
        shrink: by what the deviation is divided (authors' code: 5).
    """
    from scipy.special import ndtr

    s = np.asarray(deviation, np.float64) / shrink
    gap = np.asarray(mean, np.float64) - best
    g = np.divide(gap, s, out=np.zeros_like(gap), where=s > 0)
    density = np.exp(-0.5 * g**2) / np.sqrt(2 * np.pi)
    return np.where(s > 0, s * (g * ndtr(g) + density), np.maximum(gap, 0.0))


def thompson(mean: Values, deviation: Values, rng: np.random.Generator) -> Values:
    """Independent Thompson sampling: one normal draw for each candidate; [n]."""
    return np.asarray(rng.normal(mean, deviation))


def pool_size(start: int, end: int, rounds: int, fits: int) -> int:
    """N after so many fits: WeakNAS' schedule from `start` to `end`, exponential, cut to integers.

    Over `rounds` fits 0.96^x with x from 0 to 99, stretched so that both ends are met; constant
    thereafter.
    """
    if rounds == 1 or fits >= rounds - 1:
        return end
    last = DECAY**99
    level = (DECAY ** (99 * fits / (rounds - 1)) - last) / (1 - last)
    return int(end + (start - end) * level)
