"""DARTS-PT: operations of a trained supernet, chosen by the accuracy that is lost without them.

Paper: Wang, Cheng, Chen, Tang, Hsieh. ICLR 2021. arXiv 2108.04392.

    1. supernet: train it with first-order DARTS, or with alpha fixed near zero (blank); the paper
       also takes SDARTS-RS, which is DARTS with `--perturb random`
    2. selection, with a fresh optimiser of the weights at a tenth of the learning rate:
        a. take an undecided edge, at random
        b. measure the search-validation accuracy without each of its operations, the others as
           they are
        c. keep the operation without which it is lowest
        d. tune the supernet for some epochs with what is decided fixed; go on with a
        e. in cells of nodes, then: at each node, in random order, keep the two edges without which
           the accuracy is lowest; tune
    return what was decided

Both cell types decide something in one go, the reduction cell seeing the normal cell's decision.
Supernets may come from another run (`--from`): then the first phase is left out, and alpha starts
near zero as in `blank`. The authors search the DARTS space without `none`, and so does the paper's
preset (`--without none`).

Departures. The authors measure on the whole search-validation half, augmented; here on a fixed part
of it (`selection_images`), not augmented, the same images for all operations, so that a decision
compares like with like. Batch norms use the statistics of the batch, as theirs do, but the running
ones stay as they are. At nodes the edges are measured once and not again after each edge is
dropped: the measure is the same each time. An edge that keeps `none` is the first to leave its
node; where too few others are left it has the first other operation, as in the authors' code. The
alphas of decided edges get no gradient; SDARTS-RS' noise leaves decided edges alone, and stays at
its end during the selection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from morphogen.bilevel.gates import softmax_gates
from morphogen.bilevel.hypergradient import first_order
from morphogen.bilevel.optimisers import SGD, Adam
from morphogen.bilevel.state import BilevelState, alpha_step, weight_step
from morphogen.core import Architecture
from morphogen.core.config import Natural, Rate, SomeImages, config
from morphogen.evaluators.supernet import SupernetEvaluator
from morphogen.methods._contract import QUICK_RATES, Metrics, Phase, method
from morphogen.scoring import (
    Order,
    Perturbed,
    Projection,
    decide_next,
    inherited_score,
    mean_margin,
    minus_loss,
)
from morphogen.spaces import Differentiable, SearchSpace
from morphogen.supernets import Gates
from morphogen.tasks.problem import Clock, Problem


@config
class DARTSPTConfig:
    """DARTS-PT, as its authors run it."""

    supernet: Literal["darts", "blank"] = "darts"
    """how it is trained: darts, alternating steps; blank, alpha stays near zero (paper: both, and
    SDARTS-RS, which is --perturb random)"""
    criterion: Literal["accuracy", "loss"] = "accuracy"
    """what is measured without an operation (paper: accuracy)"""
    order: Order = "random"
    """which edge is decided next (paper: random)"""
    interval: Natural = 5
    """epochs of tuning between two decisions; 0: none at all (paper: 5)"""
    tuning_lr: Rate = 0.0025
    """learning rate of the weights in the selection, constant (paper: 0.0025)"""
    selection_images: SomeImages = 0
    """search-validation examples that an operation is measured on; 0: all (paper: all)"""
    weights: SGD = SGD(nesterov=False, weight_decay=3e-4)
    alpha: Adam = Adam()


@dataclass
class DARTSPTState(BilevelState):
    """The supernet, and what is decided."""

    projection: Projection
    evaluator: SupernetEvaluator = field(metadata={"checkpoint": False})


def schedule(decisions: int, interval: int, nodes: bool) -> tuple[int, list[int]]:
    """Epochs of the selection, and the epochs that begin with a decision.

    A decision every `interval` epochs. In spaces without nodes the last one comes with the last
    epoch of tuning (NAS-Bench-201: 25 epochs, decisions at 0, 5, 10, 15, 20 and 24), in cells of
    nodes an epoch later (DARTS: 81 epochs, decisions at 0, 5, ..., 80).
    """
    last = interval * (decisions - 1)
    epochs = last + 1 if nodes else max(last, decisions)
    return epochs, [min(interval * k, epochs - 1) for k in range(decisions)]


ROBUST_SPACES = ("darts-s1", "darts-s2", "darts-s3", "darts-s4")
"""Spaces of RobustDARTS, arXiv 1909.09656, which are searched as they are, S3 with `none`."""


@method(
    "darts-pt",
    config=DARTSPTConfig,
    needs=[Differentiable],
    epochs=100,
    selects=True,
    quick={**QUICK_RATES, "interval": 1, "selection_images": 500},
    published={
        **{space: {"epochs": 50} for space in ROBUST_SPACES},
        "darts": {"epochs": 50, "without": "none"},
    },
    takes=("partial_channels", "perturb", "skip_penalty", "alpha_warmup"),
)
class DARTSPT:
    """A supernet's training, then decisions with tuning between them."""

    def __init__(self, config: DARTSPTConfig) -> None:
        self.config = config

    def phases(self, problem: Problem, epochs: int) -> Sequence[Phase]:
        """Training, unless the supernet is trained on these data; then selection."""
        trained = problem.start is not None and problem.start.other_outputs is None
        decisions = Projection(problem.space).steps()
        supernet = Phase("supernet", 0 if trained else epochs)
        if not self.config.interval:
            return supernet, Phase("selection", 1, decisions)
        return supernet, Phase("selection", self._schedule(problem.space)[0])

    def init(self, problem: Problem) -> DARTSPTState:
        """A supernet, alphas near zero, nothing decided."""
        c = self.config
        start = BilevelState.start(problem, c.weights, c.alpha)
        evaluator = SupernetEvaluator(
            problem,
            norms="batch",
            examples=c.selection_images,
            batch_size=max(problem.batch_size, 2 * problem.devices.world),
        )
        return DARTSPTState(
            start.net,
            start.weight_optimiser,
            start.alphas,
            start.alpha_optimiser,
            Projection(problem.space),
            evaluator,
        )

    def step(self, state: DARTSPTState, problem: Problem, clock: Clock) -> Metrics:
        """A step of DARTS, before it perhaps a decision; without tuning a decision alone."""
        c = self.config
        if clock.phase == "supernet":
            return self._train(state, problem, clock, c.weights)  # 1
        if not c.interval:
            return self._decide(state, problem)
        told: Metrics = {}
        if clock.step == 0:
            if clock.epoch == 0:
                state.weight_optimiser = self._tuning.make(state.weights)  # 2
            if clock.epoch in self._schedule(problem.space)[1]:
                told = self._decide(state, problem)
        return {**told, **self._train(state, problem, clock, self._tuning)}  # d

    def _train(self, state: DARTSPTState, problem: Problem, clock: Clock, sgd: SGD) -> Metrics:
        told = {}
        if self.config.supernet != "blank":
            outer = problem.bilevel_loss(state.net, state.projection.gates, problem.batch("valid"))
            gradient = first_order(
                outer, state.weights, state.alphas, reduce=problem.mean_over_ranks
            )
            alpha_step(state, problem, gradient.total, self.config.alpha, clock)
            told["valid_loss"] = gradient.loss
        soft = softmax_gates(problem.space, state.alphas)
        gates = state.projection.onto(soft)
        loss = weight_step(state, problem, problem.batch("train"), gates, sgd, clock)
        return {"train_loss": loss, **told}

    def _decide(self, state: DARTSPTState, problem: Problem) -> Metrics:
        measure = inherited_score if self.config.criterion == "accuracy" else minus_loss
        decisions = decide_next(
            state.projection,
            lambda: state.projection.gates(state.alphas),
            Perturbed(measure(state.evaluator, state.net)),  # b
            self.config.order,  # a
            problem.numpy_rng,
        )  # c, e
        return {"decided": float(len(state.projection.decided)), **mean_margin(decisions)}

    @property
    def _tuning(self) -> SGD:
        c = self.config
        return replace(c.weights, lr=c.tuning_lr, lr_end=c.tuning_lr)

    def _schedule(self, space: SearchSpace) -> tuple[int, list[int]]:
        nodes = bool(space.edge_selections())
        return schedule(Projection(space).steps(), self.config.interval, nodes)

    def gates(self, state: DARTSPTState, space: SearchSpace) -> Gates:
        """The softmax of alpha where nothing is decided."""
        return state.projection.gates(state.alphas)

    def derive(self, state: DARTSPTState, space: SearchSpace) -> Architecture:
        """What is decided; the strongest operations for the rest."""
        return state.projection.derive(softmax_gates(space, state.alphas))
