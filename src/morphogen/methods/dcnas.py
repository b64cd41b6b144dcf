"""DC-NAS: Divide-and-Conquer Neural Architecture Search (a reconstruction).

Paper: Wang, Xu, Tao. DC-NAS: Divide-and-Conquer Neural Architecture Search. 2020. arXiv 2005.14456.

    1. sample architectures
    2. train each a little, and record how the parameters, or the features, of its layers change
    3. represent each by these changes
    4. divide: group the architectures by k-means on the representations
    5. conquer: the best of each group by its early accuracy; early accuracy is fair among
       architectures that train alike, and not between those that learn fast and those that do not
    6. merge: train the winners in full; the best of them is the result

Departures. This is a reconstruction from the paper's abstract: neither the paper's formulas and
settings nor any code of the authors were available, so every formula and number here is our own
choice. The changes are relative (`params`: Frobenius norms; `features`: 1 - linear CKA), taken at
three checkpoints of an early training under the full training's learning rates; groups of fewer
than `smallest` members are merged; `halving` merges by successive halving. `encoding` and `random`
are controls, which say whether *similarity in training* makes the difference or the mere variety of
the finalists. With one group it is plain early stopping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from morphogen.core import Architecture, ConfigError
from morphogen.core.config import Count, Natural, config
from morphogen.evaluators.clusters import Labels, divide, represent, silhouette_clusters, winners
from morphogen.methods._contract import Scores, Stage, method
from morphogen.spaces import Discrete, Encodable, SearchSpace

TRIPLED = 3.0
"""Growth of the budget from one round of `halving` to the next."""


MOST = 10
"""Groups that the silhouette may choose, at most."""


@config
class DCNASConfig:
    """DC-NAS, reconstruction."""

    pool: Count = 100
    """n, architectures that are trained early, at most: the evaluations less those of the
    finalists, if these are fewer (paper: not known)"""
    early: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """length of the early training as a share of the full one (paper: not known)"""
    clusters: Natural = 5
    """K, groups at most; 1: plain early stopping; 0: by the silhouette, 2 to 10 (paper: not
    known)"""
    winners: Count = 1
    """q, architectures of each group that are trained in full"""
    smallest: Count = 3
    """members of a group, at least; a smaller one joins the nearest"""
    similarity: Literal["params", "features", "encoding", "random"] = "params"
    """what groups are made by: changes of the layers' parameters or features in early training;
    the controls: encoding of the architecture, or chance"""
    normalize: bool = True
    """compare directions of change only (cosine), not overall size as well"""
    merge: Literal["full", "halving"] = "full"
    """train all winners in full, or three times as long and half as many each round"""


@dataclass
class DCNASState:
    """The pool and what is known of it; then the finalists of the present round."""

    target: int
    """Architectures of the whole pool."""
    stage: Stage
    """Of the present round."""
    pool: list[Architecture] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    """Early accuracy of each of the pool that was told of."""
    traces: list[NDArray[np.float64] | None] = field(default_factory=list)
    groups: Labels | None = None
    """Group of each of the pool, -1 where the early training failed; once it is divided."""
    finalists: list[Architecture] = field(default_factory=list)
    """Of the present round."""
    asked: int = 0
    """Finalists asked for in the present round."""
    judged: dict[Architecture, tuple[float, float]] = field(default_factory=dict)
    """Architecture -> budget of its longest training, and its score."""


@method("dc-nas", config=DCNASConfig, needs=[Discrete, Encodable], epochs=1)
class DCNAS:
    """Early training of a pool, groups by how layers change, full training of the winners."""

    def __init__(self, config: DCNASConfig) -> None:
        self.config = config

    def init(self, space: SearchSpace) -> DCNASState:
        """Nothing sampled yet."""
        similarity = self.config.similarity
        trace = similarity if similarity == "params" or similarity == "features" else None
        stage = Stage(self.config.early, trace)
        return DCNASState(min(self.config.pool, space.size()), stage)

    def plan(self, state: DCNASState, budget: int) -> None:
        """A pool that leaves evaluations for the finalists; of few evaluations, half."""
        left = max(-(-budget // 2), budget - self._finals())
        state.target = min(state.target, left)

    def ask(
        self, state: DCNASState, space: SearchSpace, count: int, rng: np.random.Generator
    ) -> list[Architecture]:
        """More of the pool, or else more of the finalists; nothing when all are judged."""
        if len(state.pool) < state.target:
            return self._sample(state, space, count, rng)
        if state.groups is None:
            state.groups = self._divide(state, space, rng)
            chosen = winners(np.array(state.scores), state.groups, self.config.winners)  # 5
            self._next_round(state, [state.pool[i] for i in chosen])
        elif state.asked == len(state.finalists) and state.stage.budget < 1:
            by_score = sorted(state.finalists, key=lambda a: -state.judged[a][1])
            self._next_round(state, by_score[: -(-len(by_score) // 2)])
        asked = state.finalists[state.asked : state.asked + count]  # 6
        state.asked += len(asked)
        return asked

    def stage(self, state: DCNASState) -> Stage:
        """Early with traces for the pool, longer without them for finalists."""
        return state.stage

    def read_traces(self, state: DCNASState, traces: Sequence[NDArray[np.float64] | None]) -> None:
        """Traces of the architectures that `tell` is about to report."""
        if state.groups is None:
            state.traces.extend(traces)

    def tell(self, state: DCNASState, archs: Sequence[Architecture], scores: Scores) -> None:
        """Keep the scores, each with its budget."""
        if state.groups is None:
            state.scores.extend(float(s) for s in scores)
        for arch, score in zip(archs, scores, strict=True):
            state.judged[arch] = (state.stage.budget, float(score))

    def derive(self, state: DCNASState, space: SearchSpace) -> Architecture:
        """The best score among those trained longest; before the merger, the best early one."""
        done = {a: b for a, b in state.judged.items() if np.isfinite(b[1])}
        if not done:
            raise ConfigError("dc-nas has no score yet; accepted: a budget of at least 1")
        return max(done, key=lambda a: done[a])

    def _sample(
        self, state: DCNASState, space: SearchSpace, count: int, rng: np.random.Generator
    ) -> list[Architecture]:
        seen, fresh = set(state.pool), list[Architecture]()
        while len(fresh) < min(count, state.target - len(state.pool)):
            arch = space.sample(rng)  # 1
            if arch not in seen:
                seen.add(arch)
                fresh.append(arch)
        state.pool.extend(fresh)
        return fresh

    def _divide(self, state: DCNASState, space: SearchSpace, rng: np.random.Generator) -> Labels:
        c = self.config
        alive = np.flatnonzero(np.isfinite(state.scores))
        groups = np.full(len(state.pool), -1, np.intp)
        seed = int(rng.integers(2**31))
        if c.similarity == "random":
            groups[alive] = rng.permutation(len(alive)) % max(c.clusters, 1)
            return groups
        if c.similarity == "encoding":
            rows = np.array([space.encode(state.pool[i]) for i in alive], np.float64)
        else:
            traces = [t for i in alive if (t := state.traces[i]) is not None]
            rows = represent(traces, normalize=c.normalize)  # 3
        if len(rows):
            clusters = c.clusters or silhouette_clusters(rows, seed, MOST)
            groups[alive] = divide(rows, clusters, seed, smallest=c.smallest)  # 4
        return groups

    def _finals(self) -> int:
        """Evaluations of all rounds of the merger, with as many groups as there may be."""
        finalists = (self.config.clusters or MOST) * self.config.winners
        budget, total = self.config.early, 0
        while budget < 1:
            total += finalists
            finalists = -(-finalists // 2)
            budget = self._longer(budget)
        return total

    def _longer(self, budget: float) -> float:
        return 1.0 if self.config.merge == "full" else min(1.0, TRIPLED * budget)

    def _next_round(self, state: DCNASState, finalists: list[Architecture]) -> None:
        state.stage = Stage(self._longer(state.stage.budget))
        state.finalists, state.asked = finalists, 0
