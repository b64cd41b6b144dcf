"""Means with their uncertainty: no figure over seeds stands alone."""

from __future__ import annotations

import math
from collections.abc import Sequence


def interval(values: Sequence[float]) -> dict[str, float]:
    """Mean with its 95 % interval by Student's t; for one value the interval is left out.

    Returns:
        `mean`, `n` and, from two values on, `low` and `high`.
    """
    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return {"mean": mean, "n": count}
    from scipy.stats import t  # late: it takes a second to import

    variance = math.fsum((v - mean) ** 2 for v in values) / (count - 1)
    half = float(t.ppf(0.975, count - 1)) * math.sqrt(variance / count)
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": count}
