"""DARTSformer: memory-efficient differentiable Transformer architecture search.

Paper: Zhao, Dong, Shen, Zhang, Wei, Chen. Findings of ACL-IJCNLP 2021. arXiv 2105.14669.

    build the supernet of multi-split reversible layers, with weights theta and logits alpha
    repeat until the budget of updates is spent (Algorithm 2)
        1. theta step: Adam along the gradient of the loss on a batch of D_theta, alpha fixed
        2. alpha step: Adam along the gradient of the loss on a batch of D_alpha, theta fixed
    return the strongest operation of each split, zero and identity included

Gradients are those of backpropagation with reconstruction (Algorithm 1), which is the space's own
(`supernets.reversible`): the steps here are one-step bilevel descent, first order, in any space.
D_theta and D_alpha are the search parts `train` and `valid` (paper: 2.5 and 2.0 million pairs).
The learning rate of theta rises for 10,000 steps, then falls with their inverse square root.

Departures. The paper's text was not available; updates are counted as a digest has them, 30,000 of
either kind, and the last is taken. Gradients are not clipped, of which the digest says nothing. An
epoch is a pass over D_alpha in batches of sentences, where the paper's batches have 5,000 tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from morphogen.bilevel.gates import probabilities, softmax_gates
from morphogen.bilevel.hypergradient import first_order
from morphogen.bilevel.optimisers import Adam
from morphogen.bilevel.regularisation import EVERY
from morphogen.bilevel.state import BilevelState, alpha_step, weight_step
from morphogen.core import Architecture
from morphogen.core.config import config
from morphogen.methods._contract import Metrics, method
from morphogen.spaces import Differentiable, SearchSpace
from morphogen.supernets import Gates
from morphogen.tasks.problem import Clock, Problem

BETAS = (0.9, 0.98)


@config
class DARTSformerConfig:
    """DARTSformer, its search as published."""

    weights: Adam = Adam(lr=5e-4, warm_up=10_000, betas=BETAS, weight_decay=0.0)
    alpha: Adam = Adam(lr=3e-4, betas=BETAS, weight_decay=1e-3)


@method(
    "dartsformer",
    config=DARTSformerConfig,
    needs=[Differentiable],
    epochs=50,
    quick={"weights.warm_up": 200, "weights.lr": 2e-3, "alpha.lr": 0.01},
    takes=EVERY,
)
class DARTSformer:
    """One-step bilevel descent by Adam: weights on one part of the data, alphas on the other."""

    def __init__(self, config: DARTSformerConfig) -> None:
        self.config = config

    def init(self, problem: Problem) -> BilevelState:
        """A new supernet and alphas near zero."""
        return BilevelState.start(problem, self.config.weights, self.config.alpha)

    def step(self, state: BilevelState, problem: Problem, clock: Clock) -> Metrics:
        """One theta step and one alpha step."""
        c = self.config

        def relaxation(alphas: Sequence[Tensor]) -> Gates:
            return softmax_gates(problem.space, alphas, state.option_masks)

        gates = self.gates(state, problem.space)
        loss = weight_step(state, problem, problem.batch("train"), gates, c.weights, clock)  # 1
        outer = problem.bilevel_loss(state.net, relaxation, problem.batch("valid"))
        gradient = first_order(outer, state.weights, state.alphas, reduce=problem.mean_over_ranks)
        alpha_step(state, problem, gradient.total, c.alpha, clock)  # 2
        return {"train_loss": loss, "valid_loss": gradient.loss}

    def gates(self, state: BilevelState, space: SearchSpace) -> Gates:
        """The softmax of alpha over the live options."""
        return softmax_gates(space, state.alphas, state.option_masks)

    def derive(self, state: BilevelState, space: SearchSpace) -> Architecture:
        """The strongest operations by the space's rule."""
        return space.derive(probabilities(space, state.alphas, state.option_masks))
