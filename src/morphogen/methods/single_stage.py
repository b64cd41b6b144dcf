"""Single-stage search: the continuous network is trained on and delivered (a reconstruction).

Paper: Subbotko, Jablonski, Bilinski. CVPR Workshops 2024. arXiv 2405.16610.

"The devil is in discretization discrepancy. Robustifying Differentiable NAS with Single-Stage
Searching Protocol". A reconstruction: abstract and introduction could be read, the formulas,
schedules and the procedure of the splits could not, and there is no official code. What follows is
consistent with all that they say; the defaults are ours.

A differentiable search decodes its continuous architecture and trains the result anew, and loses
something in either act. Here the continuous architecture is the architecture.

    c = softmax(alpha / T) for every choice
    for all epochs, with one learning rate schedule without restart:
        weights   epochs up to T_0: SGD on w alone
        search    epochs up to T_f, in each iteration
                  1. Adam on alpha, first order, by a batch of D_alpha
                     + lambda_max t/T times the mean normalised entropy of c
                  2. SGD on w by a batch of D_w
        freeze    3. c is constant from here on, and alpha's optimiser is discarded
                  4. options with c <= eps are removed; what is left is not rescaled
        finish    5. SGD on w by batches of all data: the same weights, momentum and schedule
    return the supernet with what is live and its c: as it is, not decoded

D_w and D_alpha are cut from all search data anew in each epoch (`resplit`): so weights see all
data, while alpha is judged on what they have not just been trained on. With an eps of 0 nothing is
removed. Removed options, and nodes that are on no path any more, are not run, and are not in the
network that is delivered.

The entropy penalty is no part of the protocol: it is the usual cure of the discretisation gap, with
which the paper compares (lambda_max 0.1 to 10).

A network can be delivered where the networks of the space weigh their options (`spaces.Weighing`).
In other spaces the search ends with the architecture that their own rule finds in c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from morphogen.bilevel.categorical import entropy
from morphogen.bilevel.gates import relaxed_gates
from morphogen.bilevel.hypergradient import first_order
from morphogen.bilevel.optimisers import SGD, Adam
from morphogen.bilevel.state import BilevelState, alpha_step, weight_step
from morphogen.core import Architecture
from morphogen.core.config import Amount, Positive, Share, config
from morphogen.methods._contract import QUICK_RATES, Metrics, Phase, method
from morphogen.spaces import Differentiable, SearchSpace, Weighing
from morphogen.supernets import Gates, live_masks
from morphogen.supernets.relaxations import softmax
from morphogen.tasks import Batch
from morphogen.tasks.problem import Clock, Problem
from morphogen.tasks.splitting import Splitter, Way

WEIGHTS, SEARCH, FINISH = "weights", "search", "finish"


@config
class SingleStageConfig:
    """Single-stage search."""

    warm_up: Share = 0.1
    """T_0, share of the epochs in which weights alone are trained (paper: unknown)"""
    freeze: Share = 0.5
    """T_f, share of the epochs after which the coefficients are constant (paper: unknown)"""
    data_split: Way = "resplit"
    """which data train weights and which alpha: resplit, anew in each epoch; fixed, the two search
    parts; group, no group in both; shared, all for both (paper: unknown)"""
    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """share of the data that trains weights, of resplit and group"""
    temperature: Positive = 1.0
    """T of the softmax"""
    penalty: Amount = 0.0
    """lambda_max, what the entropy of the coefficients costs at the end (paper's comparison)"""
    smallest: Share = 0.01
    """eps, coefficient up to which an option is removed at the freeze (paper: unknown)"""
    weights: SGD = SGD(nesterov=False, weight_decay=3e-4)
    alpha: Adam = Adam(lr=3e-3)


@dataclass
class SingleStageState(BilevelState):
    """Supernet and alphas, and the coefficients once they are frozen."""

    epoch: int
    """Finished epochs of all phases."""
    frozen: bool
    shares: list[Tensor]
    """c of each group, [choices, widest], once it is frozen."""
    live: list[Tensor]
    """Masks of what is not removed, likewise, on the CPU."""


@method(
    "single-stage",
    config=SingleStageConfig,
    needs=[Differentiable],
    epochs=400,
    delivering=[Weighing],
    quick={**QUICK_RATES, "weights.lr": 0.05, "epochs": 20},
)
class SingleStage:
    """Search and training in one: coefficients are frozen, and the same weights trained on."""

    def __init__(self, config: SingleStageConfig) -> None:
        self.config = config

    def phases(self, problem: Problem, epochs: int) -> Sequence[Phase]:
        """Weights, search and finish share the epochs; the last are passes over all data."""
        c = self.config
        frozen = max(1, min(round(c.freeze * epochs), epochs - 1))
        warm = min(round(c.warm_up * epochs), frozen - 1)
        return [
            Phase(WEIGHTS, warm, part="train"),
            Phase(SEARCH, frozen - warm, part="train"),
            Phase(FINISH, max(1, epochs - frozen), part="pool"),
        ]

    def init(self, problem: Problem) -> SingleStageState:
        """A new supernet, and alphas near zero."""
        c = self.config
        self._splitter(problem)  # refuses what it cannot cut
        start = BilevelState.start(problem, c.weights, c.alpha)
        return SingleStageState(
            start.net,
            start.weight_optimiser,
            start.alphas,
            start.alpha_optimiser,
            epoch=0,
            frozen=False,
            shares=[torch.zeros_like(alpha) for alpha in start.alphas],
            live=live_masks(problem.space),
        )

    def step(self, state: SingleStageState, problem: Problem, clock: Clock) -> Metrics:
        """One iteration of the phase that the clock names."""
        c = self.config
        whole = of_all_phases(state, clock)
        told: dict[str, float | Tensor] = {}
        if clock.phase == SEARCH:
            told = self._alpha_step(state, problem, clock, whole)  # 1
        if clock.phase == FINISH and not state.frozen:
            told["removed"] = float(self.freeze(state, problem.space))  # 3, 4
        batch = self._batch(state, problem, clock, "train")
        gates = self.gates(state, problem.space).detach()
        loss = weight_step(state, problem, batch, gates, c.weights, whole)  # 2, 5
        if clock.last:
            state.epoch += 1
        return {"train_loss": loss, **told}

    def _splitter(self, problem: Problem) -> Splitter:
        c = self.config
        return Splitter(c.data_split, problem.task, ratio=c.ratio, seed=problem.seed)

    def _batch(self, state: SingleStageState, problem: Problem, clock: Clock, part: str) -> Batch:
        """Of D_w (`train`) or D_alpha (`valid`) of this epoch; to finish, of all data."""
        if clock.phase == FINISH:
            return problem.batch("pool")
        if self.config.data_split == "fixed":
            return problem.batch(part)
        rows = self._splitter(problem).epoch(state.epoch)[part == "valid"]
        return problem.drawn(rows, f"split/{part}", state.epoch, clock.step)

    def _alpha_step(
        self, state: SingleStageState, problem: Problem, clock: Clock, whole: Clock
    ) -> dict[str, float | Tensor]:
        def relaxation(alphas: Sequence[Tensor]) -> Gates:
            return self._relaxed(alphas, problem.space)

        batch = self._batch(state, problem, clock, "valid")
        outer = problem.bilevel_loss(state.net, relaxation, batch)
        found = first_order(outer, state.weights, state.alphas, reduce=problem.mean_over_ranks)
        total = found.total
        if self.config.penalty:
            done = (whole.epoch + (whole.step + 1) / whole.steps) / whole.epochs
            penalty = self.config.penalty * done * self.mean_entropy(state.alphas, problem.space)
            by_alphas = torch.autograd.grad(penalty, state.alphas)
            total = [g + p for g, p in zip(total, by_alphas, strict=True)]
        alpha_step(state, problem, total, self.config.alpha, whole)
        return {"valid_loss": found.loss}

    def mean_entropy(self, alphas: Sequence[Tensor], space: SearchSpace) -> Tensor:
        """Mean over choices of the entropy of c, divided by its largest value: from 0 to 1."""
        rows = []
        for alpha, mask in zip(alphas, live_masks(space), strict=True):
            options = mask.sum(dim=1)
            several = options > 1
            each = entropy(alpha / self.config.temperature, mask.to(alpha.device))
            rows.append(each[several] / options[several].log().to(alpha))
        return torch.cat(rows).mean()

    def freeze(self, state: SingleStageState, space: SearchSpace) -> int:
        """Make c constant and remove what is next to nothing; returns how many options that is."""
        weights = self._relaxed([a.detach() for a in state.alphas], space).weights.values()
        removed = 0
        for c, live, now in zip(state.shares, state.live, weights, strict=True):
            c.copy_(now)
            largest = now == now.amax(dim=1, keepdim=True)  # of every choice one stays at least
            stays = live & ((now > self.config.smallest) | largest).cpu()
            removed += int((live & ~stays).sum())
            live.copy_(stays)
        state.alpha_optimiser.state.clear()
        state.frozen = True
        return removed

    def _relaxed(self, alphas: Sequence[Tensor], space: SearchSpace) -> Gates:
        return relaxed_gates(space, alphas, lambda a, m: softmax(a / self.config.temperature, m))

    def gates(self, state: SingleStageState, space: SearchSpace) -> Gates:
        """c, as it is now or as it was frozen; what is removed is not executed."""
        if not state.frozen:
            return self._relaxed(state.alphas, space)
        return Gates.dense(space, dict(zip(space.groups, state.shares, strict=True)), state.live)

    def derive(self, state: SingleStageState, space: SearchSpace) -> Architecture:
        """What is live, once it is frozen; before, and in other spaces, by the space's rule."""
        if state.frozen and isinstance(space, Weighing):
            kept = {
                choice.name: [o for o, on in zip(choice.options, row.tolist(), strict=False) if on]
                for choices, live in zip(space.groups.values(), state.live, strict=True)
                for choice, row in zip(choices, live, strict=True)
            }
            return space.check(Architecture({c.name: kept[c.name] for c in space.choices}))
        weights = self.gates(state, space).detach().weights
        return space.derive({group: w.cpu().numpy() for group, w in weights.items()})

    def network(self, state: SingleStageState, space: SearchSpace) -> nn.Module | None:
        """The supernet itself, without what is not live; None before the freeze, and elsewhere."""
        if not state.frozen or not isinstance(space, Weighing):
            return None
        return state.net.alone(self.derive(state, space), self.gates(state, space))


def of_all_phases(state: SingleStageState, clock: Clock) -> Clock:
    """The clock of the whole search, for the one schedule of the learning rate."""
    to_come = sum(phase.epochs for phase in clock.ahead)
    epochs = state.epoch - clock.epoch + clock.epochs + to_come
    return Clock(state.epoch, epochs, clock.step, clock.steps, clock.phase)
