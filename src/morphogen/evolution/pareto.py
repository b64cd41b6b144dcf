"""Pareto dominance: ranks, crowding and hypervolume, every objective higher is better.

Deb, Pratap, Agarwal, Meyarivan: A fast and elitist multiobjective genetic algorithm: NSGA-II. IEEE
TEVC 2002. One point dominates another if it is nowhere worse and somewhere better; equal points do
not dominate each other. Sorting and hypervolume are moocore's. A row with an entry that is not
finite is a failed evaluation: it is behind every other, and no part of a front.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from morphogen.core import ConfigError

Points = NDArray[np.float64]
"""[points, objectives], higher is better."""


def ranks(points: Points, violation: NDArray[np.float64] | None = None) -> NDArray[np.int64]:
    """The front of each point, from 0: what is left undominated when the fronts before are gone.

    Args:
        points: [n, objectives].
        violation: [n], by how much each point breaks its constraints, 0 for feasible ones. A
            feasible point comes before every infeasible one; of two infeasible ones the one with
            the smaller violation, whatever their objectives.

    Returns:
        [n] int64.
    """
    import moocore

    points = np.asarray(points, np.float64)
    excess = np.zeros(len(points)) if violation is None else np.array(violation, np.float64)
    excess[~np.isfinite(points).all(axis=1)] = np.inf
    out = np.zeros(len(points), np.int64)
    feasible = excess <= 0
    behind = 0
    if feasible.any():
        out[feasible] = moocore.pareto_rank(points[feasible], maximise=True)
        behind = int(out[feasible].max()) + 1
    _, order = np.unique(excess[~feasible], return_inverse=True)
    out[~feasible] = behind + order
    return out


def front(points: Points) -> NDArray[np.bool_]:
    """[n]: which points no other one dominates; equal points are all in it."""
    points = np.asarray(points, np.float64)
    if not len(points):
        return np.zeros(0, np.bool_)
    return np.asarray((ranks(points) == 0) & np.isfinite(points).all(axis=1))


def crowding(points: Points) -> NDArray[np.float64]:
    """Crowding distance of each point of one front, infinite at the ends of every objective.

    The sum over objectives of the gap between a point's two neighbours, in units of the front's
    range; not divided by the number of objectives. An objective in which all points are equal does
    not count. Of equal points, order and so distance are those of their positions.
    """
    points = np.asarray(points, np.float64)
    count = len(points)
    distance = np.zeros(count)
    if count <= 2:
        return np.full(count, np.inf)
    if not np.isfinite(points).all():
        return distance  # failed evaluations are all alike
    for column in points.T:
        order = np.argsort(column, kind="stable")
        low, high = column[order[0]], column[order[-1]]
        if high > low:
            distance[order[[0, -1]]] = np.inf
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / (high - low)
    return distance


def hypervolume(points: Points, reference: NDArray[np.float64]) -> float:
    """Volume that the points dominate above `reference` [objectives], the worst that counts.

    Raises:
        ConfigError: the reference has another number of objectives.
    """
    import moocore

    points, reference = np.asarray(points, np.float64), np.asarray(reference, np.float64)
    if reference.shape != points.shape[1:]:
        raise ConfigError(
            f"reference has {reference.size} objectives; accepted: {points.shape[1]}, one a column"
        )
    finite = points[np.isfinite(points).all(axis=1)]
    if not len(finite):
        return 0.0
    return float(moocore.hypervolume(finite, ref=reference, maximise=True))
