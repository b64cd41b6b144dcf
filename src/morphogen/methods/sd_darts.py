"""SD-DARTS: self-distillation from earlier supernets with voting teachers (a reconstruction).

Paper: Zhu, Li, Liu, Wang. Neural Networks, 2023. arXiv 2302.05629.

"Improving Differentiable Architecture Search via Self-Distillation".

    repeat until the budget is spent, on a training batch and a search-validation batch
        1. alpha step: Adam along the gradient of L_val(w, alpha), the weights held fixed
        2. the teachers, the last K states (w, alpha) that were kept, vote on the training batch:
               p = mean of softmax(f(x; w_k, alpha_k) / tau)
        3. every g steps the present state is kept, before the weights move; the oldest makes room
        4. weight step: SGD along the gradient of
               L_train(w, alpha) + lambda tau^2 KL(p || softmax(f(x; w, alpha) / tau))
    return the strongest operations, by the space's own rule

Where a step changes the loss little, its minimum is flat: the change is the step times the squared
gradient. Holding outputs near those of earlier states holds that change small, and not the loss. A
flat minimum should lose less when the supernet is discretised. `sharpness`, measured after every
epoch, is the rise of the search-validation loss by a step of length rho along its gradient in w.

Departures. This is a reconstruction from the paper's abstract: neither its formulas and settings
nor any code of its authors were available, so every formula and number here is our own choice, and
those that SAF (Du et al., NeurIPS 2022, arXiv 2205.14083) has are its own: tau, its square before
the divergence, and a beginning after a tenth of the epochs. Teachers of earlier epochs, not of
earlier steps (`--gap 1`), are the default, since the divergence from a step ago is too small to
matter. They see the student's batch, normalise by its statistics, and move no running ones. Outputs
that are no class scores are held near the mean of the teachers' by their squared distance. There is
no cache of outputs in place of the teachers' passes, and no second order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from morphogen.bilevel.curvature import sharpness
from morphogen.bilevel.gates import probabilities, softmax_gates
from morphogen.bilevel.hypergradient import first_order
from morphogen.bilevel.optimisers import SGD, Adam
from morphogen.bilevel.regularisation import EVERY
from morphogen.bilevel.state import BilevelState, alpha_step, weight_step
from morphogen.bilevel.teachers import Teachers, Vote, distance, divergence, voted
from morphogen.core import Architecture, ConfigError
from morphogen.core.config import Amount, Few, Natural, Positive, Share, SomeImages, config
from morphogen.methods._contract import QUICK_RATES, Metrics, method
from morphogen.spaces import Differentiable, SearchSpace
from morphogen.supernets import Gates, frozen_statistics
from morphogen.supernets.global_rng import forked_rng
from morphogen.tasks import Batch
from morphogen.tasks.problem import Clock, Problem


@config
class SDDARTSConfig:
    """SD-DARTS, reconstruction."""

    teachers: Few = 3
    """K, earlier states that vote (paper: not known; several)"""
    strength: Amount = 1.0
    """lambda, weight of the divergence from them; 0: plain first-order DARTS (paper: not known)"""
    tau: Positive = 5.0
    """temperature of both in the divergence (paper: not known; SAF: 5)"""
    gap: Natural = 0
    """g, steps between two states that are kept; 0: an epoch (paper: not known)"""
    warm_up: Share = 0.1
    """share of the epochs before distillation begins (paper: not known; SAF: 5 epochs)"""
    vote: Vote = "mean"
    """how teachers are put together: mean of their probabilities; majority, of their best classes;
    weighted, the mean by exp(-loss) of each on the batch (paper: by voting)"""
    own_alpha: bool = True
    """teachers run with the alphas that they had, not with the present ones"""
    distill_alpha: bool = False
    """alpha steps, too, have the divergence in their loss, on the validation batch"""
    sharpness_radius: Amount = 0.05
    """rho, length of the step by which sharpness is measured after every epoch; 0: it is not"""
    sharpness_examples: SomeImages = 1024
    """search-validation examples on which it is measured; 0: all"""
    weights: SGD = SGD()
    alpha: Adam = Adam()


@dataclass
class SDDARTSState(BilevelState):
    """The supernet, and its earlier states."""

    teachers: Teachers
    steps: int
    """Weight steps so far."""


@method(
    "sd-darts",
    config=SDDARTSConfig,
    needs=[Differentiable],
    epochs=50,
    quick={**QUICK_RATES, "strength": 3.0},  # with 1 the effect of a few epochs is near to noise
    published={"darts": {"weights.nesterov": False, "weights.weight_decay": 3e-4}},
    takes=EVERY,
)
class SDDARTS:
    """First-order DARTS, whose weights learn from its earlier supernets as well."""

    def __init__(self, config: SDDARTSConfig) -> None:
        self.config = config

    def init(self, problem: Problem) -> SDDARTSState:
        """A new supernet, alphas near zero, no teachers."""
        c = self.config
        if c.vote != "mean" and not _classes(problem):
            raise ConfigError(
                f"vote is {c.vote!r}, and outputs for this task are no scores of classes; "
                "accepted: mean"
            )
        start = BilevelState.start(problem, c.weights, c.alpha)
        return SDDARTSState(
            start.net,
            start.weight_optimiser,
            start.alphas,
            start.alpha_optimiser,
            Teachers(c.teachers, problem.devices.device),
            0,
        )

    def step(self, state: SDDARTSState, problem: Problem, clock: Clock) -> Metrics:
        """One alpha step and one weight step; after an epoch's last the sharpness."""
        c = self.config
        train, valid = problem.batch("train"), problem.batch("valid")
        valid_loss = self._alpha_step(state, problem, valid, clock)  # 1
        told: dict[str, float | Tensor] = {"valid_loss": valid_loss}
        pull = self._pull(state, problem, train, clock)  # 2
        if state.steps % (c.gap or clock.steps) == 0:
            state.teachers.keep(state.steps, state.net, state.alphas)  # 3
        state.steps += 1
        terms: list[Tensor] = []
        gates = self.gates(state, problem.space)
        loss = weight_step(  # 4
            state, problem, train, gates, c.weights, clock, more=_noting(pull, terms)
        )
        for term in problem.mean_over_ranks(terms):
            told["distillation"] = term
            loss = loss - term
        if clock.last and c.sharpness_radius:
            told["sharpness"], told["gradient_norm"] = sharpness(
                problem,
                state.net,
                self.gates(state, problem.space),
                examples=c.sharpness_examples,
                radius=c.sharpness_radius,
            )
        return {"train_loss": loss, **told}

    def _alpha_step(
        self, state: SDDARTSState, problem: Problem, valid: Batch, clock: Clock
    ) -> Tensor:
        pull = self._pull(state, problem, valid, clock) if self.config.distill_alpha else None
        outer = problem.bilevel_loss(
            state.net, lambda alphas: softmax_gates(problem.space, alphas), valid, more=pull
        )
        gradient = first_order(outer, state.weights, state.alphas, reduce=problem.mean_over_ranks)
        alpha_step(state, problem, gradient.total, self.config.alpha, clock)
        return gradient.loss

    def _pull(
        self, state: SDDARTSState, problem: Problem, batch: Batch, clock: Clock
    ) -> Callable[[Any], Tensor] | None:
        """What the loss on a batch has more, of the student's output; None without teachers."""
        c = self.config
        begun = clock.epoch >= c.warm_up * clock.epochs
        if not (c.strength and begun and state.teachers.held):
            return None
        outputs = self.taught(state, problem, batch)
        if not _classes(problem):
            return lambda output: c.strength * distance(output, outputs)
        losses: list[Tensor] = []
        if c.vote == "weighted":
            losses = problem.mean_over_ranks([problem.task.loss(o, batch.y) for o in outputs])
        target = voted(outputs, c.tau, c.vote, losses)
        return lambda output: c.strength * divergence(output, target, c.tau)

    def taught(self, state: SDDARTSState, problem: Problem, batch: Batch) -> Sequence[Any]:
        """The outputs of the teachers on a batch, without gradient; the student is untouched.

        Norms use the batch's statistics, as the student's do.
        """
        outputs = []
        for teacher in state.teachers.held:
            alphas = teacher.alphas if self.config.own_alpha else state.alphas
            gates = softmax_gates(problem.space, alphas).detach()
            with torch.no_grad(), frozen_statistics(state.net), forked_rng(problem.devices.device):
                outputs.append(problem.forward(state.net, gates, batch.x, teacher.weights))
        return outputs

    def gates(self, state: SDDARTSState, space: SearchSpace) -> Gates:
        """The softmax of alpha, every option live."""
        return softmax_gates(space, state.alphas)

    def derive(self, state: SDDARTSState, space: SearchSpace) -> Architecture:
        """The strongest operations by the space's rule."""
        return space.derive(probabilities(space, state.alphas))


def _classes(problem: Problem) -> bool:
    """Whether outputs are scores of classes, on the second axis."""
    return bool(problem.task.describe().get("classes"))


def _noting(
    pull: Callable[[Any], Tensor] | None, terms: list[Tensor]
) -> Callable[[Any], Tensor] | None:
    """The term, which leaves its value in `terms`."""
    if pull is None:
        return None

    def noted(output: Any) -> Tensor:
        value = pull(output)
        terms.append(value.detach())
        return value

    return noted
