"""Random search: the baseline every other method must beat.

Paper: Li, Talwalkar. Random Search and Reproducibility for NAS. UAI 2019. arXiv 1902.07638.

    repeat until the budget is spent
        1. draw an architecture uniformly from the space, one not drawn before
        2. evaluate it
    return the one with the best score

Departures. Drawing without replacement (`repeats` draws with it): the paper's spaces are so large
that it makes no difference there. The paper's second algorithm, random search with weight sharing,
is a one-shot method and not this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from morphogen.core import Architecture, ConfigError
from morphogen.core.config import config
from morphogen.methods._contract import Scores, method
from morphogen.spaces import Discrete, SearchSpace, fresh


@config
class RandomSearchConfig:
    """Random search."""

    repeats: bool = False
    """an architecture may be drawn again (and is then evaluated again)"""


@dataclass
class RandomSearchState:
    """What has been asked, and the best so far."""

    asked: set[Architecture] = field(default_factory=set)
    best: Architecture | None = None
    best_score: float = -np.inf


@method("random", config=RandomSearchConfig, needs=[Discrete], epochs=1)
class RandomSearch:
    """Uniform draws; the best score wins, the first of equal ones."""

    def __init__(self, config: RandomSearchConfig) -> None:
        self.config = config

    def init(self, space: SearchSpace) -> RandomSearchState:
        """Nothing asked yet."""
        return RandomSearchState()

    def ask(
        self, state: RandomSearchState, space: SearchSpace, count: int, rng: np.random.Generator
    ) -> list[Architecture]:
        """`count` uniform draws; fewer only if the space has no more that are new."""
        drawn: list[Architecture] = []
        while len(drawn) < count:
            arch = space.sample(rng) if self.config.repeats else fresh(space, state.asked, rng)  # 1
            if arch is None:
                break
            drawn.append(arch)
            state.asked.add(arch)
        return drawn

    def tell(self, state: RandomSearchState, archs: Sequence[Architecture], scores: Scores) -> None:
        """Keep the best."""
        for arch, score in zip(archs, scores, strict=True):  # 2
            if score > state.best_score:
                state.best, state.best_score = arch, float(score)

    def derive(self, state: RandomSearchState, space: SearchSpace) -> Architecture:
        """The best architecture told of."""
        if state.best is None:
            raise ConfigError("random search has no score yet; accepted: a budget of at least 1")
        return state.best
