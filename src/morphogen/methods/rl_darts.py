"""RL-DARTS: the supernet is the agent's encoder, and learns from the agent's own loss.

Paper: Miao, Song, Co-Reyes, Peng, Yue, Brevdo, Faust. AutoML-Conf 2022. arXiv 2106.02229.

    p = softmax(alpha / T) for every edge, alpha = 0 in the beginning
    repeat until the budget is spent
        1. act in the environments with the supernet under p: a mixture of all operations, not a
           sample and not the strongest path
        2. for each minibatch of what was gathered: L = the loss of the agent (PPO) under p
        3. one step of one Adam on weights and alpha together, at one learning rate, along the
           gradient of L, whose norm is clipped as one vector
    return the strongest operations, by the space's own rule

In reinforcement learning data come from the policy that is trained, so that there is no fixed part
to hold out, and no second level: L has nothing of a validation loss, alpha no rate, decay or bonus
of its own. Acting with what is trained keeps rollouts and loss consistent: before the first step on
them the ratio of probabilities is 1. A target network is a copy of weights and alpha.

The task may be any: where the examples are given, step 1 is left out, and both parts of the search
problem remain what they are; `train` is the one that is stepped on.

Alpha moves slowly at the weights' rate, and few percent of entropy decide between operations. So
each epoch's line has the mean weight of every operation (`weight_conv_3x3`), and how far the two
best operations of an edge are apart (`margin`, a mean over edges; `none` does not count). Where the
margin is small the cell could as well be another.

Departures. The paper's text could not be read beyond its abstract; the algorithm is that of its
code (google/brain_autorl, rl_darts). There the temperature multiplies logits in the forward pass
and divides them in the entropy; here p = softmax(alpha / T) everywhere, the same at T = 1. The code
of the cells has a batch norm that computes nothing; see `cell_norm` of the space. Rainbow and SAC,
with which the paper trains supernets, too, are not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from morphogen.bilevel.gates import relaxed_gates, start_alphas
from morphogen.bilevel.optimisers import Adam, gradient_step
from morphogen.bilevel.state import new_supernet
from morphogen.core import Architecture
from morphogen.core.config import Positive, config
from morphogen.methods._contract import Metrics, Phase, method
from morphogen.spaces import Differentiable, SearchSpace
from morphogen.supernets import Gates, Supernet
from morphogen.supernets.relaxations import tempered
from morphogen.tasks.problem import Clock, Problem, trainable

NOTHING = "none"
"""The operation that is in the softmax and is never kept."""


@config
class RLDARTSConfig:
    """RL-DARTS."""

    temperature: Positive = 1.0
    """T of the softmax (authors' code: 1)"""
    weights: Adam = Adam(lr=5e-4, betas=(0.9, 0.999), weight_decay=0.0, clip=0.5, eps=1e-5)
    """the one optimiser, of weights and alpha alike"""


@dataclass
class RLDARTSState:
    """Supernet, alphas, and what moves both."""

    net: Supernet
    alphas: list[Tensor]
    """One float32 leaf [choices, widest] per group of the space, in group order."""
    optimiser: torch.optim.Optimizer

    @property
    def learned(self) -> list[Tensor]:
        """The supernet's parameters, in a fixed order, and after them the alphas.

        Without those that are held fixed (`requires_grad` off), of either.
        """
        return [*trainable(self.net).values(), *(a for a in self.alphas if a.requires_grad)]


@method(
    "rl-darts",
    config=RLDARTSConfig,
    needs=[Differentiable],
    epochs=50,
    quick={"epochs": 50, "diagnostics.images": 10},  # episodes, where it gathers: dear to play
    published={"rl-darts": {"epochs": 382}},  # 25 million frames of Procgen
)
class RLDARTS:
    """Joint descent on weights and architecture, on examples that the supernet gathers itself."""

    def __init__(self, config: RLDARTSConfig) -> None:
        self.config = config

    def phases(self, problem: Problem, epochs: int) -> Sequence[Phase]:
        """One; its epoch is what was gathered at once, or a pass over the training part."""
        return [Phase("search", epochs, part="train")]

    def init(self, problem: Problem) -> RLDARTSState:
        """A new supernet in which all operations of an edge count the same."""
        net = new_supernet(problem)
        alphas = start_alphas(problem.space, problem.search_rng, problem.devices.device, scale=0.0)
        together = [*trainable(net).values(), *alphas]
        return RLDARTSState(net, alphas, self.config.weights.make(together))

    def step(self, state: RLDARTSState, problem: Problem, clock: Clock) -> Metrics:
        """One step on weights and alphas; the engine has the epoch's examples gathered (1)."""
        gates = self.gates(state, problem.space)
        loss = problem.loss(state.net, gates, problem.batch("train"))  # 2
        loss = gradient_step(  # 3
            state.optimiser,
            state.learned,
            loss,
            self.config.weights,
            clock,
            problem.mean_over_ranks,
        )
        told: dict[str, float | Tensor] = {"train_loss": loss}
        if clock.last:
            told |= standing(problem.space, self.gates(state, problem.space).detach())
        return told

    def gates(self, state: RLDARTSState, space: SearchSpace) -> Gates:
        """p, with which the agent acts."""
        return relaxed_gates(
            space, state.alphas, lambda a, mask: tempered(a, self.config.temperature, mask)
        )

    def derive(self, state: RLDARTSState, space: SearchSpace) -> Architecture:
        """The strongest operations by the space's rule."""
        weights = self.gates(state, space).detach().weights
        return space.derive({group: w.cpu().numpy() for group, w in weights.items()})


def standing(space: SearchSpace, gates: Gates) -> dict[str, float]:
    """What the gates prefer: the mean weight of each option, and the margin of the best.

    An option's weight is a mean over the choices that have it. The margin is the difference of the
    two largest weights of a choice, `none` left out, a mean over the choices that have two.
    """
    weights: dict[str, list[float]] = {}
    margins = []
    for group, choices in space.groups.items():
        for choice, row in zip(choices, gates.weights[group].cpu().tolist(), strict=True):
            pairs = list(zip(choice.options, row, strict=False))
            for option, weight in pairs:
                weights.setdefault(option, []).append(weight)
            best = sorted((w for option, w in pairs if option != NOTHING), reverse=True)
            if len(best) > 1:
                margins.append(best[0] - best[1])
    told = {f"weight_{option}": sum(held) / len(held) for option, held in weights.items()}
    return told | ({"margin": sum(margins) / len(margins)} if margins else {})
