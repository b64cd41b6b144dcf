"""Evolution by generations, as one-shot search has it: parents, mutants, crossovers, random fill.

Guo et al., ECCV 2020, arXiv 1904.00420, Algorithm 1. Every generation is bred from the best
architectures so far, and does not depend on how its own members fare. State and choices are plain
values, so that a checkpoint holds them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from morphogen.core import Architecture
from morphogen.evolution.operators import mutate_genes
from morphogen.spaces import SearchSpace

TRIES = 10
"""Attempts for each mutant, crossover or random architecture that is wanted and not yet seen."""


@dataclass
class Generations:
    """A population in which each generation takes the place of the one before.

    Architectures are kept in the space's notation.
    """

    size: int
    """P, architectures of a generation."""
    parents: int
    """k, the best so far that the next generation is bred from."""
    mutants: int
    """Mutants of a parent in each generation, as far as they fit in it."""
    crossovers: int
    """Children of two parents, as far as they fit in after them; the rest is random."""
    rate: float
    """Probability of a mutation for each choice."""
    again: bool = False
    """Whether an architecture may come again in a later generation (Supernet Shifting), or only
    once in the whole search (SPOS)."""
    top: list[str] = field(default_factory=list)
    """The parents of the present generation, best first."""
    members: list[str] = field(default_factory=list)
    """The present generation, in the order in which it is to be evaluated; all different."""
    fitness: dict[str, list[float]] = field(default_factory=dict)
    """The last fitness of everything evaluated: compared from left to right, higher is better."""

    def breed(self, space: SearchSpace, rng: np.random.Generator) -> None:
        """The next generation; it is smaller than `size` where the space has no more to offer."""
        self.top = self.best(self.parents, among={*self.top, *self.members} & set(self.fitness))
        seen = set() if self.again else set(self.fitness)
        self.members = []
        parents = [space.parse(text) for text in self.top]

        def parent() -> Architecture:
            return parents[int(rng.integers(len(parents)))]

        def fill(until: int, draw: Callable[[], Architecture]) -> None:
            for _ in range(TRIES * max(0, until - len(self.members))):
                if len(self.members) >= until:
                    break
                text = space.format(draw())
                if text not in seen:
                    seen.add(text)
                    self.members.append(text)

        if parents:
            share = min(self.size, self.mutants)
            fill(share, lambda: mutate_genes(space, parent(), self.rate, rng))
            share = min(self.size, len(self.members) + self.crossovers)
            fill(share, lambda: space.crossover(parent(), parent(), rng))
        fill(self.size, lambda: space.sample(rng))

    def record(self, text: str, fitness: tuple[float, ...]) -> None:
        """The fitness of a member."""
        self.fitness[text] = list(fitness)

    def best(self, count: int = 1, among: set[str] | None = None) -> list[str]:
        """The fittest `count` of all evaluated, or of some of them; the first ones of equals."""
        known = [text for text in self.fitness if among is None or text in among]
        return sorted(known, key=lambda text: self.fitness[text], reverse=True)[:count]

    def winner(self, space: SearchSpace) -> Architecture | None:
        """The fittest of all evaluated; None if there is none yet."""
        return space.parse(self.best()[0]) if self.fitness else None
