"""Balanced partitions are all there, and the best is that of brute force (gm-nas 7.2 to 7.4)."""

from __future__ import annotations

from itertools import combinations, permutations, product

import numpy as np
import pytest

from morphogen.core import ConfigError
from morphogen.core.partition import (
    balanced_groups,
    closest_partition,
    partition_of,
    random_partition,
)


def assigned(n: int, k: int) -> set:
    """Every balanced partition, by trying all assignments of things to groups."""
    found = set()
    for labels in product(range(k), repeat=n):
        groups = [frozenset(i for i in range(n) if labels[i] == g) for g in range(k)]
        sizes = [len(group) for group in groups]
        if min(sizes) > 0 and max(sizes) - min(sizes) <= 1:
            found.add(frozenset(groups))
    return found


def sets(groups) -> frozenset:
    return frozenset(frozenset(group) for group in groups)


def symmetric(rng, n: int) -> np.ndarray:
    matrix = rng.random((n, n))
    return matrix + matrix.T


@pytest.mark.parametrize(("n", "k"), [(n, k) for n in range(4, 8) for k in (2, 3)])
def test_the_closest_partition_is_that_of_brute_force(n, k):
    every = assigned(n, k)
    listed = list(balanced_groups(n, k))
    assert len(listed) == len(every)
    assert {sets(groups) for groups in listed} == every
    rng = np.random.default_rng(n * k)
    for _ in range(40):  # 8 shapes: 320 matrices
        d = symmetric(rng, n)

        def within(groups, d=d) -> float:
            return sum(d[i, j] for g in groups for i, j in combinations(sorted(g), 2))

        found = closest_partition(d, k)
        assert sets(found.groups) == min(every, key=within)
        assert found.within == pytest.approx(min(map(within, every)), abs=1e-12)
        assert found.within + found.cut == pytest.approx(d[np.triu_indices(n, 1)].sum())
        # The largest cut: the same groups, since every balanced partition crosses as many pairs.
        order = rng.permutation(n)
        moved = closest_partition(d[np.ix_(order, order)], k)
        assert sets([[order[i] for i in g] for g in moved.groups]) == sets(found.groups)


def test_the_figure_of_the_paper():
    """Similarities 0.7 and 0.8 inside, 0.1, 0.1, 0.2, 0.3 across: the cut costs 0.7."""
    s = np.zeros((4, 4))
    for (i, j), value in {
        (0, 1): 0.7,
        (2, 3): 0.8,
        (0, 2): 0.1,
        (0, 3): 0.1,
        (1, 2): 0.2,
        (1, 3): 0.3,
    }.items():
        s[i, j] = s[j, i] = value
    for order in permutations(range(4)):
        found = closest_partition(1 - s[np.ix_(order, order)], 2)
        assert sets([[order[i] for i in g] for g in found.groups]) == sets([[0, 1], [2, 3]])
        assert found.within == pytest.approx(0.5, abs=1e-12)
        assert found.cut == pytest.approx(3.3, abs=1e-12)
        assert 4 - found.cut == pytest.approx(0.7, abs=1e-12)  # of similarities


def test_of_equal_partitions_the_first_is_taken():
    first = next(iter(balanced_groups(5, 2)))
    assert closest_partition(np.ones((5, 5)), 2).groups == first
    assert partition_of(np.ones((5, 5)), first).within == 4  # 1 + 3 pairs


def test_random_partitions_are_uniform():
    rng = np.random.default_rng(0)
    drawn = [random_partition(5, 2, rng) for _ in range(2000)]
    counts = [drawn.count(groups) for groups in balanced_groups(5, 2)]
    assert len(counts) == 10
    assert sum((c - 200) ** 2 / 200 for c in counts) < 27.9  # chi-square, 9 degrees, p = 0.001


@pytest.mark.parametrize(("n", "k"), [(2, 3), (13, 2), (4, 0)])
def test_what_cannot_be_partitioned_is_refused(n, k):
    with pytest.raises(ConfigError, match="accepted"):
        list(balanced_groups(n, k))
