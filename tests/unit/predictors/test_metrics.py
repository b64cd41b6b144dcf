"""Ranking metrics by their definitions; calibration on data whose uncertainty is known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from morphogen.core import ConfigError
from morphogen.predictors import coverage, kendall, miscalibration, precision_at, spearman


def test_kendall_counts_pairs():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 30))
    pairs = [np.sign((a[i] - a[j]) * (b[i] - b[j])) for i, j in combinations(range(30), 2)]
    assert kendall(a, b) == pytest.approx(np.mean(pairs))


def test_spearman_is_the_correlation_of_ranks():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 40))
    ranked = [np.argsort(np.argsort(v)) for v in (a, b)]
    assert spearman(a, b) == pytest.approx(np.corrcoef(*ranked)[0, 1])
    assert spearman(a, np.exp(a)) == pytest.approx(1)


def test_nothing_is_ordered_by_a_constant():
    assert kendall(np.arange(5.0), np.ones(5)) == 0
    assert spearman(np.ones(5), np.arange(5.0)) == 0


def test_precision_counts_hits_and_ties_for_the_last_place():
    scores = np.array([5.0, 4, 3, 3, 1])
    assert precision_at(scores, np.array([1.0, 9, 8, 7, 0]), 3) == 1  # 4, 3 and 3: both third
    assert precision_at(scores, np.array([0.0, 0, 0, 1, 2]), 2) == 0
    assert precision_at(scores, np.array([9.0, 0, 0, 1, 2]), 2) == 0.5
    with pytest.raises(ConfigError, match="accepted: 1 to 5"):
        precision_at(scores, scores, 6)


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
        kendall(np.arange(3.0), np.arange(4.0))
