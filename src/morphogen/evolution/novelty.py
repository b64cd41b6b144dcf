"""Novelty: how far an architecture is from those that are most like it, seen now or before.

Lehman and Stanley: Abandoning objectives. Evolutionary Computation 2011. Distances are between
architectures, as sets of (choice, option), and not between what they do: Sinha and Chen, GECCO 2022
Companion, arXiv 2204.00188.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from morphogen.core import Architecture
from morphogen.spaces import SearchSpace

Sets = NDArray[np.float32]
"""[architectures, (choice, option)], 1 where an architecture keeps the option."""


def choice_sets(space: SearchSpace, archs: Sequence[Architecture]) -> Sets:
    """What each architecture keeps."""
    rows = [space.encode(arch) for arch in archs]
    return np.stack(rows) if rows else np.zeros((0, 1), np.float32)


def jaccard_distances(sets: Sets, others: Sets) -> NDArray[np.float64]:
    """1 - |A and B| / |A or B| of each pair, [sets, others]; a metric, between 0 and 1.

    Two architectures that keep one option for each of m choices, c of them the same, are
    1 - c / (2 m - c) apart.
    """
    sets, others = np.asarray(sets, np.float64), np.asarray(others, np.float64)
    common = sets @ others.T
    union = sets.sum(axis=1)[:, None] + others.sum(axis=1) - common
    return np.where(union > 0, 1 - common / np.maximum(union, 1), 0.0)


def mean_of_nearest(distances: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """The mean of the k smallest of each row, of fewer if there are no more; 0 of none.

    Args:
        distances: [n, m], infinite where two are not compared.
        k: neighbours.
    """
    nearest = np.sort(distances, axis=1)[:, :k]
    found = np.isfinite(nearest)
    total = np.where(found, nearest, 0.0).sum(axis=1)
    return np.asarray(total / np.maximum(found.sum(axis=1), 1))


@dataclass
class NoveltyArchive:
    """Every architecture that was seen so far, in the space's notation, each once."""

    k: int
    """Nearest neighbours whose mean distance is the novelty."""
    texts: list[str] = field(default_factory=list)
    _sets: list[Sets] = field(default_factory=list, repr=False, metadata={"checkpoint": False})
    """What they keep, of as many of them as it was asked for."""

    def novelty(self, space: SearchSpace, batch: Sequence[Architecture]) -> NDArray[np.float64]:
        """Of each architecture of a batch, [n], among the others of the batch and the archive.

        Each is left out of its own neighbours by its place in the batch alone: a twin in the batch
        is a neighbour at distance 0, and so is an entry of the archive that equals it.
        """
        sets = choice_sets(space, batch)
        among = jaccard_distances(sets, sets)
        np.fill_diagonal(among, np.inf)
        self._sets += [space.encode(space.parse(t)) for t in self.texts[len(self._sets) :]]
        past = jaccard_distances(sets, np.stack(self._sets)) if self._sets else among[:, :0]
        return mean_of_nearest(np.concatenate([among, past], axis=1), self.k)

    def add(self, space: SearchSpace, archs: Sequence[Architecture]) -> None:
        """Remember those that are new; after the novelty of all of them is known."""
        fresh = dict.fromkeys(space.format(arch) for arch in archs)
        known = set(self.texts)
        self.texts += [text for text in fresh if text not in known]
