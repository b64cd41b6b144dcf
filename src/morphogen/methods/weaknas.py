"""Stronger NAS with Weaker Predictors.

Paper: Wu, Dai, Chen, Chen, Liu, Yu, Wang, Liu, Chen, Yuan. NeurIPS 2021. arXiv 2102.10490.

    1. S <- M0 uniform samples of the candidates X; evaluate them
    repeat until the budget is spent
        2. fit a weak predictor f, from scratch, to the encodings and standardised scores of S
        3. order all of X, S included, by f, best first
        4. P <- the first N without S; M uniform draws from P (the M best outside S if P is smaller)
        5. evaluate them; S grows
    return the best of S

With `sampling="ei"` step 4 takes the M largest expected improvements over X without S, from an
ensemble of five predictors.

Departures. Scores are standardised by mean and deviation of S; the authors' code takes those of the
whole benchmark, which no search can know (`normalise="fixed"` takes given ones). In the expected
improvement the best score of S has the predictions' sign; in the authors' code it has not. The
answer is the best evaluated architecture; theirs is judged on test accuracy, and gets its first
prediction for nothing. With `keep="top"` or "none" what is forgotten is not fitted, but never asked
for again. X is the whole space up to `listed` architectures; beyond, as in the paper's MobileNetV3
space, 10,000 random ones, and, not in the paper, new mutations of the best in every round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from morphogen.core import Architecture
from morphogen.core.config import Count, Natural, Positive, config
from morphogen.evolution import Best
from morphogen.methods._contract import Scores, method
from morphogen.predictors import Ensemble, PredictorKind, PredictorSizes, Standard, finite
from morphogen.predictors.acquisition import expected_improvement, pool_size
from morphogen.predictors.candidates import Candidates
from morphogen.predictors.encodings import Encoding
from morphogen.spaces import Discrete, Encodable, SearchSpace

MEMBERS = 5
"""Predictors of the ensemble behind the expected improvement."""


@config
class WeakNASConfig:
    """WeakNAS."""

    initial: Count = 10
    """M0, random architectures before the first fit; of fewer than 20 evaluations half (paper:
    NAS-Bench-201 10, NAS-Bench-101 100)"""
    batch: Count = 10
    """M, architectures between two fits (paper: 10)"""
    pool: Count = 100
    """N, best predicted architectures from which the next are drawn (paper: 100)"""
    pool_end: Natural = 0
    """N at the end of its schedule; 0: it stays as it is (paper: that)"""
    pool_rounds: Count = 100
    """fits over which N goes from `pool` to `pool_end`, fast at first (paper: 100)"""
    sampling: Literal["pool", "ei"] = "pool"
    """pool: uniform draws from the best N; ei: largest expected improvement"""
    keep: Literal["all", "top", "none"] = "all"
    """what is fitted: all evaluated, those among the best N, only the last batch (paper: all)"""
    predictor: PredictorKind = "mlp"
    """kind of the weak predictor: mlp, tree, forest, gbdt or ridge (paper: mlp)"""
    sizes: PredictorSizes = PredictorSizes()
    """sizes of the predictor (paper: MLP of 4 layers of 1000 units, 100 iterations)"""
    encoding: Encoding = "onehot"
    """what the predictor sees: onehot, adjacency or path, as the space offers them"""
    normalise: Literal["samples", "fixed"] = "samples"
    """standardise scores by those of S, or by `mean` and `deviation`"""
    mean: Annotated[float, Field(ge=-1e6, le=1e6)] = 0.0
    """for normalise=fixed: the score that becomes 0"""
    deviation: Positive = 1.0
    """for normalise=fixed: the distance that becomes 1"""
    listed: Count = 100_000
    """size of a space up to which all of it is candidate"""
    candidates: Count = 10_000
    """random candidates in a larger space (paper, MobileNetV3 space: 10000)"""
    mutations: Natural = 100
    """in a larger space: mutations of the best that become candidates in each round"""


@dataclass
class WeakNASState:
    """X with its encodings, S, and what is still to be asked for."""

    candidates: Candidates
    told: list[int] = field(default_factory=list)
    """S, places in X in the order of telling."""
    scores: list[float] = field(default_factory=list)
    fitted: list[int] = field(default_factory=list)
    """Places in S that are kept for the next fit."""
    pending: list[int] = field(default_factory=list)
    rounds: int = 0
    """Fits so far."""
    best: Best = field(default_factory=Best)


@method("weaknas", config=WeakNASConfig, needs=[Discrete, Encodable], epochs=1, initial="initial")
class WeakNAS:
    """A weak predictor restricts the next samples to its top candidates, again and again."""

    def __init__(self, config: WeakNASConfig) -> None:
        self.config = config

    def init(self, space: SearchSpace) -> WeakNASState:
        """No candidates yet: they may need random draws."""
        return WeakNASState(Candidates(self.config.encoding, self.config.listed))

    def ask(
        self, state: WeakNASState, space: SearchSpace, count: int, rng: np.random.Generator
    ) -> list[Architecture]:
        """What is left of the last batch, or a new one after a new fit."""
        if not state.pending:
            state.pending = self._batch(state, space, rng)
        asked, state.pending = state.pending[:count], state.pending[count:]
        return [state.candidates.archs[i] for i in asked]

    def _batch(
        self, state: WeakNASState, space: SearchSpace, rng: np.random.Generator
    ) -> list[int]:
        c, x = self.config, state.candidates
        if not state.told:
            x.start(space, c.candidates, rng)
            return _draw(np.arange(len(x)), c.initial, rng)  # 1
        if not x.whole and state.best.architecture is not None:
            x.add_mutations(space, state.best.architecture, c.mutations, rng)
        seeds = rng.integers(2**31, size=MEMBERS if c.sampling == "ei" else 1).tolist()
        targets = self._targets(state)
        ensemble = Ensemble(c.predictor, seeds, c.sizes)
        ensemble.fit(x.encodings[[state.told[i] for i in state.fitted]], targets)  # 2
        mean, deviation = ensemble.predict(x.encodings)
        order = np.argsort(-mean, kind="stable")  # 3
        known = np.zeros(len(x), np.bool_)
        known[state.told] = True
        size = pool_size(c.pool, c.pool_end or c.pool, c.pool_rounds, state.rounds)
        state.rounds += 1
        state.fitted = self._kept(state, order[:size])
        if c.sampling == "ei":
            gain = expected_improvement(mean, deviation, float(targets.max()))
            order, size = np.argsort(-gain, kind="stable"), 0
        pool = order[:size][~known[order[:size]]]
        if len(pool) >= c.batch:
            return _draw(pool, c.batch, rng)  # 4
        return [int(i) for i in order[~known[order]][: c.batch]]

    def _targets(self, state: WeakNASState) -> NDArray[np.float64]:
        c = self.config
        scores = finite(np.array(state.scores))[state.fitted]
        fixed = c.normalise == "fixed"
        standard = Standard(c.mean, c.deviation) if fixed else Standard.of(scores)
        return standard(scores)

    def _kept(self, state: WeakNASState, top: NDArray[np.intp]) -> list[int]:
        """Which of S stay for the next fit, beside the batch that comes."""
        if self.config.keep == "all":
            return list(range(len(state.told)))
        best = set(top.tolist()) if self.config.keep == "top" else set()
        return [i for i in state.fitted if state.told[i] in best]

    def tell(self, state: WeakNASState, archs: Sequence[Architecture], scores: Scores) -> None:
        """S grows."""
        state.best.tell(archs, scores)
        for arch, score in zip(archs, scores, strict=True):  # 5
            state.fitted.append(len(state.told))
            state.told.append(state.candidates.place[arch])
            state.scores.append(float(score))

    def derive(self, state: WeakNASState, space: SearchSpace) -> Architecture:
        """The best architecture told of."""
        return state.best.get()


def _draw(places: NDArray[np.intp], count: int, rng: np.random.Generator) -> list[int]:
    """Up to `count` different ones, uniformly."""
    return [int(i) for i in rng.permutation(places)[:count]]
