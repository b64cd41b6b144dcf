"""Groups of networks that train alike: representations of traces, and k-means on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from morphogen.core import ConfigError

Rows = NDArray[np.float64]
"""[networks, coordinates]."""

Labels = NDArray[np.intp]
"""[networks], the group of each: 0, 1, ... in the order of first appearance."""

CONSTANT = 1e-8
"""A coordinate whose standard deviation is less says nothing, and is dropped."""


def represent(traces: Sequence[NDArray[np.float64]], *, normalize: bool) -> Rows:
    """Traces of networks as points, close where the networks train alike.

    Layers are interpolated along relative depth to the deepest network's number; coordinates are
    standardised over the networks, constant ones dropped.

    Args:
        traces: per network [checkpoints, layers]; depths may differ, checkpoints may not.
        normalize: scale every point to length 1, so that squared distance is 2 (1 - cosine). This
            takes the overall size of the changes out, which may be what matters.

    Raises:
        ConfigError: the numbers of checkpoints differ.
    """
    lengths = sorted({len(t) for t in traces})
    if len(lengths) > 1:
        raise ConfigError(f"traces have {lengths} checkpoints; accepted: the same number in all")
    deepest = max((t.shape[1] for t in traces), default=0)
    rows: Rows = np.array([at_depth(t, deepest).ravel() for t in traces]).reshape(len(traces), -1)
    deviation = rows.std(axis=0)
    telling = deviation >= CONSTANT
    rows = (rows[:, telling] - rows[:, telling].mean(axis=0)) / deviation[telling]
    if normalize:
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows / np.where(length > 0, length, 1.0)
    return rows


def at_depth(trace: NDArray[np.float64], layers: int) -> NDArray[np.float64]:
    """A trace [checkpoints, some layers] as [checkpoints, layers], linear in relative depth."""
    own = trace.shape[1]
    if own in (0, layers):
        return trace if own else np.zeros((len(trace), layers))
    here, there = np.linspace(0, 1, own), np.linspace(0, 1, layers)
    return np.array([np.interp(there, here, row) for row in trace]).reshape(len(trace), layers)


def divide(
    rows: Rows, clusters: int, seed: int, *, smallest: int = 1, restarts: int = 10
) -> Labels:
    """k-means (Lloyd, k-means++ seeding, the best of `restarts`).

    Groups with fewer than `smallest` members join the one whose centre is nearest, the smallest
    first: their winners would be winners by chance.

    Args:
        rows: the points; equal ones always share a group.
        clusters: K, at most; fewer where there are fewer different points.
        seed: of the seeding.
        smallest: members of a group, at least.
        restarts: seedings.
    """
    clusters = min(clusters, len(np.unique(rows, axis=0)))
    if clusters < 2 or rows.shape[1] == 0:
        return np.zeros(len(rows), np.intp)
    return _in_order(_merged(rows, _kmeans(rows, clusters, seed, restarts), smallest))


def silhouette_clusters(rows: Rows, seed: int, most: int = 10) -> int:
    """The K from 2 to `most` whose k-means groups have the highest silhouette; 1 if none can be."""
    from sklearn.metrics import silhouette_score

    different = len(np.unique(rows, axis=0)) if rows.shape[1] else 0
    candidates = range(2, min(most, different, len(rows) - 1) + 1)
    scores = {k: float(silhouette_score(rows, _kmeans(rows, k, seed, 10))) for k in candidates}
    return max(scores, key=lambda k: scores[k], default=1)


def _kmeans(rows: Rows, clusters: int, seed: int, restarts: int) -> Labels:
    from sklearn.cluster import KMeans

    found = KMeans(
        clusters, init="k-means++", n_init=restarts, max_iter=300, tol=1e-6, random_state=seed
    ).fit(rows)
    return np.asarray(found.labels_, np.intp)


def _merged(rows: Rows, labels: Labels, smallest: int) -> Labels:
    labels = labels.copy()
    while True:
        names, sizes = np.unique(labels, return_counts=True)
        least = int(np.argmin(sizes))
        if len(names) == 1 or sizes[least] >= smallest:
            return labels
        centres = np.array([rows[labels == name].mean(axis=0) for name in names])
        distances = np.linalg.norm(centres - centres[least], axis=1)
        distances[least] = np.inf
        labels[labels == names[least]] = names[int(np.argmin(distances))]


def _in_order(labels: Labels) -> Labels:
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.intp)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def winners(scores: NDArray[np.float64], labels: Labels, each: int = 1) -> list[int]:
    """The rows with the best scores of each group, `each` of a group, best first overall.

    Of equal scores the first row wins. Rows with a score of -inf (failed) never do.
    """
    order = np.argsort(-scores, kind="stable")
    taken: dict[int, int] = {}
    chosen = []
    for row in order[np.isfinite(scores[order])]:
        group = int(labels[row])
        if taken.get(group, 0) < each:
            taken[group] = taken.get(group, 0) + 1
            chosen.append(int(row))
    return chosen
