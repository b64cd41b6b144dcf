"""iDARTS: differentiable architecture search with stochastic implicit gradients.

Paper: Zhang, Su, Pan, Chang, Abbasnejad, Haffari. ICML 2021. arXiv 2106.10784.

    repeat until the budget is spent
        1. T SGD steps on the weights w, each on a fresh training batch, alpha fixed
        2. on a validation batch i and one more training batch j, at the same w:
           v = grad_w L_val^i,  g = grad_alpha L_val^i - gamma M_j' sum_{k=0..K} (I - gamma H_j)^k v
           with H_j the Hessian of L_train^j in w and M_j its mixed derivative (Eq. 12)
        3. one Adam step on alpha along g
    return the strongest operation of every choice

Departures. The Hessian and mixed products are exact; the authors' code takes the mixed one by
finite differences and displaces the weights by 0.01 ||p|| / ||v||, p the sum of the series, about
0.03 for K = 2; here `radius` is the displacement itself. Weight decay and momentum are no part of
L_train in 2, as there. Their code leaves the weights shifted after 2 (they are restored with v in
place of the sum of the series), and in one variant that shift is all that trains them; here the
weights stay bit for bit, and `official_noise` adds that shift and nothing else. Running statistics
of batch norms move in 1 only. An epoch is a pass over the validation part, so the weights see T
times as many batches.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from morphogen.bilevel.gates import probabilities, softmax_gates
from morphogen.bilevel.hypergradient import neumann
from morphogen.bilevel.optimisers import SGD, Adam
from morphogen.bilevel.regularisation import EVERY
from morphogen.bilevel.state import BilevelState, alpha_step, weight_step
from morphogen.core import Architecture
from morphogen.core.config import Amount, Few, config
from morphogen.core.ranges import FEW
from morphogen.methods._contract import QUICK_RATES, Metrics, method
from morphogen.spaces import Differentiable, SearchSpace
from morphogen.supernets import Gates
from morphogen.tasks import Batch
from morphogen.tasks.problem import BilevelLoss, Clock, Problem

SHIFT_RADIUS = 0.01
"""R ||v|| of the authors' finite difference, whose faulty undoing `official_noise` reproduces."""


@config
class IDARTSConfig:
    """iDARTS, as its authors run it on NAS-Bench-201."""

    inner_steps: Few = 4
    """T, weight steps per alpha step (paper: 4; NAS-Bench-1Shot1: 5)"""
    neumann_terms: Annotated[int, Field(ge=0, le=FEW.most)] = 2
    """K, Hessian-vector products per alpha step; 0 keeps the identity alone (paper: 2)"""
    neumann_step: Amount = 0.0
    """gamma; the series converges below 2 / largest inner-Hessian eigenvalue; 0 takes the weights'
    current learning rate (paper: 0.01; authors' code: the learning rate)"""
    radius: Amount = 0.0
    """displacement of the weights in a finite difference for the mixed product; 0 takes it exactly
    (code: 0.01 / ||v|| times the sum of the series, about 0.03)"""
    independent_batches: bool = False
    """a fresh training batch for each factor, which makes the estimate unbiased (paper: no)"""
    official_noise: bool = False
    """add the weight shift that the authors' code leaves behind (for ablation; paper: no)"""
    weights: SGD = SGD(lr=0.01)
    alpha: Adam = Adam()


PLAIN_SGD = {"weights.lr": 0.025, "weights.nesterov": False, "weights.weight_decay": 3e-4}


@method(
    "idarts",
    config=IDARTSConfig,
    needs=[Differentiable],
    epochs=30,
    quick=QUICK_RATES,
    published={
        "darts": {"epochs": 50, **PLAIN_SGD},
        "nasbench1shot1": {"epochs": 50, "batch_size": 96, "inner_steps": 5, **PLAIN_SGD},
    },
    takes=EVERY,
)
class IDARTS:
    """The architecture's gradient by the implicit function theorem and a short Neumann series."""

    def __init__(self, config: IDARTSConfig) -> None:
        self.config = config

    def init(self, problem: Problem) -> BilevelState:
        """A new supernet and alphas near zero."""
        return BilevelState.start(problem, self.config.weights, self.config.alpha)

    def step(self, state: BilevelState, problem: Problem, clock: Clock) -> Metrics:
        """T weight steps and one alpha step."""
        c = self.config
        gates = self.gates(state, problem.space).detach()
        losses = [  # 1
            weight_step(state, problem, problem.batch("train"), gates, c.weights, clock)
            for _ in range(c.inner_steps)
        ]

        def on(batch: Batch) -> BilevelLoss:
            return problem.bilevel_loss(
                state.net, lambda alphas: softmax_gates(problem.space, alphas), batch
            )

        batches = c.neumann_terms + 1 if c.independent_batches else 1
        gradient = neumann(  # 2
            [on(problem.batch("train")) for _ in range(batches)],
            on(problem.batch("valid")),
            state.weights,
            state.alphas,
            terms=c.neumann_terms,
            step=c.neumann_step or c.weights.at(clock),
            radius=c.radius or None,
            shift_radius=SHIFT_RADIUS if c.official_noise else None,
            reduce=problem.mean_over_ranks,
        )
        alpha_step(state, problem, gradient.total, c.alpha, clock)  # 3
        if gradient.shift is not None:
            with torch.no_grad():
                torch._foreach_add_(state.weights, gradient.shift)
        return {
            "train_loss": torch.stack(losses).mean(),
            "valid_loss": gradient.loss,
            "neumann_growth": gradient.growth,
            "implicit_share": gradient.share,
        }

    def gates(self, state: BilevelState, space: SearchSpace) -> Gates:
        """The softmax of alpha, every option live."""
        return softmax_gates(space, state.alphas)

    def derive(self, state: BilevelState, space: SearchSpace) -> Architecture:
        """The strongest operations by the space's rule."""
        return space.derive(probabilities(space, state.alphas))
