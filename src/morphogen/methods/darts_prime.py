"""DARTS-PRIME: regularization and scheduling for constrained differentiable search.

Paper: Maile, Lecarpentier, Luga, Wilson. 2021. arXiv 2106.11655.

"DARTS-PRIME: Regularization and Scheduling Improve Constrained Optimization in Differentiable NAS";
its first version is "On Constrained Optimization in Differentiable Neural Architecture Search".

DARTS as a problem with a constraint: alpha in S, the discrete architectures. D(v) is the point of S
nearest to v, by the space's own rule of derivation.

    repeat until the budget is spent
        1. is alpha due? if the running trace F of the empirical Fisher information is below the
           threshold theta, which then falls by m^s; else not, and theta rises by m
        2. if it is: Adam on alpha along the gradient, at the present weights, of the loss on a
           validation batch + a pull of a(alpha) towards S
             proximity: t/T * rho/2 * ||a(alpha) - D(a(alpha))||, t/T the share of the search done
             admm: rho/2 * ||a(alpha) - Z + U||
        3. weight step: SGD on a training batch; F <- kappa ||gradient||^2 + (1 - kappa) F, of the
           gradient before it is clipped
        4. clipped activation: what alpha has brought to 0 is switched off for good
        5. admm, every 10 alpha steps: Z <- D(a(alpha) + U), then U <- U + a(alpha) - Z
    return D(a(alpha))

a(alpha) is the softmax of each row, or alpha between 0 and 1 entry by entry (`clipped`; an option
at 0 is not executed). The long-run share of iterations with an alpha step is 1 / (1 + s), whatever
the scale of the gradients: of 11 iterations one, for s = 10. The search data are cut likewise,
10 : 1. DARTS-PRIME is softmax, `fisher` and `proximity`; the other values are the first version's
and those of its ablations.

Departures. The clipped activation comes without the batch norm after each node's sum that its
authors give it (CRB), and starts with `none` among its options unless the space is without it; a
node that is left with fewer live edges than its space keeps is filled by the space's rule. ADMM is
the textbook's: Z is projected after adding U to the activated weights, U adds what is activated,
and both are renewed every 10 alpha steps (authors' code: 9, with raw alpha); Z begins as a(alpha).
Data are shuffled before they are cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from morphogen.bilevel.gates import relaxed_gates
from morphogen.bilevel.hypergradient import first_order
from morphogen.bilevel.optimisers import SGD, Adam, descend, loss_and_gradients, set_rate
from morphogen.bilevel.regularisation import Regulariser
from morphogen.bilevel.state import BilevelState, alpha_step
from morphogen.core import Architecture
from morphogen.core.config import Amount, Count, Positive, Probability, config
from morphogen.methods._contract import QUICK_RATES, Metrics, Phase, method
from morphogen.spaces import Differentiable, SearchSpace
from morphogen.supernets import Gates, live_masks
from morphogen.supernets.relaxations import Relaxation, clipped, one_hot, softmax
from morphogen.tasks.problem import Clock, Problem


@config
class DARTSPrimeConfig:
    """DARTS-PRIME, as its authors run it on CIFAR-10."""

    activation: Literal["softmax", "clipped"] = "softmax"
    """a: softmax of each row, or alpha clipped to 0 and 1, with hard pruning at 0 (paper: softmax;
    first version: both)"""
    schedule: Literal["fisher", "static"] = "fisher"
    """when alpha is stepped: by the trace of the Fisher information, or every s-th step"""
    period: Count = 10
    """s, weight steps for each alpha step (paper: 10; DARTS: static, 1)"""
    multiplier: Annotated[float, Field(gt=1, le=10)] = 1.05
    """m, by which the threshold rises in a step without alpha (paper: 1.05)"""
    threshold: Positive = 1.0
    """theta of the first step (paper: 1)"""
    smoothing: Probability = 0.2
    """kappa, weight of the newest trace in the running one (paper: 0.2)"""
    regulariser: Literal["proximity", "admm", "none"] = "proximity"
    """what pulls alpha towards the discrete architectures (paper: proximity)"""
    rho: Amount = 0.1
    """its strength (paper: 0.1; first version with admm: 0.001)"""
    squared: bool = False
    """pull by the square of the norm (authors' code: by the norm itself)"""
    refresh: Count = 10
    """alpha steps between two projections of ADMM (authors' code: 10)"""
    weights: SGD = SGD(nesterov=False, weight_decay=3e-4)
    alpha: Adam = Adam()


@dataclass
class Schedule:
    """When alpha is due, and what that goes by."""

    threshold: float
    """theta"""
    trace: float = 0.0
    """F, the running trace; 0 before the first weight step."""
    steps: int = 0
    """Alpha steps so far."""

    def due(self, c: DARTSPrimeConfig, clock: Clock) -> bool:
        """Whether alpha is stepped in this iteration; moves the threshold."""
        if c.schedule == "static":
            due = (clock.step + 1) % c.period == 0
        else:
            due = 0 < self.trace < self.threshold
            self.threshold *= c.multiplier ** (-c.period if due else 1)
        self.steps += due
        return due

    def record(self, trace: float, smoothing: float) -> None:
        """Read the trace of a weight step."""
        first = self.trace == 0
        self.trace = trace if first else smoothing * trace + (1 - smoothing) * self.trace


@dataclass
class DARTSPrimeState(BilevelState):
    """What the search has learned, and what constrains it."""

    live: list[Tensor]
    """Per group the options that are not switched off: bool [choices, widest], on the CPU."""
    schedule: Schedule
    targets: list[Tensor]
    """Z of ADMM: [choices, widest] of each group; none without it."""
    duals: list[Tensor]
    """U of ADMM."""


def _takes(c: DARTSPrimeConfig) -> tuple[Regulariser, ...]:
    """All that leaves alphas of edges and their schedule alone; clipped gates are no shares."""
    if c.activation == "clipped":
        return ("stop_by_eigenvalue",)
    return "partial_channels", "perturb", "stop_by_eigenvalue", "skip_penalty"


@method(
    "darts-prime",
    config=DARTSPrimeConfig,
    needs=[Differentiable],
    epochs=50,
    quick={**QUICK_RATES, "threshold": 100.0},  # above the traces, so that it need not climb
    published={"darts": {"split.train_images": 45455, "split.valid_images": 4545}},
    takes=_takes,
)
class DARTSPrime:
    """First-order DARTS, constrained: rare, well-timed alpha steps, pulled to the discrete."""

    def __init__(self, config: DARTSPrimeConfig) -> None:
        self.config = config

    def phases(self, problem: Problem, epochs: int) -> Sequence[Phase]:
        """One, whose epoch is a pass over the training part."""
        return [Phase("search", epochs, part="train")]

    def init(self, problem: Problem) -> DARTSPrimeState:
        """A new supernet; alphas near zero, or clipped near the weights of a uniform softmax."""
        c = self.config
        start = BilevelState.start(problem, c.weights, c.alpha)
        live = live_masks(problem.space)
        if c.activation == "clipped":
            with torch.no_grad():
                for alpha, mask in zip(start.alphas, live, strict=True):
                    there = mask.to(alpha.device)
                    options = there.sum(dim=-1, keepdim=True)
                    alpha.mul_(0.1).add_(1.0 / options).mul_(there)
        state = DARTSPrimeState(
            start.net,
            start.weight_optimiser,
            start.alphas,
            start.alpha_optimiser,
            live,
            Schedule(c.threshold),
            [],
            [],
        )
        if c.regulariser == "admm":
            state.targets = [a.detach().clone() for a in self._activated(state, state.alphas)]
            state.duals = [torch.zeros_like(z) for z in state.targets]
        return state

    def step(self, state: DARTSPrimeState, problem: Problem, clock: Clock) -> Metrics:
        """One iteration: an alpha step if it is due, and a weight step."""
        c, schedule = self.config, state.schedule
        told: dict[str, float | Tensor] = {}
        due = schedule.due(c, clock)  # 1
        if due:
            told = self._alpha_step(state, problem, clock)  # 2
        train_loss = self._weight_step(state, problem, clock)  # 3
        if c.activation == "clipped":
            self._prune(state, problem.space)  # 4
        if due and c.regulariser == "admm" and schedule.steps % c.refresh == 0:
            self._project(state, problem.space)  # 5
        return {
            "train_loss": train_loss,
            "alpha_steps": float(schedule.steps),
            "threshold": schedule.threshold,
            "live": float(sum(int(mask.sum()) for mask in state.live)),
            **told,
        }

    def _alpha_step(
        self, state: DARTSPrimeState, problem: Problem, clock: Clock
    ) -> dict[str, float | Tensor]:
        def relaxation(alphas: Sequence[Tensor]) -> Gates:
            return self._gates(state, problem.space, alphas)

        outer = problem.bilevel_loss(state.net, relaxation, problem.batch("valid"))
        gradient = first_order(outer, state.weights, state.alphas, reduce=problem.mean_over_ranks)
        total, told = gradient.total, {"valid_loss": gradient.loss}
        if self.config.regulariser != "none":
            pull = self.pull(state, problem.space, clock)
            by_alphas = torch.autograd.grad(pull, state.alphas)
            total = [g + p for g, p in zip(total, by_alphas, strict=True)]
            told["pull"] = pull.detach()
        alpha_step(state, problem, total, self.config.alpha, clock)
        return {**told}

    def pull(self, state: DARTSPrimeState, space: SearchSpace, clock: Clock) -> Tensor:
        """The regulariser of step 2, a scalar of the state's alphas."""
        c = self.config
        activated = self._activated(state, state.alphas)
        if c.regulariser == "admm":
            triples = zip(activated, state.targets, state.duals, strict=True)
            off, share = [a - z + u for a, z, u in triples], 1.0
        else:
            nearest = projected(space, activated)
            off = [a - d for a, d in zip(activated, nearest, strict=True)]
            share = (clock.epoch + (clock.step + 1) / clock.steps) / clock.epochs
        squares = torch.stack([x.square().sum() for x in off])
        # A norm of 0 would have no gradient.
        lengths = squares if c.squared else (squares + 1e-12).sqrt()
        return share * c.rho / 2 * lengths.sum()

    def _weight_step(self, state: DARTSPrimeState, problem: Problem, clock: Clock) -> Tensor:
        c = self.config
        batch = problem.batch("train")
        gates = problem.weight_gates(state.net, self.gates(state, problem.space), batch)
        loss = problem.loss(state.net, gates, batch)
        value, gradients = loss_and_gradients(loss, state.weights, problem.mean_over_ranks)
        squares = [g.square().sum() for g in gradients if g is not None]
        state.schedule.record(float(torch.stack(squares).sum()), c.smoothing)
        set_rate(state.weight_optimiser, c.weights.at(clock))
        descend(state.weight_optimiser, state.weights, gradients, clip=c.weights.clip)
        return value

    def _prune(self, state: DARTSPrimeState, space: SearchSpace) -> None:
        """Switch off what is at 0, and hold it there: Adam's momentum may still move it.

        Of a choice that must have a value, the largest alpha stays.
        """
        with torch.no_grad():
            for choices, alpha, live in zip(
                space.groups.values(), state.alphas, state.live, strict=True
            ):
                left = live & (alpha > 0).cpu()
                strongest = one_hot(alpha, live.to(alpha.device)).bool().cpu()
                needed = torch.tensor([choice.least > 0 for choice in choices])
                empty = needed & ~left.any(dim=-1)
                left[empty] = strongest[empty]
                live.copy_(left)
                alpha.mul_(live.to(alpha.device)).clamp_(min=0.0)

    def _project(self, state: DARTSPrimeState, space: SearchSpace) -> None:
        with torch.no_grad():
            activated = self._activated(state, state.alphas)
            raised = [a + u for a, u in zip(activated, state.duals, strict=True)]
            state.targets = projected(space, raised)
            triples = zip(activated, state.targets, state.duals, strict=True)
            state.duals = [u + a - z for a, z, u in triples]

    @property
    def _relaxation(self) -> Relaxation:
        return softmax if self.config.activation == "softmax" else clipped

    def _activated(self, state: DARTSPrimeState, alphas: Sequence[Tensor]) -> list[Tensor]:
        """a(alpha), one matrix per group."""
        pairs = zip(alphas, state.live, strict=True)
        return [self._relaxation(alpha, mask.to(alpha.device)) for alpha, mask in pairs]

    def _gates(self, state: DARTSPrimeState, space: SearchSpace, alphas: Sequence[Tensor]) -> Gates:
        return relaxed_gates(space, alphas, self._relaxation, state.live)

    def gates(self, state: DARTSPrimeState, space: SearchSpace) -> Gates:
        """The activation of alpha; what is switched off is not executed."""
        return self._gates(state, space, state.alphas)

    def derive(self, state: DARTSPrimeState, space: SearchSpace) -> Architecture:
        """The nearest discrete architecture."""
        return space.derive(_scores(space, self._activated(state, state.alphas)))


def projected(space: SearchSpace, values: Sequence[Tensor]) -> list[Tensor]:
    """D: the discrete architecture nearest to these matrices, as 0/1 matrices without gradient.

    Among architectures with equally many kept options, the distance to a point of 0 and 1 is least
    where the sum of the kept values is largest: what the rule of derivation looks for.
    """
    rows = space.one_hot(space.derive(_scores(space, values)))
    pairs = zip(rows.values(), values, strict=True)
    return [torch.from_numpy(row).to(v.device, v.dtype) for row, v in pairs]


def _scores(space: SearchSpace, values: Sequence[Tensor]) -> dict[str, NDArray[np.floating]]:
    pairs = zip(space.groups, values, strict=True)
    return {group: value.detach().cpu().numpy() for group, value in pairs}
