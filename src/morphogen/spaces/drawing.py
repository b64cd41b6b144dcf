"""Draws from a space that avoid what is known already."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from morphogen.core import Architecture
from morphogen.spaces.base import SearchSpace

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


def different(space: SearchSpace, count: int, rng: np.random.Generator) -> list[Architecture]:
    """Uniformly drawn architectures, none twice; fewer than `count` if the space has no more."""
    drawn: dict[Architecture, None] = {}
    while len(drawn) < count and (arch := fresh(space, drawn, rng)) is not None:
        drawn[arch] = None
    return list(drawn)
