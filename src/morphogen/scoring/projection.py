"""The state of a search that decides one choice after the other: what is decided so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from morphogen.bilevel.gates import softmax_gates
from morphogen.core import Architecture
from morphogen.scoring.perturbation import place
from morphogen.spaces import DecisionPlan, EdgeSelection, SearchSpace
from morphogen.supernets import Gates


class Projection:
    """Which choices are decided; the softmax of alpha for the others.

    Everything starts undecided, but for choices that have nothing to decide. Each plan of the space
    is decided stage by stage, then its edge selections (which edges into a node stay).

    Args:
        space: whose choices.
        run: options of weight 0 are executed all the same, and only their contribution is missing.
            What counts activations sees the difference, and nothing else does.
    """

    def __init__(self, space: SearchSpace, *, run: bool = False) -> None:
        self.space, self.run = space, run
        self.decided: dict[str, list[int]] = {}
        """Choice -> positions of the options kept; nothing for a choice that lost a selection."""
        self.selected: list[int] = []
        """Positions in `space.edge_selections()` of those that are made."""
        self.queues: list[list[str]] = []
        """Choices of a stage in an order that was found once for all."""
        for choice in space.choices:
            if len(choice.options) <= self.places(choice.name):
                self.decided[choice.name] = list(range(len(choice.options)))

    # -- what is left to decide --------------------------------------------------------------

    @cached_property
    def plans(self) -> tuple[DecisionPlan, ...]:
        """Those of the space."""
        return self.space.decision_plans()

    @cached_property
    def _selections(self) -> tuple[EdgeSelection, ...]:
        return self.space.edge_selections()

    @cached_property
    def _competing(self) -> frozenset[str]:
        """Choices of the plans in which choices compete: each has one place, which it may lose."""
        fought = {name for selection in self._selections for name in selection.choices}
        plans = [[name for stage in plan for name in stage] for plan in self.plans]
        return frozenset(name for plan in plans if fought & set(plan) for name in plan)

    def places(self, name: str) -> int:
        """How many options the choice called `name` keeps."""
        return 1 if name in self._competing else self.space.choice(name).most

    def undecided(self, plan: DecisionPlan) -> list[str]:
        """Choices of the plan that can be decided now: those of its first unfinished stage."""
        for stage in plan:
            left = [name for name in stage if name not in self.decided]
            if left:
                return left
        return []

    def unselected(self, plan: DecisionPlan) -> list[int]:
        """Selections of the plan that are to be made, once its choices are decided."""
        if self.undecided(plan):
            return []
        return [
            i
            for i, selection in enumerate(self._selections)
            if i not in self.selected and _holds(plan, selection.choices[0])
        ]

    def steps(self) -> int:
        """How often every plan has to decide something until all is decided, from the start."""
        fresh = Projection(self.space)
        return max(
            sum(name not in fresh.decided for stage in plan for name in stage)
            + sum(_holds(plan, selection.choices[0]) for selection in self._selections)
            for plan in self.plans
        )

    @property
    def done(self) -> bool:
        """Whether nothing is left to decide."""
        return not any(self.undecided(plan) or self.unselected(plan) for plan in self.plans)

    # -- deciding ----------------------------------------------------------------------------

    def decide(self, name: str, options: Sequence[int]) -> None:
        """The choice called `name` keeps these options."""
        self.decided[name] = sorted(int(i) for i in options)

    def selection(self, number: int) -> EdgeSelection:
        """The edge selection of that number."""
        return self._selections[number]

    def empty(self, number: int) -> list[bool]:
        """For each choice of a selection whether it has decided to carry nothing."""
        selection = self._selections[number]
        choices = [self.space.choice(name) for name in selection.choices]
        return [
            [c.options[i] for i in self.decided.get(c.name, ())] == [selection.nothing]
            for c in choices
        ]

    def select(self, number: int, winners: Sequence[str]) -> None:
        """Only the `winners` of a selection keep what they have decided."""
        for name in self._selections[number].choices:
            if name not in winners:
                self.decided[name] = []
        self.selected.append(number)

    # -- gates and architecture --------------------------------------------------------------

    def gates(self, alphas: Sequence[Tensor]) -> Gates:
        """Softmax of alpha for undecided choices, weight 1 for what the decided ones keep."""
        return self.onto(softmax_gates(self.space, alphas))

    def onto(self, soft: Gates) -> Gates:
        """The given gates for undecided choices, weight 1 for what the decided ones keep.

        A decided row carries no gradient. In the second and later stages of a plan (inputs of
        nodes), all options of an undecided choice have weight 1 once the stage has come: what is
        asked there is which of them can be missed.
        """
        weights, live = dict(soft.weights), {g: list(rows) for g, rows in soft.live.items()}
        fixed: dict[tuple[str, int], Sequence[int]] = {
            place(self.space, n): kept for n, kept in self.decided.items()
        }
        for plan in self.plans:
            now = self.undecided(plan)
            for name in now if now and now[0] not in plan[0] else ():
                fixed[place(self.space, name)] = range(len(self.space.choice(name).options))
        for group, matrix in soft.weights.items():
            hard = torch.zeros_like(matrix)
            rows = [row for g, row in fixed if g == group]
            for row in rows:
                hard[row, list(fixed[group, row])] = 1.0
                if not self.run:
                    live[group][row] = tuple(fixed[group, row])
            taken = torch.zeros(len(matrix), 1, dtype=torch.bool, device=matrix.device)
            taken[rows] = True
            weights[group] = torch.where(taken, hard, matrix)
        return Gates(weights, {g: tuple(rows) for g, rows in live.items()})

    def derive(self, soft: Gates) -> Architecture:
        """The architecture of what is decided, the strongest options for the rest.

        A choice that has decided to carry nothing, and must keep something all the same because too
        few others are left in its selection, keeps its first other option, as in DARTS-PT's code.
        """
        scores = {g: w.detach().cpu().numpy() for g, w in self.onto(soft).weights.items()}
        for number in range(len(self._selections)):
            for name, empty in zip(
                self._selections[number].choices, self.empty(number), strict=True
            ):
                if empty:
                    group, row = place(self.space, name)
                    scores[group][row] = np.maximum(scores[group][row], 0.5)
        return self.space.derive(scores)

    # -- checkpoint --------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What is decided, in plain values."""
        return {
            "decided": {name: list(kept) for name, kept in self.decided.items()},
            "selected": list(self.selected),
            "queues": [list(queue) for queue in self.queues],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from where `state_dict` was taken."""
        self.decided = dict(state["decided"])
        self.selected = list(state["selected"])
        self.queues = list(state["queues"])


def _holds(plan: DecisionPlan, name: str) -> bool:
    return any(name in stage for stage in plan)
