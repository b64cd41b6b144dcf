"""Expected improvement against its integral, the authors' sign fault, the pool's schedule."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from morphogen.core import Choice
from morphogen.predictors.acquisition import expected_improvement, pool_size, thompson
from morphogen.predictors.candidates import Candidates
from morphogen.spaces import SearchSpace


def test_expected_improvement_is_the_integral_it_stands_for():
    rng = np.random.default_rng(0)
    mean, deviation = rng.normal(size=20), rng.uniform(0.5, 5, 20)
    ours = expected_improvement(mean, deviation, 0.7)
    for m, s, value in zip(mean, deviation / 5, ours, strict=True):
        integral, _ = quad(lambda f, m=m, s=s: (f - 0.7) * norm.pdf(f, m, s), 0.7, m + 40 * s)
        assert value == pytest.approx(max(integral, 0), abs=1e-8)


def test_vectorised_equals_the_scalar_formula():
    rng = np.random.default_rng(1)
    mean, deviation = rng.normal(size=200), rng.uniform(0.1, 3, 200)
    scalar = []
    for m, s in zip(mean, deviation / 5, strict=True):
        g = (m - 0.2) / s
        scalar.append(s * (g * norm.cdf(g) + norm.pdf(g)))
    np.testing.assert_allclose(
        expected_improvement(mean, deviation, 0.2), scalar, rtol=0, atol=1e-12
    )


def test_larger_means_and_larger_deviations_never_lower_it():
    grid = np.linspace(-3, 3, 50)
    assert (np.diff(expected_improvement(grid, np.ones(50), 0.0)) >= 0).all()
    for mean in (-0.5, 0.0, 0.5):
        spread = np.linspace(0, 4, 50)
        assert (np.diff(expected_improvement(np.full(50, mean), spread, 0.0)) >= -1e-12).all()


def test_without_deviation_it_is_the_gap():
    assert expected_improvement(np.array([1.0, 3.0]), np.zeros(2), 2.0).tolist() == [0, 1]


def test_one_terrible_label_does_not_silence_it():
    """The authors' code takes the worst label for the best, and all its values underflow."""
    labels = np.array([0.5, 0.2, -5.0])
    mean = np.linspace(-1, 1, 200)
    gain = expected_improvement(mean, np.full(200, 0.5), labels.max())
    wrong = expected_improvement(-mean, np.full(200, 0.5), -labels.min())
    assert (gain > 0).sum() > 100
    assert (np.diff(gain)[mean[1:] > -0.5] > 0).all()
    assert (wrong > 1e-100).sum() == 0


def test_thompson_draws_have_the_mean_and_deviation():
    drawn = thompson(np.full(20_000, 2.0), np.full(20_000, 0.5), np.random.default_rng(0))
    assert drawn.mean() == pytest.approx(2, abs=0.02)
    assert drawn.std() == pytest.approx(0.5, abs=0.02)


def test_the_pool_is_constant_or_falls_from_start_to_end():
    assert {pool_size(100, 100, 100, k) for k in range(150)} == {100}
    sizes = [pool_size(80_000, 500, 100, k) for k in range(100)]
    assert sizes[0] == 80_000
    assert sizes[-1] == 500
    assert all(a >= b for a, b in pairwise(sizes))
    assert sizes[50] == int(500 + 79_500 * (0.96**50 - 0.96**99) / (1 - 0.96**99))
    assert pool_size(80_000, 500, 100, 400) == 500
    assert pool_size(7, 5, 1, 0) == 5


SPACE = SearchSpace("wide", [Choice(f"c{i}", tuple("abcd")) for i in range(6)])


def test_a_small_space_is_candidate_as_a_whole_in_its_own_order():
    x = Candidates("onehot", listed=SPACE.size())
    x.start(SPACE, 5, np.random.default_rng(0))
    assert x.whole
    assert x.archs == SPACE.enumerate()
    assert all(x.place[a] == i for i, a in enumerate(x.archs))


def test_of_a_large_space_different_samples_are_and_then_mutations_of_the_best():
    x, rng = Candidates("onehot", listed=10), np.random.default_rng(0)
    x.start(SPACE, 500, rng)
    assert not x.whole
    assert len(x) == len(set(x.archs)) == 500
    best = x.archs[3]
    x.add_mutations(SPACE, best, 40, rng)
    assert 500 < len(x) <= 518  # 18 neighbours
    assert set(x.archs[500:]) <= set(SPACE.neighbours(best))
    assert x.encodings.shape == (len(x), 24)
    assert np.array_equal(x.encodings[-1], SPACE.encode(x.archs[-1]))


def test_a_space_with_fewer_architectures_than_candidates_gives_all_of_them():
    tiny = SearchSpace("tiny", [Choice("a", tuple("xyz"))])
    x = Candidates("onehot", listed=1)
    x.start(tiny, 10, np.random.default_rng(0))
    assert set(x.archs) == set(tiny.enumerate())
