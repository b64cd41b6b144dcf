"""Regularized Evolution for Image Classifier Architecture Search.

Paper: Real, Aggarwal, Huang, Le. AAAI 2019. arXiv 1802.01548.

    1. P random architectures enter a queue
    repeat until the budget is spent
        2. draw S members of the queue; the best of them is the parent
        3. the child is the parent with one random mutation; evaluate it
        4. the child enters the queue, and the oldest member (not the worst) leaves it
    return the best architecture ever evaluated

Departures. The mutation is the space's own: a uniformly random neighbour. The paper's, on NASNet
cells, chooses first between an operation and an input. In a round of several questions, their
parents come from the queue as it stood before the round, as with the paper's parallel workers. A
child that was evaluated before enters the queue with its known score; the engine does not count it
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from morphogen.core import Architecture
from morphogen.core.config import Count, config
from morphogen.evolution import AgingQueue, Best, tournament
from morphogen.methods._contract import Scores, method
from morphogen.spaces import Discrete, SearchSpace


@config
class AgingEvolutionConfig:
    """Aging (regularised) evolution."""

    population: Count = 100
    """P, members of the queue; of fewer than 200 evaluations half (paper: 100; on NAS-Bench-201 30
    needs fewer evaluations)"""
    sample: Count = 25
    """S, contestants of a tournament (paper: 25; with a population of 30: 10)"""
    replacement: bool = True
    """a member may be drawn twice for one tournament (paper: yes)"""


@dataclass
class AgingEvolutionState:
    """The queue, how many of the first population were asked for, the best so far."""

    queue: AgingQueue
    begun: int = 0
    best: Best = field(default_factory=Best)


@method(
    "aging-evolution",
    config=AgingEvolutionConfig,
    needs=[Discrete],
    epochs=1,
    initial="population",
    in_proportion=["sample"],
)
class AgingEvolution:
    """Mutations of tournament winners; the oldest die."""

    def __init__(self, config: AgingEvolutionConfig) -> None:
        self.config = config

    def init(self, space: SearchSpace) -> AgingEvolutionState:
        """An empty queue."""
        return AgingEvolutionState(AgingQueue(self.config.population))

    def ask(
        self, state: AgingEvolutionState, space: SearchSpace, count: int, rng: np.random.Generator
    ) -> list[Architecture]:
        """What is left of the first population, then children."""
        first = min(count, self.config.population - state.begun)
        if first > 0:
            state.begun += first
            return [space.sample(rng) for _ in range(first)]  # 1
        return [self._child(state.queue, space, rng) for _ in range(count)]

    def _child(
        self, queue: AgingQueue, space: SearchSpace, rng: np.random.Generator
    ) -> Architecture:
        c = self.config
        parent = tournament(queue.scores, c.sample, rng, replacement=c.replacement)  # 2
        return space.mutate(queue.members[parent], rng)  # 3

    def tell(
        self, state: AgingEvolutionState, archs: Sequence[Architecture], scores: Scores
    ) -> None:
        """The newcomers enter, the oldest leave."""
        state.best.tell(archs, scores)
        for arch, score in zip(archs, scores, strict=True):
            state.queue.push(arch, float(score))  # 4

    def derive(self, state: AgingEvolutionState, space: SearchSpace) -> Architecture:
        """The best architecture told of, whether or not it is still in the queue."""
        return state.best.get()
