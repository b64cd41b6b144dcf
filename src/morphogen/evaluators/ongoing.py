"""A short training that is under way: what a search that trains networks keeps in its state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from morphogen.bilevel.optimisers import Optimiser
from morphogen.evaluators.crossvalidation import CrossValidation
from morphogen.evaluators.short import ShortTraining
from morphogen.tasks.problem import Problem


@dataclass
class OngoingTraining:
    """A training under way, of which a checkpoint keeps everything."""

    problem: Problem
    batch_size: int
    descent: Optimiser
    folds: CrossValidation | None = None
    """For trainings on other rows than those of the part `train`."""
    now: ShortTraining | None = None
    asked: dict[str, Any] = field(default_factory=dict)

    def begin(
        self,
        text: str,
        steps: int,
        *,
        repetition: int = 0,
        part: str = "train",
        fold: int | None = None,
    ) -> None:
        """Begin one, in the place of the one before; `fold`: on all rows but those of a fold."""
        asked = {"text": text, "steps": steps, "repetition": repetition, "part": part}
        self.asked = asked | {"fold": fold}
        problem = self.problem if self.folds is None or fold is None else self.folds[fold]
        self.now = ShortTraining(
            problem,
            problem.space.parse(text),
            batch_size=self.batch_size,
            descent=self.descent,
            steps=steps,
            repetition=repetition,
            part=part,
        )

    def advance(self, done: int, of: int) -> Tensor | None:
        """Train to this share of the whole; the mean loss on the way, None where there is none."""
        if self.now is None:
            return None
        before = self.now.seen
        loss = self.now.advance(self.now.steps * done // of)
        part = self.asked["part"] if self.asked["fold"] is None else "pool"
        self.problem.count_measured(str(part), self.now.seen - before)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """What was begun, and how far it is."""
        return {"asked": self.asked, "now": self.now.state_dict() if self.now else {}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.now, self.asked = None, {}
        if state["now"]:
            self.begin(**state["asked"])
            self.now.load_state_dict(state["now"])  # type: ignore[attr-defined]  # `begin` made it
