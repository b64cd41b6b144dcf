"""Boosting order-preserving and transferability for NAS: joint refined search and fine-tuning.

Paper: Zhang, Wang, Qin, Yan. CVPR 2024. arXiv 2403.11380.

    stage 1: train the supernet path by path, as SPOS does
    stage 2: SPOS' evolution, in which each candidate also trains
        1. breed a generation; an architecture of an earlier one may come again
        2. for each candidate in turn
           a. K steps of SGD on its weights, which shifts the supernet towards what is sampled often
           b. score it on search-validation examples; the last score of an architecture counts
        3. score the parents anew, with the weights as they are now (`rescore`)
    return the best by its last score

"Supernet shifting" is stage 2. With `--from RUN` on other data there is no stage 1: the classifier
is drawn anew and learns in stage 2 together with all else, which is the paper's transfer. On the
same data stage 2 begins at once.

Departures. The paper's body was not to be had; this follows its abstract and the authors' code,
which is `mode per-candidate`. `mode accumulate` is the abstract's other reading: a generation is
scored with the same weights, its gradients are averaged, and one step is taken at its end. The
code's archive keeps scores of old weights and its last choice trusts them; `rescore` scores the
parents of the next generation anew, the k best by what was known, and no others: one whose old
score was too low does not come back, and the last choice still compares the k with the old scores
of all others. The code clips no gradient; here its norm is at most `shift.clip` (0: any), in
`accumulate` that of the mean gradient. Its batch norms keep the statistics of the K training
batches; here they are recalibrated for each candidate (`norms`). Label smoothing, stage 1 and
operators depart from SPOS as in our `spos`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from morphogen.bilevel.optimisers import SGD, descend, loss_and_gradients, set_rate
from morphogen.bilevel.state import weight_step
from morphogen.core import Architecture
from morphogen.core.config import Natural, config
from morphogen.evaluators.single_path import (
    PUBLISHED,
    QUICK,
    SinglePathConfig,
    SinglePathState,
    path_step,
)
from morphogen.methods._contract import Candidate, Metrics, Phase, method
from morphogen.spaces import Discrete, SearchSpace
from morphogen.supernets import Gates
from morphogen.tasks.problem import Clock, Problem


@config
class SupernetShiftingConfig(SinglePathConfig):
    """Supernet Shifting; numbers of the evolution as published, sizes for small images."""

    shift: SGD = SGD(lr=1e-3, lr_end=1e-3, nesterov=False, weight_decay=4e-5)
    """(authors' code: lr 1e-4 constant, which is 1/5000 of stage 1's; momentum 0.9, decay 4e-5; no
    clipping)"""
    shift_steps: Natural = 5
    """K, training steps of a candidate (authors' code: 20, of 150 images)"""
    mode: Literal["per-candidate", "accumulate"] = "per-candidate"
    """when the supernet moves: at each candidate, or once a generation on the mean gradient"""
    rescore: bool = True
    """score the best parents anew at the end of a generation, without training; the others keep
    their old scores (authors' code: no)"""


@dataclass
class ShiftingState(SinglePathState):
    """The supernet, and how far evolution is."""

    shifting: bool = False
    """Whether the optimiser is stage 2's."""
    gradient: list[Tensor] = field(default_factory=list)
    """Sum over the generation so far, one tensor per weight (`accumulate`)."""
    reached: list[bool] = field(default_factory=list)
    """Which weights a candidate of the generation has used."""


@method(
    "supernet-shifting",
    config=SupernetShiftingConfig,
    needs=[Discrete],
    epochs=250,
    limits=True,
    quick=QUICK,
    published=PUBLISHED,
)
class SupernetShifting:
    """Evolution whose candidates train the supernet that scores them."""

    def __init__(self, config: SupernetShiftingConfig) -> None:
        self.config = config

    def phases(self, problem: Problem, epochs: int) -> Sequence[Phase]:
        """Stage 1, unless the supernet comes from another run, then a generation an epoch."""
        return (
            Phase("supernet", 0 if problem.start is not None else epochs, part="train"),
            Phase("shifting", self.config.generations, self.config.population),
        )

    def init(self, problem: Problem) -> ShiftingState:
        """A supernet and no generation yet."""
        state = ShiftingState.start(problem, self.config, again=True)
        self._forget(state)
        return state

    def step(self, state: ShiftingState, problem: Problem, clock: Clock) -> Metrics:
        """A step of a path's weights, or a candidate: train and score."""
        if clock.phase == "supernet":
            return {"train_loss": path_step(state, problem, self.config.weights, clock)}
        if not state.shifting:  # new momentum, new rate
            state.weight_optimiser = self.config.shift.make(state.weights)
            state.shifting = True
        return self._generation(state, problem, clock)

    def _generation(self, state: ShiftingState, problem: Problem, clock: Clock) -> Metrics:
        c, evolution = self.config, state.evolution
        if clock.step == 0:
            evolution.breed(problem.space, problem.numpy_rng)  # 1
        told: dict[str, float | Tensor] = {}
        if clock.step < len(evolution.members):
            text = evolution.members[clock.step]
            arch = problem.space.parse(text)
            if c.shift_steps:
                told["train_loss"] = self._shift(state, problem, arch, clock)  # 2a
            found = state.evaluator.measure(state.net, arch)  # 2b
            state.record(text, found)
            told |= state.evaluator.row(found)
        if clock.step == clock.steps - 1:
            if c.mode == "accumulate" and c.shift_steps:
                self._move(state, clock)
            if c.rescore:  # 3
                among = {*evolution.top, *evolution.members}
                for text in evolution.best(c.parents, among):
                    arch = problem.space.parse(text)
                    evolution.record(text, state.evaluator.measure(state.net, arch).key)
            told |= state.standing()
        return told

    def _shift(
        self, state: ShiftingState, problem: Problem, arch: Architecture, clock: Clock
    ) -> Tensor:
        """K batches of a candidate: steps at once, or gradients to be kept."""
        c = self.config
        gates = Gates.of(problem.space, arch, problem.devices.device)
        losses = []
        for _ in range(c.shift_steps):
            if c.mode == "per-candidate":
                batch = problem.batch("train")
                losses.append(weight_step(state, problem, batch, gates, c.shift, clock))
                continue
            loss = problem.loss(state.net, gates, problem.batch("train"))
            value, gradients = loss_and_gradients(loss, state.weights, problem.mean_over_ranks)
            losses.append(value)
            for i, gradient in enumerate(gradients):
                if gradient is not None:
                    state.gradient[i] += gradient / c.shift_steps
                    state.reached[i] = True
        return torch.stack(losses).mean()

    def _move(self, state: ShiftingState, clock: Clock) -> None:
        """One step on the mean gradient of the generation's candidates."""
        shift, count = self.config.shift, len(state.evolution.members)
        pairs = zip(state.gradient, state.reached, strict=True)
        means = [gradient / count if reached else None for gradient, reached in pairs]
        set_rate(state.weight_optimiser, shift.at(clock))
        descend(state.weight_optimiser, state.weights, means, clip=shift.clip)
        self._forget(state)

    def _forget(self, state: ShiftingState) -> None:
        kept = state.weights if self.config.mode == "accumulate" else []
        state.gradient = [torch.zeros_like(w) for w in kept]
        state.reached = [False] * len(kept)

    def candidates(self, state: ShiftingState, space: SearchSpace) -> list[Candidate]:
        """The k best by their last score."""
        best = state.best(self.config.parents)
        return [Candidate(space.parse(text), figures) for text, figures in best]

    def derive(self, state: ShiftingState, space: SearchSpace) -> Architecture | None:
        """The best architecture by its last score; None before the first."""
        return state.evolution.winner(space)
