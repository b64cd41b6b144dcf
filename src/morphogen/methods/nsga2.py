"""A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II.

Paper: Deb, Pratap, Agarwal, Meyarivan. IEEE TEVC 2002. In NAS: NSGA-Net, arXiv 1810.03522.

    1. a random population P of N architectures; evaluate them
    repeat until the budget is spent
        2. N children: parents by binary tournaments (lower front, then larger crowding distance),
           crossover with probability p_c, mutation; no child twice, none that is in P
        3. evaluate the children
        4. P <- the best N of parents and children: whole fronts, the last one cut by crowding
    return the member of the front of all evaluated that is best in the first objective

Departures. Choices are categorical, so crossover and mutation are the space's own: a child has a
binomial number of mutations, at least one, instead of the paper's polynomial mutation of reals.
The front is that of all evaluated architectures, not of the last population. Ties in crowding are
broken by chance. Any number of objectives will do; with one it is an elitist genetic algorithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from pydantic import Field

from morphogen.core import Architecture, ConfigError
from morphogen.core.config import Probability, config
from morphogen.core.ranges import COUNT
from morphogen.evolution import bred, front, survivors
from morphogen.methods._contract import Scores, method
from morphogen.spaces import Discrete, SearchSpace, different


@config
class NSGA2Config:
    """NSGA-II."""

    population: Annotated[int, Field(ge=2, le=COUNT.most)] = 20
    """N, members of the population and children of a generation; of fewer than 40 evaluations half
    (paper: 100)"""
    crossover: Probability = 0.9
    """p_c, probability that a child has two parents (paper: 0.9)"""
    mutation: Probability = 0.0
    """expected share of choices that mutate; 0: one over the number of choices (paper: that)"""


@dataclass
class NSGA2State:
    """The population, the generation in flight, and the front of all that was told."""

    members: list[Architecture] = field(default_factory=list)
    scores: list[tuple[float, ...]] = field(default_factory=list)
    pending: list[Architecture] = field(default_factory=list)
    """Of this generation, still to be asked for."""
    children: list[Architecture] = field(default_factory=list)
    """Of this generation, told."""
    children_scores: list[tuple[float, ...]] = field(default_factory=list)
    chance: int = 0
    """Seed for ties among this generation's survivors: `tell` has no generator."""
    archive: dict[Architecture, tuple[float, ...]] = field(default_factory=dict)
    """The front of all that was told."""


@method(
    "nsga2",
    config=NSGA2Config,
    needs=[Discrete],
    epochs=1,
    objectives=True,
    initial="population",
)
class NSGA2:
    """Non-dominated sorting, crowding, elitism."""

    def __init__(self, config: NSGA2Config) -> None:
        self.config = config

    def init(self, space: SearchSpace) -> NSGA2State:
        """No population yet."""
        return NSGA2State()

    def ask(
        self, state: NSGA2State, space: SearchSpace, count: int, rng: np.random.Generator
    ) -> list[Architecture]:
        """What is left of this generation, or a new one."""
        if not state.pending:
            if state.members:
                born = self._children(state, space, rng)
            else:
                born = different(space, self.config.population, rng)  # 1
            state.pending, state.chance = born, int(rng.integers(2**63))
        asked, state.pending = state.pending[:count], state.pending[count:]
        return asked

    def _children(
        self, state: NSGA2State, space: SearchSpace, rng: np.random.Generator
    ) -> list[Architecture]:
        rate = self.config.mutation or 1 / len(space.choices)
        c, points = self.config, np.array(state.scores)
        return bred(space, state.members, points, c.population, c.crossover, rate, rng)  # 2

    def tell(self, state: NSGA2State, archs: Sequence[Architecture], scores: Scores) -> None:
        """When the whole generation is told, the best N survive."""
        rows = [tuple(float(s) for s in row) for row in scores]
        state.children += archs
        state.children_scores += rows  # 3
        for arch, row in zip(archs, rows, strict=True):
            _archive(state.archive, arch, row)
        if state.pending:
            return
        everyone = [*state.members, *state.children]
        points = [*state.scores, *state.children_scores]
        rng = np.random.default_rng(state.chance)
        keep = survivors(np.array(points), self.config.population, rng)  # 4
        state.members = [everyone[i] for i in keep]
        state.scores = [points[i] for i in keep]
        state.children, state.children_scores = [], []

    def derive(self, state: NSGA2State, space: SearchSpace) -> Architecture:
        """Of the front of all told, the one best in the first objective."""
        if not state.archive:
            raise ConfigError(
                "no architecture has a score yet; accepted: a budget of at least 1, and an "
                "evaluation that does not fail"
            )
        return max(state.archive, key=lambda arch: state.archive[arch])


def _archive(
    archive: dict[Architecture, tuple[float, ...]], arch: Architecture, row: tuple[float, ...]
) -> None:
    """Let `arch` into the front, and out what it dominates; failed evaluations stay outside."""
    if arch in archive or not np.isfinite(row).all():
        return
    points = np.array([*archive.values(), row])
    stays = front(points)
    if stays[-1]:
        for other in [a for a, stay in zip(list(archive), stays, strict=False) if not stay]:
            del archive[other]
        archive[arch] = row
