"""Whether a predictor's uncertainty is honest; whether it orders is `core.ranking`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from morphogen.core import ConfigError

Values = NDArray[np.float64]


def coverage(scores: Values, mean: Values, deviation: Values, level: float) -> float:
    """Share of scores inside the central interval that a normal distribution gives `level`.

    Args:
        scores: [n].
        mean: [n] predicted.
        deviation: [n] predicted standard deviations; where 0, the interval is a point.
        level: probability of the interval, between 0 and 1.
    """
    from scipy.stats import norm

    _same_length(scores, mean)
    _same_length(scores, deviation)
    if not 0 < level < 1:
        raise ConfigError(f"level is {level}; accepted: between 0 and 1")
    half = norm.ppf((1 + level) / 2) * np.asarray(deviation)
    return float(np.mean(np.abs(np.asarray(scores) - mean) <= half))


def miscalibration(scores: Values, mean: Values, deviation: Values, levels: int = 99) -> float:
    """Area between observed and promised coverage over all levels: 0 is honest, 0.5 the worst.

    Kuleshov, Fenner, Ermon: Accurate Uncertainties for Deep Learning Using Calibrated Regression.
    ICML 2018, arXiv 1807.00263; here with central intervals. Trapezoidal rule on `levels` inner
    points, between the ends where both are known: nothing is in 0 %, everything in 100 %.
    """
    inner = np.arange(1, levels + 1) / (levels + 1)
    observed = [coverage(scores, mean, deviation, float(level)) for level in inner]
    gap = np.abs(np.array([0.0, *observed, 1.0]) - np.array([0.0, *inner, 1.0]))
    return float((gap[:-1] + gap[1:]).sum() / 2 / (levels + 1))


def _same_length(scores: Values, predicted: Values) -> None:
    if len(scores) != len(predicted):
        raise ConfigError(
            f"there are {len(predicted)} predictions; accepted: {len(scores)}, one a score"
        )
