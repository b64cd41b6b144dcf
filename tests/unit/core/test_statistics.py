"""Intervals against a printed table of Student's t, the paired t-test, least squares."""

import math

import numpy as np
import pytest
from scipy.stats import t, ttest_rel

from morphogen.core import ConfigError
from morphogen.core.statistics import contrast, interval


def test_interval_by_the_printed_table() -> None:
    # t of 0.975 with two degrees of freedom is 4.303 in every textbook; the error is 1 / sqrt(3).
    found = interval([1.0, 2.0, 3.0])
    assert found["mean"] == 2
    assert found["high"] - 2 == pytest.approx(4.3027 / 3**0.5, abs=1e-4)
    assert 2 - found["low"] == pytest.approx(found["high"] - 2)
    assert found["n"] == 3


def test_one_value_has_no_interval() -> None:
    assert interval([7.0]) == {"mean": 7.0, "n": 1}


THREE = [[71.2, 74.9, 70.1, 73.0], [69.8, 72.2, 69.9, 71.5], [68.0, 73.1, 66.4, 70.7]]


def test_of_two_architectures_a_contrast_is_the_paired_t_test() -> None:
    a, b = THREE[0], THREE[2]
    found = contrast([b, a], 1, 0)
    known = ttest_rel(a, b).confidence_interval(0.95)
    assert found.difference == pytest.approx(np.mean(a) - np.mean(b))
    assert (found.low, found.high) == (pytest.approx(known.low), pytest.approx(known.high))
    assert found.seeds == 4


def test_of_three_the_error_is_that_of_least_squares_on_architectures_and_seeds() -> None:
    rows, columns = np.indices((3, 4)).reshape(2, -1)
    design = np.column_stack(
        [np.ones(12), *(rows == i for i in (1, 2)), *(columns == j for j in (1, 2, 3))]
    )
    fitted, residual, rank, _ = np.linalg.lstsq(design, np.ravel(THREE), rcond=None)
    freedom = 12 - rank
    covariance = residual[0] / freedom * np.linalg.inv(design.T @ design)
    weights = np.array([0, -1, 1, 0, 0, 0])  # of rows 2 and 1
    half = t.ppf(0.975, freedom) * np.sqrt(weights @ covariance @ weights)
    found = contrast(THREE, 2, 1)
    assert found.difference == pytest.approx(weights @ fitted)
    assert (found.low, found.high) == (
        pytest.approx(weights @ fitted - half),
        pytest.approx(weights @ fitted + half),
    )


def test_one_seed_has_no_interval_and_ragged_rows_are_refused() -> None:
    assert contrast([[1.0], [3.0]], 1, 0) == (2.0, None, None, 1)
    for wrong in ([[1.0, 2.0]], [], [[1.0], [1.0, 2.0]], [[], []]):
        with pytest.raises(ConfigError, match="accepted: at least two rows"):
            contrast(wrong, 0, 1)
    with pytest.raises(ConfigError, match="finite"):
        contrast([[1.0], [math.nan]], 0, 1)
