"""Exploring the Loss Landscape in Neural Architecture Search.

Paper: White, Nolen, Savani. UAI 2021. arXiv 2005.02960.

    repeat until the budget is spent
        1. evaluate m random architectures; the best of them is the current one
        2. evaluate the neighbours of the current one (one choice differs):
           all of them, and go to the best if it is better than the current one; or
           one by one in random order, and go to the first that is better ("query until
           improvement")
        3. after a move, 2; if no neighbour is better, a local optimum is found: 1
    return the best architecture ever evaluated

Departures. The paper stops at the first local optimum, or restarts; here it restarts as long as
there is a budget. Neighbours evaluated before are asked for again: the engine answers from memory
and does not count them. In a round of several questions "the first that is better" is the first in
the order of asking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from morphogen.core import Architecture
from morphogen.core.config import Count, config
from morphogen.evolution import Best
from morphogen.methods._contract import Scores, method
from morphogen.spaces import Discrete, SearchSpace


@config
class LocalSearchConfig:
    """Local search."""

    starts: Count = 1
    """m, random architectures of which the best is the starting point (paper: 1)"""
    improvement: Literal["best", "first"] = "best"
    """best: evaluate all neighbours, then move; first: move as soon as one is better"""


@dataclass
class LocalSearchState:
    """Where the walk stands; `current` is None until all random starts are told."""

    current: Best | None = None
    around: Best = field(default_factory=Best)
    """Best of the starts, or of the neighbours, told so far."""
    left: list[Architecture] = field(default_factory=list)
    """Starts or neighbours still to ask for."""
    best: Best = field(default_factory=Best)


@method("local-search", config=LocalSearchConfig, needs=[Discrete], epochs=1, initial="starts")
class LocalSearch:
    """Uphill from one neighbour to the next, again and again from a random start."""

    def __init__(self, config: LocalSearchConfig) -> None:
        self.config = config

    def init(self, space: SearchSpace) -> LocalSearchState:
        """Nowhere yet."""
        return LocalSearchState()

    def ask(
        self, state: LocalSearchState, space: SearchSpace, count: int, rng: np.random.Generator
    ) -> list[Architecture]:
        """Random starts, or neighbours of the current architecture."""
        if not state.left and state.current is not None:
            near = space.neighbours(state.current.get())  # 2
            state.left = [near[i] for i in rng.permutation(len(near))]
        if not state.left:
            state.current = None
            state.left = [space.sample(rng) for _ in range(self.config.starts)]  # 1
        asked, state.left = state.left[:count], state.left[count:]
        return asked

    def tell(self, state: LocalSearchState, archs: Sequence[Architecture], scores: Scores) -> None:
        """Move when the rule says so; start anew at a local optimum."""
        state.best.tell(archs, scores)
        floor = state.current.score if state.current is not None else -np.inf
        if state.current is not None and self.config.improvement == "first":
            better = np.flatnonzero(scores > floor)[:1]
            archs, scores = [archs[i] for i in better], scores[better]
        state.around.tell(archs, scores)
        moves = state.around.score > floor
        early = moves and state.current is not None and self.config.improvement == "first"
        if state.left and not early:
            return
        state.current = state.around if moves else None  # 3
        state.around, state.left = Best(), []

    def derive(self, state: LocalSearchState, space: SearchSpace) -> Architecture:
        """The best architecture told of."""
        return state.best.get()
