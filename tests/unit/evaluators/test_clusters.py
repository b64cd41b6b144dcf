"""k-means against brute force; representations of networks of any depth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from morphogen.core import ConfigError
from morphogen.evaluators.clusters import (
    at_depth,
    divide,
    represent,
    silhouette_clusters,
    winners,
)


def inertia(rows, labels) -> float:
    groups = [rows[labels == g] for g in np.unique(labels)]
    return float(sum(((g - g.mean(axis=0)) ** 2).sum() for g in groups))


def same_partition(one, two) -> bool:
    return bool(((one[:, None] == one) == (two[:, None] == two)).all())


@pytest.mark.parametrize("seed", range(3))
def test_the_best_of_50_restarts_is_the_brute_force_optimum(seed):
    rows = np.random.default_rng(seed).normal(size=(10, 2))
    partitions = (np.array([0, *bits]) for bits in itertools.product((0, 1), repeat=9))
    best = min(inertia(rows, p) for p in partitions if p.any())
    labels = divide(rows, 2, seed, restarts=50)
    assert inertia(rows, labels) == pytest.approx(best, abs=1e-9)
    order = np.random.default_rng(seed + 9).permutation(10)
    assert same_partition(divide(rows[order], 2, seed, restarts=50), labels[order])


def test_labels_count_from_zero_in_order_and_every_group_has_members():
    rows = np.random.default_rng(0).normal(size=(30, 3))
    labels = divide(rows, 6, 1)
    _, first = np.unique(labels, return_index=True)
    assert sorted(set(labels.tolist())) == list(range(6))
    assert list(first) == sorted(first)
    assert (divide(rows, 6, 1) == labels).all()


def test_fewer_points_than_groups_and_nothing_to_compare():
    assert divide(np.array([[0.0], [0.0], [1.0]]), 5, 0).tolist() == [0, 0, 1]
    assert divide(np.zeros((4, 0)), 3, 0).tolist() == [0, 0, 0, 0]
    assert divide(np.arange(4.0)[:, None], 1, 0).tolist() == [0, 0, 0, 0]
    assert len(set(divide(np.arange(4.0)[:, None], 4, 0).tolist())) == 4


def test_small_groups_join_the_nearest():
    rows = np.array([0, 0.1, 0.2, 10, 10.1, 10.2, 13.0])[:, None]
    assert divide(rows, 3, 0).tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert divide(rows, 3, 0, smallest=3).tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert divide(rows, 3, 0, smallest=5).tolist() == [0] * 7


def test_silhouette_finds_the_number_of_well_separated_groups():
    g = np.random.default_rng(3)
    rows = np.concatenate([g.normal(scale=0.1, size=(8, 2)) + c for c in ((0, 0), (5, 0), (0, 5))])
    assert silhouette_clusters(rows, 0) == 3
    assert silhouette_clusters(np.zeros((5, 2)), 0) == 1


def test_depth_is_interpolated_linearly():
    short = np.array([[1.0, 3.0, 2.0], [0.0, 0.0, 6.0]])
    assert at_depth(short, 5).tolist() == [[1, 2, 3, 2.5, 2], [0, 0, 0, 3, 6]]
    assert at_depth(short, 3) is short
    assert at_depth(short[:, :1], 3).tolist() == [[1, 1, 1], [0, 0, 0]]
    assert at_depth(np.zeros((2, 0)), 2).tolist() == [[0, 0], [0, 0]]
    # Every layer twice: the curve over relative depth stays, up to half a layer's step.
    curve = np.sin(np.linspace(0, 2, 40))[None]
    assert np.abs(at_depth(np.repeat(curve, 2, axis=1), 40) - curve).max() < 2 / 39


def test_representations_are_standardised_and_constant_coordinates_dropped():
    g = np.random.default_rng(4)
    traces = [np.array([[t, 0.0, 100 * t + g.normal()]]) for t in g.normal(size=12)]
    rows = represent(traces, normalize=False)
    assert rows.shape == (12, 2)
    assert np.allclose(rows.mean(axis=0), 0)
    assert np.allclose(rows.std(axis=0), 1)
    unit = represent(traces, normalize=True)
    assert np.allclose(np.linalg.norm(unit, axis=1), 1)
    assert np.allclose(unit, rows / np.linalg.norm(rows, axis=1, keepdims=True))
    assert represent([np.ones((3, 2))] * 4, normalize=True).shape == (4, 0)
    with pytest.raises(ConfigError, match="traces have \\[1, 2\\] checkpoints"):
        represent([np.ones((1, 2)), np.ones((2, 2))], normalize=True)


def test_winners_are_the_best_of_each_group_and_never_a_failure():
    scores = np.array([1.0, 5.0, 4.0, -np.inf, 2.0, 2.0])
    labels = np.array([0, 0, 0, 1, 2, 2])
    assert winners(scores, labels) == [1, 4]
    assert winners(scores, labels, 2) == [1, 2, 4, 5]
