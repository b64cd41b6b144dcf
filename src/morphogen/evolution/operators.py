"""Operators on architectures beyond those that a space has itself (mutate, crossover, sample)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from morphogen.core import Architecture
from morphogen.evolution.pareto import Points
from morphogen.evolution.selection import binary_tournament, crowded
from morphogen.spaces import SearchSpace


def mutate_genes(
    space: SearchSpace, arch: Architecture, rate: float, rng: np.random.Generator
) -> Architecture:
    """Several of the space's own mutations: binomial with `rate` for each choice, at least one.

    The space's mutation keeps what its choices demand of one another, which changing each choice
    independently would not. The child differs from `arch`.
    """
    child = arch
    for _ in range(max(1, int(rng.binomial(len(space.choices), rate)))):
        child = space.mutate(child, rng)
    return child if child != arch else space.mutate(arch, rng)


RETRIES = 100
"""Children that may be refused as known before one is accepted as it is."""


def bred(
    space: SearchSpace,
    members: Sequence[Architecture],
    points: Points,
    count: int,
    crossover: float,
    rate: float,
    rng: np.random.Generator,
) -> list[Architecture]:
    """NSGA-II's children: no child twice, none that is a member, as far as chance finds others.

    Args:
        space: whose operators are used.
        members: the population.
        points: their objectives, [members, objectives], higher is better.
        count: children.
        crossover: probability that a child has two parents.
        rate: expected share of choices that mutate.
        rng: source of chance.
    """
    rank, distance = crowded(points)
    known = set(members)
    children: list[Architecture] = []

    def parent() -> Architecture:
        return members[binary_tournament(rank, distance, rng)]

    while len(children) < count:
        for _ in range(RETRIES):
            child = parent()
            if rng.random() < crossover:
                child = space.crossover(child, parent(), rng)
            child = mutate_genes(space, child, rate, rng)
            if child not in known:
                break
        known.add(child)
        children.append(child)
    return children
