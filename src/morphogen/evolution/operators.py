"""Operators on architectures beyond those that a space has itself (mutate, crossover, sample)."""

from __future__ import annotations

import numpy as np

from morphogen.core import Architecture
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
