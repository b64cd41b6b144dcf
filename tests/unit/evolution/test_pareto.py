"""Dominance against brute force and pymoo; crowding and hypervolume against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from morphogen.core import ConfigError
from morphogen.evolution import crowding, front, hypervolume, ranks, survivors, tournament
from morphogen.evolution.selection import binary_tournament, crowded


def peeled(points: np.ndarray) -> np.ndarray:
    """Fronts by the definition: peel off what nothing left dominates."""
    out = np.full(len(points), -1)
    left, level = list(range(len(points))), 0
    while left:
        free = [
            i
            for i in left
            if not any(
                (points[j] >= points[i]).all() and (points[j] > points[i]).any() for j in left
            )
        ]
        out[free] = level
        left = [i for i in left if i not in free]
        level += 1
    return out


def test_ranks_of_a_worked_example():
    points = -np.array([(1, 5), (2, 3), (4, 1), (2, 6), (3, 3), (5, 5)], float)
    assert ranks(points).tolist() == [0, 0, 0, 1, 1, 2]
    assert front(points).tolist() == [True] * 3 + [False] * 3


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("levels", [4, 1000], ids=["ties", "distinct"])
def test_ranks_equal_brute_force_and_pymoo(objectives, levels):
    from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

    points = (
        np.random.default_rng(objectives).integers(levels, size=(200, objectives)).astype(float)
    )
    expected = peeled(points)
    assert np.array_equal(ranks(points), expected)
    for level, members in enumerate(NonDominatedSorting().do(-points)):
        assert sorted(members) == np.flatnonzero(expected == level).tolist()


def test_feasible_points_come_first_then_smaller_violations_then_failures():
    points = np.array([[9.0, 9], [1, 1], [2, 2], [9, 9], [-np.inf, 5]])
    violation = np.array([0.5, 0, 0, 0.1, 0])
    assert ranks(points, violation).tolist() == [3, 1, 0, 2, 4]


def test_failed_points_are_in_no_front_and_count_for_nothing():
    points = np.array([[-np.inf, -np.inf], [-np.inf, 9.0]])
    assert not front(points).any()
    assert hypervolume(points, np.zeros(2)) == 0
    assert not front(np.zeros((0, 2))).any()


def test_crowding_of_a_worked_example():
    assert crowding(-np.array([(1, 5), (2, 3), (4, 1)], float)).tolist() == [np.inf, 2.0, np.inf]
    assert crowding(np.array([(1.0, 7), (2, 7), (4, 7)])).tolist() == [np.inf, 1.0, np.inf]
    assert crowding(np.ones((3, 2))).tolist() == [0, 0, 0]
    assert crowding(np.ones((2, 2))).tolist() == [np.inf, np.inf]


def test_crowding_orders_as_pymoo_does():
    from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance

    x = np.random.default_rng(3).random(50)
    points = np.stack([x, 1 - x**2, -np.sin(3 * x)], axis=1)
    np.testing.assert_allclose(crowding(points), calc_crowding_distance(-points) * 3)


def test_hypervolume_of_two_boxes():
    points = np.array([[3.0, 1], [1, 2], [0.5, 0.5], [-1, 9], [-np.inf, 3]])
    assert hypervolume(points, np.zeros(2)) == pytest.approx(3 + 1)
    with pytest.raises(ConfigError, match="accepted: 2"):
        hypervolume(points, np.zeros(3))


def test_survivors_are_whole_fronts_then_the_least_crowded():
    x = np.array([0, 0.1, 0.2, 0.6, 1.0])
    first = np.stack([x, 1 - x], axis=1)
    points = np.concatenate([first - 5, first])  # the second five dominate
    keep = survivors(points, 7, np.random.default_rng(0)).tolist()
    assert set(keep[:5]) == {5, 6, 7, 8, 9}
    assert set(keep[5:]) == {0, 4}
    assert set(survivors(points, 8, np.random.default_rng(0)).tolist()) - set(keep) == {3}


def test_ties_among_survivors_are_broken_by_chance_and_the_same_for_a_seed():
    points = np.ones((10, 2))
    seen = {tuple(survivors(points, 3, np.random.default_rng(seed)).tolist()) for seed in range(40)}
    assert len(seen) > 20
    one, two = (survivors(points, 3, np.random.default_rng(7)).tolist() for _ in range(2))
    assert one == two


@pytest.mark.parametrize(("replacement", "expected"), [(False, 3.5), (True, None)])
def test_tournament_has_the_rank_that_theory_gives(replacement, expected):
    """N = 20, S = 5: (N + 1) / (S + 1) without replacement; order statistics with it."""
    if expected is None:
        expected = sum((1 - k / 20) ** 5 for k in range(20))
    scores = list(np.random.default_rng(0).permutation(20).astype(float))
    rng = np.random.default_rng(1)
    places = [
        20 - scores[tournament(scores, 5, rng, replacement=replacement)] for _ in range(20_000)
    ]
    assert np.mean(places) == pytest.approx(expected, abs=0.08)


def test_a_failed_member_never_wins_against_another():
    scores, rng = [-np.inf, -5.0], np.random.default_rng(0)
    assert {tournament(scores, 2, rng, replacement=False) for _ in range(20)} == {1}


def test_binary_tournament_prefers_rank_then_crowding():
    points = np.array([[2.0, 2], [1, 1]])
    rank, distance = crowded(points)
    rng = np.random.default_rng(0)
    assert {binary_tournament(rank, distance, rng) for _ in range(20)} == {0}
    rank, distance = np.zeros(2, int), np.array([0.5, np.inf])
    assert {binary_tournament(rank, distance, rng) for _ in range(20)} == {1}
    wins = sum(binary_tournament(rank, np.ones(2), rng) for _ in range(2000))
    assert 850 < wins < 1150
