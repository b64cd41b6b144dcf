"""Zero-Cost-PT: operations of an untrained supernet, chosen by what is lost without them.

Paper: Xiang, Dudziak, Abdelfattah, Chau, Lane, Wen. AAAI 2023. arXiv 2106.06799.

    one supernet with fresh weights, which are never trained; S a zero-cost proxy
    1. search: N times
        a. alphas near zero: all operations of an edge weigh about the same
        b. take an undecided edge, at random, and one minibatch
        c. score S of the supernet without each of the edge's operations, the others as they are
        d. keep the operation without which S is lowest; go on with b until all are decided;
           in cells of nodes, then decide in the same way which two edges into a node stay
    2. validate: build each of the different architectures found, untrained, and add up S over V
       minibatches
    return the one with the largest sum

An epoch of the search is one of the N searches, a step one decision (of every cell type); a step of
the validation is one minibatch. The paper's seeds: 0 to 3. The authors search the DARTS space
without `none`, and so does the paper's preset (`--without none`).

Departures. An operation of weight 0 is not executed; the authors' NAS-Bench-201 and Macro code
executes it on zeros, which adds a constant to the kernel of NASWOT (the logarithm of its
determinant changes by little, the cells are the same), and their NAS-Bench-1Shot1 code executes it
on its true input (`zero_op`). Activations are counted once each; the authors count those inside a
ReLU-conv-norm block twice. The two edge orders called `once` go by the score; in the authors' code
they are the reverse order by mistake. What is decided is kept by the choice, not by the time of the
decision, and a decided choice is one-hot in every space (the authors' Macro and 1Shot1 code mixes
up both). The networks of the validation start from one seed and see the same minibatches. At nodes
the edges are scored once, which gives what the authors' repeated scoring gives.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from torch import Tensor

from morphogen.bilevel.gates import softmax_gates, start_alphas
from morphogen.core import Architecture
from morphogen.core.config import Count, config
from morphogen.core.rng import seed_for
from morphogen.methods._contract import Metrics, Phase, method
from morphogen.scoring import Discretised, Order, Perturbed, Projection, best, decide_next
from morphogen.scoring.measures import ProxyName, proxy_of, zero_cost
from morphogen.spaces import Differentiable, SearchSpace
from morphogen.supernets import Supernet, network
from morphogen.supernets.global_rng import forked_rng
from morphogen.tasks.problem import Clock, Problem
from morphogen.tasks.streams import Stream


@config
class ZeroCostPTConfig:
    """Zero-Cost-PT; the number of searches N is that of the epochs (paper: 10)."""

    proxy: ProxyName = "nwot_eval"
    """S, the zero-cost proxy (paper: NASWOT with batch norms in eval mode, nwot_eval)"""
    order: Order = "random"
    """which edge is decided next: random; fixed, the first; reverse, the last; the edge of the best
    operation (global-op) or of the best mean (global-edge), scored anew before each decision (iter)
    or once for all (once) (paper: random)"""
    score: Literal["perturbed", "discretised"] = "perturbed"
    """perturbed: an operation is worth what is lost without it; discretised: what S is with it
    alone on its edge, the paper's control disc-zc (paper: perturbed)"""
    zero_op: Literal["skip", "run"] = "skip"
    """an operation of weight 0 is not executed, or executed and not added (authors' code: skip in
    the DARTS space, run in NAS-Bench-1Shot1)"""
    validation: Count = 100
    """V, minibatches on which the architectures found are compared (paper: 100)"""


@dataclass
class ZeroCostPTState:
    """The search under way, and what the earlier ones have found."""

    net: Supernet
    """Never trained."""
    alphas: list[Tensor]
    projection: Projection
    batches: Stream
    """Minibatches of the search, whole on every process."""
    validation: Stream
    """Those of the validation."""
    found: list[str] = field(default_factory=list)
    """Architectures, one of each finished search, in the space's notation."""
    sums: list[float] = field(default_factory=list)
    """Sum of S for each different one of them, in the order in which they were found."""


@method(
    "zero-cost-pt",
    config=ZeroCostPTConfig,
    needs=[Differentiable],
    epochs=10,
    quick={"validation": 10},
    published={
        "nasbench201": {"batch_size": 256},
        "nasbench-macro": {"batch_size": 256},
        "nasbench1shot1": {"batch_size": 128, "zero_op": "run"},
        **{f"darts-s{number}": {"batch_size": 64} for number in (1, 2, 3, 4)},
        "darts": {"batch_size": 64, "without": "none"},
    },
)
class ZeroCostPT:
    """N perturbation searches in one untrained supernet, and a comparison of what they find."""

    def __init__(self, config: ZeroCostPTConfig) -> None:
        self.config = config

    def phases(self, problem: Problem, epochs: int) -> list[Phase]:
        """N searches of a step per decision, then one pass over the minibatches of the validation.

        One search alone needs no validation.
        """
        decisions = self._projection(problem.space).steps()
        return [
            Phase("search", epochs, decisions),
            Phase("validate", int(epochs > 1), self.config.validation),
        ]

    def init(self, problem: Problem) -> ZeroCostPTState:
        """A new supernet; nothing decided."""
        return ZeroCostPTState(
            problem.supernet().eval(),
            start_alphas(problem.space, problem.search_rng, problem.devices.device),
            self._projection(problem.space),
            problem.joint_stream("train", "data/scores"),
            problem.joint_stream("train", "data/validation"),
        )

    def step(self, state: ZeroCostPTState, problem: Problem, clock: Clock) -> Metrics:
        """One decision, or one minibatch of the validation."""
        if clock.phase == "validate":
            return self._validate(state, problem)
        if clock.step == 0:
            state.projection = self._projection(problem.space)
            if clock.epoch:  # those of the first search are drawn in `init`
                state.alphas = start_alphas(
                    problem.space, problem.search_rng, problem.devices.device
                )  # a
        measure = zero_cost(problem, state.net, self.config.proxy, state.batches.next())  # b
        score = Perturbed(measure) if self.config.score == "perturbed" else Discretised(measure)
        decisions = decide_next(
            state.projection,
            lambda: state.projection.gates(state.alphas),
            score,  # c
            self.config.order,
            problem.numpy_rng,
        )  # d
        if clock.step == clock.steps - 1:
            state.found.append(problem.space.format(self.derive(state, problem.space)))
        spans = [np.ptp([s for s in d.scores if np.isfinite(s)] or [0.0]) for d in decisions]
        return {"score_span": float(np.mean(spans))}

    def _validate(self, state: ZeroCostPTState, problem: Problem) -> Metrics:
        candidates = _different(state.found)
        batch = state.validation.next()
        scores = []
        for text in candidates:
            with forked_rng(seed=seed_for(problem.seed, "validation")):
                net = network(problem.space, problem.space.parse(text), problem.spec)
            scores.append(
                proxy_of(problem, net.to(problem.devices.device), self.config.proxy, batch)
            )
        before = state.sums or [0.0] * len(candidates)
        state.sums = [a + b for a, b in zip(before, scores, strict=True)]  # 2
        return {"candidates": float(len(candidates))}

    def derive(self, state: ZeroCostPTState, space: SearchSpace) -> Architecture:
        """The best of the validation; before it, what the search under way has decided."""
        if state.sums:
            return space.parse(_different(state.found)[best(np.array(state.sums), 1)[0]])
        return state.projection.derive(softmax_gates(space, state.alphas))

    def _projection(self, space: SearchSpace) -> Projection:
        return Projection(space, run=self.config.zero_op == "run")


def _different(found: list[str]) -> list[str]:
    return list(dict.fromkeys(found))
