"""DARTS: differentiable architecture search, first and second order.

Paper: Liu, Simonyan, Yang. ICLR 2019. arXiv 1806.09055.

    repeat until the budget is spent, on a training batch and a search-validation batch
        1. alpha step: Adam along the gradient of L_val(w - xi grad_w L_train(w, alpha), alpha);
           xi = 0 in first order, xi = the weights' learning rate in second order (Eq. 7)
        2. weight step: SGD on L_train(w, alpha), on the same training batch
    return the strongest operations, by the space's own rule

The relaxation is a softmax over the options of each choice (Eq. 2).

Departures. On NAS-Bench-201 the order of 1 and 2 depends on the order of the gradient (`order`), as
in that benchmark's own baselines (Dong and Yang, arXiv 2001.00326), which are what published
figures of "DARTS on NAS-Bench-201" mean; the paper's preset has alpha first elsewhere. Running
statistics of batch norms are not moved by alpha steps; the authors' code moves them, with shifted
weights. Weight gradients are clipped without the alphas in the norm. As in the authors' code, the
unrolled step knows neither Nesterov's momentum nor clipping; `exact_unroll` gives it the former.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from morphogen.bilevel.gates import probabilities, softmax_gates
from morphogen.bilevel.hypergradient import Hypergradient, first_order, unrolled
from morphogen.bilevel.optimisers import SGD, Adam
from morphogen.bilevel.regularisation import EVERY
from morphogen.bilevel.state import BilevelState, alpha_step, weight_step
from morphogen.core import Architecture
from morphogen.core.config import Amount, Few, config
from morphogen.methods._contract import QUICK_RATES, Metrics, method
from morphogen.spaces import Differentiable, SearchSpace
from morphogen.supernets import Gates
from morphogen.tasks import Batch
from morphogen.tasks.problem import Clock, Problem


@config
class DARTSConfig:
    """DARTS, as the NAS-Bench-201 baselines run it."""

    second_order: bool = False
    """xi = the weights' learning rate: the gradient through one unrolled step (paper: both)"""
    order: Literal["nasbench201", "alpha-first", "weights-first"] = "nasbench201"
    """which step comes first: alpha-first is the DARTS paper's; nasbench201 is weights-first in
    first order and alpha-first in second order"""
    radius: Amount = 0.01
    """r of the finite difference for the mixed second derivative; 0 takes it exactly (0.01)"""
    inner_steps: Few = 1
    """weight steps per alpha step, each on a fresh training batch (paper: 1)"""
    exact_unroll: bool = False
    """unroll Nesterov's step if the optimiser takes one (authors' code: no)"""
    weights: SGD = SGD()
    alpha: Adam = Adam()


PLAIN_SGD = {"weights.nesterov": False, "weights.weight_decay": 3e-4}
"""Optimiser of the weights in the authors' code and in that of NAS-Bench-1Shot1."""


ROBUST_SPACES = ("darts-s1", "darts-s2", "darts-s3", "darts-s4")
"""Spaces of RobustDARTS, arXiv 1909.09656, whose searches are second-order."""


@method(
    "darts",
    config=DARTSConfig,
    needs=[Differentiable],
    epochs=50,
    quick=QUICK_RATES,
    published={
        "darts": {"order": "alpha-first", **PLAIN_SGD},
        **{
            space: {"order": "alpha-first", "second_order": True, **PLAIN_SGD}
            for space in ROBUST_SPACES
        },
        "nasbench1shot1": {"order": "alpha-first", "batch_size": 96, **PLAIN_SGD},
    },
    takes=EVERY,
)
class DARTS:
    """Alternating descent: alphas on validation batches, weights on training batches."""

    def __init__(self, config: DARTSConfig) -> None:
        self.config = config

    def init(self, problem: Problem) -> BilevelState:
        """A new supernet and alphas near zero."""
        return BilevelState.start(problem, self.config.weights, self.config.alpha)

    def step(self, state: BilevelState, problem: Problem, clock: Clock) -> Metrics:
        """One alpha step and one weight step (`inner_steps` of them)."""
        c = self.config
        trains = [problem.batch("train") for _ in range(c.inner_steps)]
        valid = problem.batch("valid")
        first = c.order == "alpha-first" or (c.order == "nasbench201" and c.second_order)
        if first:
            gradient = self._alpha_step(state, problem, trains[0], valid, clock)  # 1
        gates = self.gates(state, problem.space)
        losses = [weight_step(state, problem, b, gates, c.weights, clock) for b in trains]  # 2
        if not first:
            gradient = self._alpha_step(state, problem, trains[-1], valid, clock)  # 1
        return {"train_loss": torch.stack(losses).mean(), "valid_loss": gradient.loss}

    def _alpha_step(
        self, state: BilevelState, problem: Problem, train: Batch, valid: Batch, clock: Clock
    ) -> Hypergradient:
        c = self.config

        def relaxation(alphas: Sequence[Tensor]) -> Gates:
            return softmax_gates(problem.space, alphas, state.option_masks)

        outer = problem.bilevel_loss(state.net, relaxation, valid)
        if c.second_order:
            gradient = unrolled(
                problem.bilevel_loss(state.net, relaxation, train),
                outer,
                state.weights,
                state.alphas,
                lr=c.weights.at(clock),
                momentum=c.weights.momentum,
                buffers=state.momentum_buffers,
                weight_decay=c.weights.weight_decay,
                nesterov=c.exact_unroll and c.weights.nesterov,
                radius=c.radius or None,
                reduce=problem.mean_over_ranks,
            )
        else:
            gradient = first_order(
                outer, state.weights, state.alphas, reduce=problem.mean_over_ranks
            )
        alpha_step(state, problem, gradient.total, c.alpha, clock)
        return gradient

    def gates(self, state: BilevelState, space: SearchSpace) -> Gates:
        """The softmax of alpha over the live options."""
        return softmax_gates(space, state.alphas, state.option_masks)

    def derive(self, state: BilevelState, space: SearchSpace) -> Architecture:
        """The strongest operations by the space's rule."""
        return space.derive(probabilities(space, state.alphas, state.option_masks))
