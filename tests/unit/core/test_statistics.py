"""Intervals against a printed table of Student's t, the paired t-test, least squares."""

import math

import numpy as np
import pytest
from scipy.stats import t, ttest_rel

from morphogen.core import ConfigError
from morphogen.core.statistics import contrast, crossed_contrast, interval


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


def _least_squares_components(table: np.ndarray) -> tuple[float, float, float]:
    """Mean squares of rows by seeds, rows by blocks and of all three, by regression on dummies."""
    rows, seeds, blocks = table.shape
    i, j, b = (index.ravel() for index in np.indices(table.shape))
    dummies = {
        "r": np.eye(rows)[i],
        "s": np.eye(seeds)[j],
        "b": np.eye(blocks)[b],
    }

    def products(*names: str) -> np.ndarray:
        made = np.ones((table.size, 1))
        for name in names:
            made = (made[:, :, None] * dummies[name][:, None, :]).reshape(table.size, -1)
        return made

    def residual(*terms: np.ndarray) -> float:
        design = np.hstack(terms)
        fitted = design @ np.linalg.lstsq(design, table.ravel(), rcond=None)[0]
        return float(((table.ravel() - fitted) ** 2).sum())

    base = [products("r"), products("s"), products("b"), products("s", "b")]
    rs, rb = products("r", "s"), products("r", "b")
    without = residual(*base, rb)
    full = residual(*base, rs, rb)
    only = residual(*base, rs)
    freedom = (rows - 1) * (seeds - 1), (rows - 1) * (blocks - 1)
    both = full / (freedom[0] * (blocks - 1))
    return (without - full) / freedom[0], (only - full) / freedom[1], both


def test_the_crossed_contrast_is_that_of_a_regression_on_dummies() -> None:
    rng = np.random.default_rng(3)
    seeds_effect, blocks_effect = rng.normal(size=(3, 4, 1)), rng.normal(size=(3, 1, 5))
    table = 3 * seeds_effect + 4 * blocks_effect + rng.normal(size=(3, 4, 5))
    by_seed, by_block, both = _least_squares_components(table)
    variance = 2 * (by_seed + by_block - both) / 20
    parts = by_seed**2 / 6 + by_block**2 / 8 + both**2 / 24
    half = t.ppf(0.975, (by_seed + by_block - both) ** 2 / parts) * np.sqrt(variance)
    found = crossed_contrast(table.tolist(), 0, 2)
    assert found.difference == pytest.approx(table[0].mean() - table[2].mean())
    assert found.low == pytest.approx(found.difference - half)
    assert found.high == pytest.approx(found.difference + half)
    both_sides = crossed_contrast(table.tolist(), 0, 2, comparisons=2)
    assert both_sides.high - both_sides.low > found.high - found.low


@pytest.mark.parametrize(("seed", "block"), [(0.5, 1.0), (0.0, 1.0), (1.0, 0.1)])
def test_the_crossed_interval_holds_for_other_seeds_and_other_examples(seed, block) -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        table = rng.normal(size=(1, 3, 1)) + rng.normal(size=(1, 1, 10))
        table = table + seed * rng.normal(size=(3, 3, 1)) + block * rng.normal(size=(3, 1, 10))
        found = crossed_contrast((table + rng.normal(size=(3, 3, 10))).tolist(), 0, 1)
        hits += found.low <= 0 <= found.high
    assert 0.92 <= hits / 400 <= 0.99


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(("seed", "block"), [(0.5, 1.0), (0.0, 1.0), (1.0, 0.1)])
def test_it_holds_for_seeds_that_are_judged_on_examples_of_their_own(seeds, seed, block) -> None:
    """Blocks are then nested in seeds, as in cross-validation; two seeds tell little of seeds."""
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        table = rng.normal(size=(1, seeds, 1)) + rng.normal(size=(1, seeds, 10))
        table = table + seed * rng.normal(size=(2, seeds, 1))
        table = table + block * rng.normal(size=(2, seeds, 10))
        found = crossed_contrast((table + rng.normal(size=(2, seeds, 10))).tolist(), 0, 1)
        hits += found.low <= 0 <= found.high
    assert hits / 400 >= (0.87 if seeds == 2 else 0.92)


def test_a_crossed_contrast_needs_seeds_and_blocks() -> None:
    with pytest.raises(ConfigError, match="at least two architectures, seeds and blocks"):
        crossed_contrast([[[1.0, 2.0]], [[1.0, 2.0]]], 0, 1)
