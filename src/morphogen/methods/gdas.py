"""GDAS: searching for a robust neural architecture in four GPU hours.

Paper: Dong, Yang. CVPR 2019. arXiv 1910.04465.

    repeat until the budget is spent
        1. draw one operation per edge from softmax(alpha), by the Gumbel-max trick, for the whole
           batch and all cells; SGD step on the weights of the drawn network
        2. draw anew; Adam step on alpha with the validation loss of the drawn network, the gradient
           going through h = softmax((log_softmax(alpha) + Gumbel noise) / tau) (Eq. 3-5)
        tau falls linearly from 10 in the first epoch to 0.1 in the last
    return the strongest operation of every choice

Only the drawn operations are executed, so a step costs what one network costs. A choice that keeps
several options (the inputs of a node) is not drawn but weighed by h, all its options executed, as
in the runs of NAS-Bench-1Shot1, arXiv 2001.10422.

Departures. The authors' NAS-Bench-201 cell adds the (zero-valued) weights of the operations not
drawn to the node, which alters alpha's gradient by an arbitrary constant; here it is not done, as
in their own DARTS-space cell. In the DARTS space their derivation may keep two operations on one
edge: that is the rule of the space `darts-gdas`; in `darts` its own rule decides. There the pools
of their supernet have no batch norm; here they have the space's. Weights that a pass does not reach
have no gradient and stay as they are, also those behind a drawn `none`; in the authors' code these
have a gradient of zeros, by which decay and momentum move them.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from morphogen.bilevel.gates import probabilities, sampled_path, softmax_gates
from morphogen.bilevel.hypergradient import first_order
from morphogen.bilevel.optimisers import SGD, Adam
from morphogen.bilevel.state import BilevelState, alpha_step, weight_step
from morphogen.core import Architecture
from morphogen.core.config import Positive, config
from morphogen.methods._contract import QUICK_RATES, Metrics, method
from morphogen.spaces import Differentiable, SearchSpace
from morphogen.supernets import Gates
from morphogen.tasks.problem import Clock, Problem


@config
class GDASConfig:
    """GDAS, as its authors run it on NAS-Bench-201."""

    tau_start: Positive = 10.0
    """temperature of the first epoch (paper: 10)"""
    tau_end: Positive = 0.1
    """temperature of the last epoch (paper: 0.1)"""
    weights: SGD = SGD()
    alpha: Adam = Adam()


@method(
    "gdas",
    config=GDASConfig,
    needs=[Differentiable],
    epochs=250,
    quick=QUICK_RATES,
    published={
        "darts": {"network.depth": 6, "batch_size": 256},  # the authors' code
        "nasbench1shot1": {
            "epochs": 100,
            "batch_size": 96,
            "tau_end": 1.0,
            "weights.nesterov": False,
            "weights.weight_decay": 3e-4,
        },
    },
    takes=(
        "partial_channels",
        "edge_normalisation",
        "stop_by_eigenvalue",
        "skip_penalty",
        "alpha_warmup",
    ),
)
class GDAS:
    """One sampled path per step, with the gradient of a concrete sample."""

    def __init__(self, config: GDASConfig) -> None:
        self.config = config

    def init(self, problem: Problem) -> BilevelState:
        """A new supernet and alphas near zero."""
        return BilevelState.start(problem, self.config.weights, self.config.alpha)

    def step(self, state: BilevelState, problem: Problem, clock: Clock) -> Metrics:
        """One weight step and one alpha step, each on a path of its own."""
        c = self.config
        tau = clock.linear(c.tau_start, c.tau_end)

        def drawn(alphas: Sequence[Tensor]) -> Gates:
            return sampled_path(problem.space, alphas, tau, problem.search_rng, state.option_masks)

        train_loss = weight_step(  # 1
            state, problem, problem.batch("train"), drawn(state.alphas), c.weights, clock
        )
        gradient = first_order(  # 2
            problem.bilevel_loss(state.net, drawn, problem.batch("valid")),
            state.weights,
            state.alphas,
            reduce=problem.mean_over_ranks,
        )
        alpha_step(state, problem, gradient.total, c.alpha, clock)
        return {"train_loss": train_loss, "valid_loss": gradient.loss, "tau": tau}

    def gates(self, state: BilevelState, space: SearchSpace) -> Gates:
        """The expectation of the sampled paths: the softmax of alpha."""
        return softmax_gates(space, state.alphas, state.option_masks)

    def derive(self, state: BilevelState, space: SearchSpace) -> Architecture:
        """The strongest operations by the space's rule."""
        return space.derive(probabilities(space, state.alphas, state.option_masks))
