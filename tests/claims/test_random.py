"""Random search draws uniformly, without repeats, and keeps the best (arXiv 1902.07638)."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from scipy.stats import chi2

from morphogen.core import Choice, ConfigError
from morphogen.methods.random import RandomSearch, RandomSearchConfig
from morphogen.spaces import SearchSpace, make

SMALL = SearchSpace(
    "small", [Choice("a", ("1", "2", "3")), Choice("b", ("x", "y")), Choice("c", ("p", "q"))]
)


def drawn(count: int, *, repeats: bool = False, seed: int = 0, space: SearchSpace = SMALL, at=1):
    method = RandomSearch(RandomSearchConfig(repeats=repeats))
    state = method.init(space)
    rng = np.random.default_rng(seed)
    archs = []
    while len(archs) < count:
        asked = method.ask(state, space, at, rng)
        if not asked:
            break
        archs += asked
    return archs


@pytest.mark.parametrize("at", [1, 5])
def test_no_architecture_is_drawn_twice_and_a_small_space_is_exhausted(at):
    archs = drawn(100, at=at)
    assert len(archs) == SMALL.size() == 12
    assert set(archs) == set(SMALL.enumerate())


def test_a_restricted_benchmark_space_is_exhausted():
    space = make("nasbench201")
    space = space.restrict({c.name: ["none", "skip_connect"] for c in space.choices})
    assert len(set(drawn(1000, space=space))) == 64


def test_with_repeats_an_exhausted_space_goes_on():
    archs = drawn(100, repeats=True)
    assert len(archs) == 100
    assert len(set(archs)) == 12


@pytest.mark.parametrize("repeats", [False, True])
def test_draws_are_uniform(repeats):
    """First draws of 6,000 searches; chi-square with 11 degrees of freedom at 1 in 1,000."""
    counts = Counter(drawn(1, repeats=repeats, seed=s)[0] for s in range(6000))
    expected = 6000 / 12
    statistic = sum((counts[a] - expected) ** 2 / expected for a in SMALL.enumerate())
    assert statistic < chi2.ppf(0.999, 11)


def test_the_order_of_an_exhausted_space_is_uniform_too():
    """Where each architecture stands in the sequence: the mean position is 6.5 for all."""
    positions = {a: [] for a in SMALL.enumerate()}
    for seed in range(600):
        for place, arch in enumerate(drawn(12, seed=seed), start=1):
            positions[arch].append(place)
    spread = math.sqrt((12**2 - 1) / 12 / 600)
    assert all(abs(np.mean(p) - 6.5) < 4 * spread for p in positions.values())


def test_the_best_score_wins_and_the_first_of_equal_ones():
    method = RandomSearch(RandomSearchConfig())
    state = method.init(SMALL)
    archs = method.ask(state, SMALL, 5, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="no score yet"):
        method.derive(state, SMALL)
    method.tell(state, archs[:2], [1.0, -5.0])
    assert method.derive(state, SMALL) == archs[0]
    method.tell(state, archs[2:], [3.0, 3.0, 2.0])
    assert method.derive(state, SMALL) == archs[2]


def test_negative_scores_are_scores():
    method = RandomSearch(RandomSearchConfig())
    state = method.init(SMALL)
    archs = method.ask(state, SMALL, 2, np.random.default_rng(0))
    method.tell(state, archs, [-2.0, -1.0])
    assert method.derive(state, SMALL) == archs[1]
