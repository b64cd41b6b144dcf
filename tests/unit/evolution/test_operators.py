"""Mutation, crossover, drawing what is new, and the aging queue."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import binom, chi2

from morphogen.core import Choice, ConfigError
from morphogen.evolution import AgingQueue, Best, mutate_genes
from morphogen.spaces import SearchSpace, fresh, make

SPACE = make("nasbench201")


def changed(one, two) -> int:
    return sum(one[c.name] != two[c.name] for c in SPACE.choices)


def test_a_mutation_is_each_of_the_24_neighbours_equally_often():
    rng = np.random.default_rng(0)
    arch = SPACE.sample(rng)
    counts = Counter(SPACE.mutate(arch, rng) for _ in range(4_800))
    near = SPACE.neighbours(arch)
    assert len(near) == 24
    assert all(changed(arch, n) == 1 for n in near)
    statistic = sum((counts[n] - 200) ** 2 / 200 for n in near)
    assert statistic < chi2.ppf(0.999, 23)
    assert sum(counts[n] for n in near) == 4_800


def test_crossover_takes_each_choice_from_either_parent_half_of_the_time():
    rng = np.random.default_rng(0)
    one, two = (
        SPACE.restrict({c.name: [only] for c in SPACE.choices}).sample(rng)
        for only in ("none", "skip_connect")
    )
    children = [SPACE.crossover(one, two, rng) for _ in range(2000)]
    genes = [child[c.name] == one[c.name] for child in children for c in SPACE.choices]
    assert np.mean(genes) == pytest.approx(0.5, abs=0.015)


def test_a_child_mutates_a_binomial_number_of_times_and_at_least_once():
    space = SearchSpace("wide", [Choice(f"c{i}", tuple("abcd")) for i in range(6)])
    rng = np.random.default_rng(0)
    arch = space.sample(rng)
    counts = Counter(
        sum(child[c.name] != arch[c.name] for c in space.choices)
        for child in (mutate_genes(space, arch, 1 / 6, rng) for _ in range(1500))
    )
    assert counts[0] == 0
    # Two mutations of one choice (1 pair in 6) count as one change at most.
    assert counts[1] / 1500 == pytest.approx(binom.cdf(1, 6, 1 / 6), abs=0.08)
    assert mutate_genes(space, arch, 0.0, rng) in space.neighbours(arch)


def test_fresh_draws_are_uniform_over_what_is_left_and_none_when_nothing_is():
    space = SearchSpace("small", [Choice("a", tuple("xyz")), Choice("b", tuple("pqrs"))])
    everything = space.enumerate()
    known, rng = set(everything[:9]), np.random.default_rng(0)
    counts = Counter(fresh(space, known, rng) for _ in range(3000))
    assert set(counts) == set(everything[9:])
    assert sum((counts[a] - 1000) ** 2 / 1000 for a in counts) < chi2.ppf(0.999, 2)
    assert fresh(space, set(everything), rng) is None


def test_the_last_one_left_of_fifteen_thousand_is_found():
    everything = SPACE.enumerate()
    assert fresh(SPACE, set(everything[:-1]), np.random.default_rng(0)) == everything[-1]


def test_the_oldest_leaves_whatever_its_score():
    archs = SPACE.enumerate()[:10]
    queue = AgingQueue(3)
    gone = [queue.push(a, float(9 - i)) for i, a in enumerate(archs)]
    assert gone == [None, None, None, *archs[:7]]
    assert len(queue) == 3
    assert set(queue.members) == set(archs[7:])
    assert dict(zip(queue.members, queue.scores, strict=True)) == dict(
        zip(archs[7:], [2.0, 1.0, 0.0], strict=True)
    )


def test_the_best_is_the_first_of_equals_and_never_a_failure():
    archs = SPACE.enumerate()[:4]
    best = Best()
    with pytest.raises(ConfigError, match="no architecture has a score"):
        best.get()
    best.tell(archs[:1], np.array([-np.inf]))
    with pytest.raises(ConfigError, match="accepted"):
        best.get()
    best.tell(archs[1:], np.array([1.0, 2.0, 2.0]))
    assert best.get() == archs[2]
