"""Operators on architectures beyond those that a space has itself (mutate, crossover, sample)."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from morphogen.core import Architecture
from morphogen.spaces import SearchSpace

DRAWS = 200
"""Draws after which `fresh` stops to hope for luck."""

LISTED = 100_000
"""Largest space that is listed to find what is left of it."""


def fresh(
    space: SearchSpace, known: Collection[Architecture], rng: np.random.Generator
) -> Architecture | None:
    """A uniformly drawn architecture that is not in `known`; None if none was found.

    Where draws hit only known ones, a space of at most 100,000 is listed, so that None means that
    nothing is left; a larger one is drawn from 10,000 times more.
    """
    listed = space.size() <= LISTED
    if listed and len(known) >= space.size():
        return None
    for _ in range(DRAWS if listed else DRAWS + 10_000):
        arch = space.sample(rng)
        if arch not in known:
            return arch
    left = [arch for arch in space.enumerate() if arch not in known] if listed else []
    return left[int(rng.integers(len(left)))] if left else None


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
