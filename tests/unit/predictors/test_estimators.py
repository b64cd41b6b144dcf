"""Predictors by name: they learn, repeat themselves for a seed, and see what they should."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from morphogen.core import ConfigError, UnknownNameError
from morphogen.predictors import (
    KINDS,
    Ensemble,
    PredictorSizes,
    Standard,
    encode_all,
    finite,
    make,
)
from morphogen.predictors.estimators import BoostingSizes, ForestSizes, MLPSizes
from morphogen.spaces import make as make_space

SMALL = PredictorSizes(
    mlp=MLPSizes(layers=2, width=32, iterations=100),
    forest=ForestSizes(trees=30),
    gbdt=BoostingSizes(trees=60, depth=4),
)


def data(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """One-hot cells of NAS-Bench-201 and a score that is a sum over their edges."""
    space = make_space("nasbench201")
    rng = np.random.default_rng(seed)
    x = encode_all(space, [space.sample(rng) for _ in range(count)])
    return x, x @ np.random.default_rng(99).normal(size=30)


@pytest.mark.parametrize("kind", KINDS)
def test_a_predictor_orders_unseen_architectures(kind):
    (x, y), (unseen, truth) = data(200), data(300, seed=1)
    predicted = make(kind, 0, SMALL).fit(x, y).predict(unseen)
    assert predicted.shape == (300,)
    assert predicted.dtype == np.float64
    assert spearmanr(truth, predicted).statistic > (0.5 if kind == "tree" else 0.7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_predicts_the_same_bits(kind):
    x, y = data(60)
    one, two = (make(kind, 5, SMALL).fit(x, y).predict(x) for _ in range(2))
    assert np.array_equal(one, two)


@pytest.mark.parametrize("kind", ["mlp", "forest"])
def test_another_seed_predicts_otherwise(kind):
    x, y = data(60)
    one, two = (make(kind, seed, SMALL).fit(x, y).predict(x) for seed in (1, 2))
    assert not np.array_equal(one, two)


@pytest.mark.parametrize("kind", KINDS)
def test_ten_samples_one_sample_and_equal_scores_are_enough(kind):
    x, y = data(10)
    order = make(kind, 0, SMALL).fit(x, y).predict(x)
    if kind != "mlp":  # a hundred passes over ten rows are too few for it, as in the paper
        assert spearmanr(y, order).statistic > 0.6
    assert np.isfinite(make(kind, 0, SMALL).fit(x[:1], y[:1]).predict(x)).all()
    assert np.isfinite(make(kind, 0, SMALL).fit(x, np.zeros(10)).predict(x)).all()


def test_ridge_equals_its_closed_form():
    x, y = data(40)
    centred, targets = x - x.mean(0), y - y.mean()
    w = np.linalg.solve(centred.T @ centred + 0.1 * np.eye(30), centred.T @ targets)
    np.testing.assert_allclose(
        make("ridge", 0).fit(x, y).predict(x), (x - x.mean(0)) @ w + y.mean(), atol=1e-4
    )


def test_an_unknown_predictor_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'forest'"):
        make("forrest", 0)


def test_an_ensemble_has_the_mean_and_deviation_of_its_members():
    x, y = data(50)
    mean, deviation = Ensemble("forest", [3, 4, 5], SMALL).fit(x, y).predict(x)
    each = np.stack([make("forest", s, SMALL).fit(x, y).predict(x) for s in (3, 4, 5)])
    np.testing.assert_allclose(mean, each.sum(0) / 3)
    np.testing.assert_allclose(deviation**2, (each**2).mean(0) - mean**2, atol=1e-9)


@pytest.mark.parametrize("name", ["nasbench201", "darts", "nasbench1shot1-s2", "nasbench-macro"])
def test_encoding_all_is_encoding_each(name):
    space = make_space(name)
    rng = np.random.default_rng(0)
    archs = [space.sample(rng) for _ in range(50)]
    together = encode_all(space, archs)
    assert together.dtype == np.float32
    assert np.array_equal(together, np.stack([space.encode(a) for a in archs]))
    assert encode_all(space, []).shape == (0, together.shape[1])


def test_the_encoding_of_nasbench201_has_thirty_entries_six_of_them_one_and_is_injective():
    space = make_space("nasbench201")
    everything = encode_all(space, space.enumerate())
    assert everything.shape == (15625, 30)
    assert (everything.sum(axis=1) == 6).all()
    assert len(np.unique(everything, axis=0)) == 15625
    path = encode_all(space, space.enumerate()[:7], "path")
    assert path.shape == (7, 155)


def test_failures_count_as_the_worst_and_targets_are_standardised():
    assert finite(np.array([3.0, -np.inf, 1.0])).tolist() == [3, 1, 1]
    assert finite(np.array([-np.inf, -np.inf])).tolist() == [0, 0]
    scores = np.array([1.0, 3.0])
    standard = Standard.of(scores)
    assert standard(scores).tolist() == [-1, 1]
    assert standard.undo(standard(scores)).tolist() == [1, 3]
    assert Standard.of(np.array([7.0, 7.0]))(np.array([7.0, 8.0])).tolist() == [0, 1]
    with pytest.raises(ConfigError, match="accepted: finite numbers, the deviation above 0"):
        Standard(0.0, 0.0)
