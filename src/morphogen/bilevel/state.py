"""The two descents that every gradient-based search shares: weights by SGD, alphas by Adam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from morphogen.bilevel.gates import start_alphas
from morphogen.bilevel.hypergradient import Hypergradient
from morphogen.core import SpaceError
from morphogen.core.config import Amount, Rate, Share, config
from morphogen.supernets import Gates, Supernet
from morphogen.tasks.problem import Batch, Clock, Problem, trainable


@config
class SGD:
    """Optimiser of the supernet's weights: SGD, cosine learning rate constant within an epoch."""

    lr: Rate = 0.025
    """learning rate of the first epoch (DARTS: 0.025)"""
    lr_end: Amount = 0.001
    """floor of the cosine (DARTS code: 0.001; paper: 0)"""
    momentum: Share = 0.9
    """mu (DARTS: 0.9)"""
    nesterov: bool = True
    """Nesterov's momentum (NAS-Bench-201 protocol: yes; DARTS space: no)"""
    weight_decay: Amount = 5e-4
    """lambda (NAS-Bench-201 protocol: 5e-4; DARTS space: 3e-4)"""
    clip: Amount = 5.0
    """largest norm of the gradient; 0 does not clip (5)"""

    def at(self, clock: Clock) -> float:
        """The learning rate of the clock's epoch."""
        return clock.cosine(self.lr, self.lr_end)


@config
class Adam:
    """Optimiser of the architecture parameters alpha."""

    lr: Rate = 3e-4
    """learning rate (paper: 3e-4)"""
    betas: tuple[Share, Share] = (
        0.5,
        0.999,
    )
    """decay of the two moments (paper: 0.5 0.999)"""
    weight_decay: Amount = 1e-3
    """L2 added to the gradient (paper: 1e-3)"""


@dataclass
class SupernetState:
    """A supernet and the optimiser of its weights."""

    net: Supernet
    weight_optimiser: torch.optim.SGD
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


def optimiser_of(net: Supernet, sgd: SGD) -> torch.optim.SGD:
    """A new optimiser of the weights of `net`."""
    return torch.optim.SGD(
        trainable(net).values(),
        lr=sgd.lr,
        momentum=sgd.momentum,
        nesterov=sgd.nesterov and sgd.momentum > 0,
        weight_decay=sgd.weight_decay,
    )


@dataclass
class BilevelState(SupernetState):
    """What a gradient-based search has learned so far."""

    alphas: list[Tensor]
    """One float32 leaf [choices, widest] per group of the space, in group order."""
    alpha_optimiser: torch.optim.Adam

    @classmethod
    def start(cls, problem: Problem, weights: SGD, alpha: Adam) -> Self:
        """A new supernet, alphas near zero, and their optimisers."""
        net = new_supernet(problem)
        alphas = start_alphas(problem.space, problem.search_rng, problem.devices.device)
        adam = torch.optim.Adam(
            alphas, lr=alpha.lr, betas=alpha.betas, weight_decay=alpha.weight_decay
        )
        return cls(net, optimiser_of(net, weights), alphas, adam)

    @property
    def momentum_buffers(self) -> list[Tensor | None]:
        """SGD's buffer of each weight; None before its first step."""
        steps = self.weight_optimiser.state
        return [steps[w].get("momentum_buffer") if w in steps else None for w in self.weights]


def weight_step(
    state: SupernetState, problem: Problem, batch: Batch, gates: Gates, sgd: SGD, clock: Clock
) -> Tensor:
    """One SGD step on the supernet's weights with the gates held fixed; returns the loss.

    A weight that the gates leave out gets no gradient, and so no decay and no momentum either.
    """
    loss, gradients = weight_gradient(state, problem, batch, gates)
    for group in state.weight_optimiser.param_groups:
        group["lr"] = sgd.at(clock)
    descend(state, gradients, clip=sgd.clip)
    return loss


def weight_gradient(
    state: SupernetState, problem: Problem, batch: Batch, gates: Gates
) -> tuple[Tensor, list[Tensor | None]]:
    """The loss and its gradient by each of `state.weights`; None where the gates leave one out."""
    weights = state.weights
    loss = problem.loss(state.net, gates.detach(), batch)
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    loss, *means = problem.mean_over_ranks(
        [loss.detach(), *(g for g in gradients if g is not None)]
    )
    rest = iter(means)
    return loss, [None if g is None else next(rest) for g in gradients]


def descend(state: SupernetState, gradients: Sequence[Tensor | None], *, clip: float) -> None:
    """A step of the weights' optimiser along these gradients; a weight without one stays."""
    used = [(w, g) for w, g in zip(state.weights, gradients, strict=True) if g is not None]
    _apply(state.weight_optimiser, [w for w, _ in used], [g for _, g in used], clip=clip)


def alpha_step(state: BilevelState, gradient: Hypergradient) -> None:
    """One Adam step on the alphas."""
    _apply(state.alpha_optimiser, state.alphas, gradient.total)


def _apply(
    optimiser: torch.optim.Optimizer,
    tensors: Sequence[Tensor],
    gradients: Sequence[Tensor],
    clip: float = 0.0,
) -> None:
    """Step with these gradients, their joint norm at most `clip` (0: any); leave no `.grad`."""
    for tensor, gradient in zip(tensors, gradients, strict=True):
        tensor.grad = gradient
    if clip:
        clip_grad_norm_(tensors, clip)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
