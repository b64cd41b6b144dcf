"""The state that gradient-based searches share, and its steps: of weights, of alphas, of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from morphogen.bilevel.gates import Masks, start_alphas
from morphogen.bilevel.optimisers import (
    Optimiser,
    descend,
    gradient_step,
    loss_and_gradients,
    set_rate,
)
from morphogen.core import SpaceError
from morphogen.supernets import Gates, Supernet
from morphogen.tasks import Batch
from morphogen.tasks.problem import Clock, Problem, trainable


@dataclass
class SupernetState:
    """A supernet and the optimiser of its weights."""

    net: Supernet
    weight_optimiser: torch.optim.Optimizer
    """Holds the supernet's parameters, never an alpha."""

    @property
    def weights(self) -> list[Tensor]:
        """The supernet's parameters, in a fixed order; not those that the user has frozen."""
        return list(trainable(self.net).values())


def new_supernet(problem: Problem) -> Supernet:
    """The problem's supernet, or a `SpaceError` if it has nothing to train."""
    net = problem.supernet()
    if not trainable(net):
        raise SpaceError(
            f"the supernet of {problem.space.name!r} has no parameter to train; accepted: at "
            "least one with requires_grad"
        )
    return net


@dataclass
class BilevelState(SupernetState):
    """What a gradient-based search has learned so far."""

    alphas: list[Tensor]
    """One float32 leaf [choices, widest] per group of the space, in group order; and where edges
    are normalised one [choices, 1] per group after them."""
    alpha_optimiser: torch.optim.Optimizer

    @classmethod
    def start(cls, problem: Problem, weights: Optimiser, alpha: Optimiser) -> Self:
        """A new supernet, alphas near zero, and their optimisers."""
        net = new_supernet(problem)
        alphas = start_alphas(
            problem.space,
            problem.search_rng,
            problem.devices.device,
            edges=problem.edge_normalisation,
        )
        return cls(net, weights.make(trainable(net).values()), alphas, alpha.make(alphas))

    @property
    def option_masks(self) -> Masks:
        """Masks of the options that the search may use; None: all. A leaf has fewer."""
        return None

    @property
    def momentum_buffers(self) -> list[Tensor | None]:
        """SGD's buffer of each weight; None before its first step, and where there is none."""
        steps = self.weight_optimiser.state
        return [steps[w].get("momentum_buffer") if w in steps else None for w in self.weights]


def weight_step(
    state: SupernetState,
    problem: Problem,
    batch: Batch,
    gates: Gates,
    config: Optimiser,
    clock: Clock,
    *,
    more: Callable[[Any], Tensor] | None = None,
) -> Tensor:
    """One step on the supernet's weights with the gates held fixed; returns the loss.

    A weight that the gates leave out gets no gradient, and so no decay and no momentum either.

    Args:
        state: supernet and optimiser.
        problem: loss and mean over processes.
        batch: examples.
        gates: under which the supernet runs, see `Problem.weight_gates`.
        config: rate and clip.
        clock: where the search stands.
        more: a further term of the loss, of the supernet's output.
    """
    gates = problem.weight_gates(state.net, gates, batch)
    loss = problem.loss(state.net, gates, batch, more=more)
    return gradient_step(
        state.weight_optimiser, state.weights, loss, config, clock, problem.mean_over_ranks
    )


def alpha_step(
    state: BilevelState,
    problem: Problem,
    gradients: Sequence[Tensor],
    config: Optimiser,
    clock: Clock,
) -> None:
    """One step on the alphas along `gradients`, one for each, and along the problem's penalty."""
    if not problem.alpha_moves:
        return
    penalty = problem.alpha_penalty(state.alphas)
    if penalty is not None:
        by_penalty = torch.autograd.grad(penalty, state.alphas, materialize_grads=True)
        gradients = [g + p for g, p in zip(gradients, by_penalty, strict=True)]
    set_rate(state.alpha_optimiser, config.at(clock))
    descend(state.alpha_optimiser, state.alphas, gradients, clip=config.clip)


def joint_step(
    state: BilevelState,
    problem: Problem,
    loss: Tensor,
    weights: Optimiser,
    alpha: Optimiser,
    clock: Clock,
    *,
    penalty: Tensor | None = None,
) -> Tensor:
    """One step on weights and alphas, along the gradient of one loss by both; returns the loss.

    One backward pass, two optimisers: single-level search (SNAS, arXiv 1812.09926). The norms of
    the two gradients are clipped apart. As in the other steps, a weight that the loss does not
    depend on stays as it is, and an alpha has a gradient of zeros.

    Args:
        state: supernet, alphas, optimisers.
        problem: averages over processes.
        loss: a scalar in whose graph weights and alphas are, as of `problem.loss` under gates that
            are not detached.
        weights: rate and clip of the weights' step.
        alpha: those of the alphas' step.
        clock: where the search stands.
        penalty: a scalar of the alphas alone that is minimised with the loss, the same on all
            processes; not in the number that is returned.
    """
    tensors = state.weights
    value, gradients = loss_and_gradients(
        loss if penalty is None else loss + penalty,
        [*tensors, *state.alphas],
        problem.mean_over_ranks,
    )
    by_weights, by_alphas = gradients[: len(tensors)], gradients[len(tensors) :]
    set_rate(state.weight_optimiser, weights.at(clock))
    descend(state.weight_optimiser, tensors, by_weights, clip=weights.clip)
    pairs = zip(state.alphas, by_alphas, strict=True)
    filled = [torch.zeros_like(a) if g is None else g for a, g in pairs]
    alpha_step(state, problem, filled, alpha, clock)
    return value if penalty is None else value - penalty.detach()
