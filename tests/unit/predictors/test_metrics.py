"""Calibration on data whose uncertainty is known."""

from __future__ import annotations

import numpy as np
import pytest

from morphogen.core import ConfigError
from morphogen.predictors import coverage, miscalibration


def test_coverage_of_a_normal_is_what_it_promises():
    rng = np.random.default_rng(2)
    mean, deviation = rng.normal(size=20_000), rng.uniform(0.5, 2, 20_000)
    scores = rng.normal(mean, deviation)
    for level in (0.5, 0.9):
        assert coverage(scores, mean, deviation, level) == pytest.approx(level, abs=0.015)
    assert coverage(scores, mean, deviation / 2, 0.9) == pytest.approx(0.589, abs=0.015)
    with pytest.raises(ConfigError, match="accepted: between 0 and 1"):
        coverage(scores, mean, deviation, 1.0)


def test_miscalibration_is_0_when_honest_and_half_when_it_never_covers_or_always():
    rng = np.random.default_rng(3)
    mean, deviation = rng.normal(size=20_000), np.ones(20_000)
    assert miscalibration(rng.normal(mean, deviation), mean, deviation) < 0.01
    assert miscalibration(mean + 1, mean, 0 * deviation) == pytest.approx(0.5, abs=0.01)
    assert miscalibration(mean, mean, deviation) == pytest.approx(0.5, abs=0.01)


def test_lengths_must_agree():
    with pytest.raises(ConfigError, match="accepted: 3, one a score"):
        coverage(np.arange(3.0), np.arange(4.0), np.ones(3), 0.5)
