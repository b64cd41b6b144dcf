"""Who becomes a parent, and who survives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from morphogen.evolution.pareto import Points, crowding, ranks


def tournament(
    scores: Sequence[float], size: int, rng: np.random.Generator, *, replacement: bool = True
) -> int:
    """The position of the best of `size` uniformly drawn contestants, the first drawn of equals.

    Without replacement, at most all of them take part.
    """
    count = len(scores)
    drawn = rng.integers(count, size=size) if replacement else rng.permutation(count)[:size]
    return int(max(drawn, key=lambda i: scores[i]))


def crowded(
    points: Points, violation: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rank, and crowding distance within the rank's front, of each point [n, objectives]."""
    rank = ranks(points, violation)
    distance = np.zeros(len(rank))
    for level in range(int(rank.max(initial=-1)) + 1):
        members = np.flatnonzero(rank == level)
        distance[members] = crowding(np.asarray(points)[members])
    return rank, distance


def binary_tournament(
    rank: NDArray[np.int64], distance: NDArray[np.float64], rng: np.random.Generator
) -> int:
    """NSGA-II's parent: the better of two different members by rank, then crowding, then chance."""
    if len(rank) == 1:
        return 0
    first, second = (int(i) for i in rng.permutation(len(rank))[:2])
    one, two = (rank[first], -distance[first]), (rank[second], -distance[second])
    return second if two < one else first


def survivors(
    points: Points,
    count: int,
    rng: np.random.Generator,
    violation: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """Positions of the `count` members that NSGA-II keeps, best first.

    Whole fronts, and of the last one those with the most room about them; equals by chance.
    """
    rank, distance = crowded(points, violation)
    chance = rng.random(len(rank))
    return np.lexsort((chance, -distance, rank))[:count]
