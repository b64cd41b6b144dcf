"""Exact balanced partition of a few things by their distances, by enumeration.

The graph clustering of GM-NAS (Hu et al., ICLR 2022, arXiv 2203.15207): operations of an edge are
vertices, and those whose gradients agree stay together. Sizes of groups differ by one at most, so
that the smallest sum of distances within groups is the largest sum across them: the minimum cut of
the similarities and the maximum cut of the distances are the same partition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from morphogen.core.errors import ConfigError

MOST = 12
"""Things that are enumerated at most: 5,775 partitions into three groups."""

Groups = tuple[tuple[int, ...], ...]
"""Positions, each once; within a group ascending, groups by their first member."""


@dataclass(frozen=True)
class Partition:
    """Groups, and what they cost."""

    groups: Groups
    within: float
    """W: sum of the distances of all pairs of one group."""
    cut: float
    """C: sum of the distances of all pairs of two groups; all pairs' less W."""


def balanced_groups(count: int, groups: int) -> Iterator[Groups]:
    """Every partition of `count` things into so many groups whose sizes differ by one at most.

    Raises:
        ConfigError: there are fewer things than groups, or too many to enumerate.
    """
    if not 1 <= groups <= count or count > MOST:
        raise ConfigError(
            f"{count} options are to be {groups} groups; accepted: 1 to {min(count, MOST)} groups "
            f"of at most {MOST} options"
        )
    least, larger = divmod(count, groups)

    def rest(left: tuple[int, ...], small: int, large: int) -> Iterator[Groups]:
        if not left:
            yield ()
            return
        first, others = left[0], left[1:]
        for size, some in ((least, small), (least + 1, large)):
            if not some:
                continue
            for members in combinations(others, size - 1):
                after = tuple(i for i in others if i not in members)
                taken = (small - 1, large) if size == least else (small, large - 1)
                for tail in rest(after, *taken):
                    yield ((first, *members), *tail)

    return rest(tuple(range(count)), groups - larger, larger)


def partition_of(distances: ArrayLike, groups: Groups) -> Partition:
    """What a partition costs, by a symmetric matrix of distances."""
    matrix = np.asarray(distances, np.float64)
    total = sum(float(matrix[i, j]) for i, j in combinations(range(len(matrix)), 2))
    within = sum(float(matrix[i, j]) for group in groups for i, j in combinations(group, 2))
    return Partition(groups, within, total - within)


def closest_partition(distances: ArrayLike, groups: int) -> Partition:
    """The balanced partition of the smallest distance within groups; the first of equal ones.

    Args:
        distances: [n, n], symmetric; the diagonal is not read.
        groups: k.

    Raises:
        ConfigError: there are fewer things than groups, or too many to enumerate.
    """
    matrix = np.asarray(distances, np.float64)
    every = balanced_groups(len(matrix), groups)
    return min((partition_of(matrix, some) for some in every), key=lambda found: found.within)


def random_partition(count: int, groups: int, rng: np.random.Generator) -> Groups:
    """A balanced partition, uniformly at random: what one by distances is held against."""
    every = list(balanced_groups(count, groups))
    return every[int(rng.integers(len(every)))]
