"""One configuration of an optimiser, for weights and for alphas, in searches and in trainings.

A configuration makes its torch optimiser (`make`), says the learning rate of a step (`at`) and
the largest norm of a gradient (`clip`). `gradient_step` is the step of every training here: of a
supernet's weights, of a short training, of a training from scratch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from morphogen.bilevel.hypergradient import Reduce, unchanged
from morphogen.core import ConfigError
from morphogen.core.config import Amount, Natural, Rate, Share, config
from morphogen.tasks.problem import Clock


@config
class SGD:
    """Stochastic gradient descent, its learning rate a cosine that is constant within an epoch."""

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

    def make(self, tensors: Iterable[Tensor]) -> torch.optim.SGD:
        """A new optimiser of these tensors."""
        return torch.optim.SGD(
            tensors,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov and self.momentum > 0,
            weight_decay=self.weight_decay,
        )

    def at(self, clock: Clock) -> float:
        """The learning rate of the clock's epoch."""
        return clock.cosine(self.lr, self.lr_end)


@config
class Adam:
    """Adam; its learning rate is constant, or a cosine as that of `SGD`, or warms up and falls."""

    lr: Rate = 3e-4
    """learning rate (paper: 3e-4)"""
    lr_end: Amount = 0.0
    """floor of a cosine that begins at lr; 0: the learning rate stays as it is (paper: constant)"""
    warm_up: Natural = 0
    """steps, at most half of all, in which the learning rate rises from 0 to lr, then to fall
    with the inverse square root of the steps (Transformer: 4000); 0: it does not"""
    betas: tuple[Share, Share] = (
        0.5,
        0.999,
    )
    """decay of the two moments (paper: 0.5 0.999)"""
    weight_decay: Amount = 1e-3
    """L2 added to the gradient (paper: 1e-3)"""
    clip: Amount = 0.0
    """largest norm of the gradient; 0 does not clip (paper: 0)"""
    eps: Amount = 1e-8
    """added to the root of the second moment (paper: 1e-8)"""

    def __post_init__(self) -> None:
        if self.warm_up and self.lr_end:
            raise ConfigError(
                f"lr_end is {self.lr_end:g} and warm_up {self.warm_up}; accepted: one of the two, "
                "the other 0"
            )

    def make(self, tensors: Iterable[Tensor]) -> torch.optim.Adam:
        """A new optimiser of these tensors."""
        return torch.optim.Adam(
            tensors, lr=self.lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay
        )

    def at(self, clock: Clock) -> float:
        """The learning rate of the clock's epoch; where it warms up, of its step.

        lr min(t / T, sqrt(T / t)) in step t = 1, 2, ... (Vaswani et al., NeurIPS 2017, section
        5.3). T is at most half of all steps: short trainings would never reach lr.
        """
        if self.warm_up:
            t = clock.epoch * clock.steps + clock.step + 1
            warm_up = min(self.warm_up, max(1, clock.epochs * clock.steps // 2))
            return self.lr * min(t / warm_up, math.sqrt(warm_up / t))
        return clock.cosine(self.lr, self.lr_end) if self.lr_end else self.lr


Optimiser = SGD | Adam
"""What a method's configuration may have for its weights and for its alphas."""


def gradient_step(
    optimiser: torch.optim.Optimizer,
    tensors: Sequence[Tensor],
    loss: Tensor,
    config: Optimiser,
    clock: Clock,
    reduce: Reduce = unchanged,
) -> Tensor:
    """One step along the gradient of `loss`; returns the loss, detached.

    Args:
        optimiser: of the tensors.
        tensors: what is moved; one that the loss does not depend on stays as it is.
        loss: a scalar with its graph.
        config: rate and clip.
        clock: where the training stands.
        reduce: the mean over processes.
    """
    value, gradients = loss_and_gradients(loss, tensors, reduce)
    set_rate(optimiser, config.at(clock))
    descend(optimiser, tensors, gradients, clip=config.clip)
    return value


def loss_and_gradients(
    loss: Tensor, tensors: Sequence[Tensor], reduce: Reduce = unchanged
) -> tuple[Tensor, list[Tensor | None]]:
    """The loss and its gradient by each tensor, means over processes; None where it has none."""
    gradients = torch.autograd.grad(loss, list(tensors), allow_unused=True)
    value, *means = reduce([loss.detach(), *(g for g in gradients if g is not None)])
    rest = iter(means)
    return value, [None if g is None else next(rest) for g in gradients]


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Have the next steps taken with this learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def descend(
    optimiser: torch.optim.Optimizer,
    tensors: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    *,
    clip: float = 0.0,
) -> None:
    """One step along these gradients, their joint norm at most `clip` (0: any); leaves no `.grad`.

    A tensor without a gradient stays as it is: no decay and no momentum move it.

    Args:
        optimiser: of the tensors.
        tensors: what is moved.
        gradients: one for each.
        clip: largest norm of the gradients taken as one vector.
    """
    used = []
    for tensor, gradient in zip(tensors, gradients, strict=True):
        if gradient is not None:
            tensor.grad = gradient
            used.append(tensor)
    if clip:
        clip_grad_norm_(used, clip)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
