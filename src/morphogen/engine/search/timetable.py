"""When which phase of a search has its epochs: one clock for each, made when it is due."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, overload

from morphogen.methods import Phase, Phased, Stepwise
from morphogen.tasks.problem import Ahead, Clock, Problem

ENDED_EARLY = "ended_early"
"""Entry of the line with which a phase ended that was to be longer."""


@dataclass(frozen=True)
class Timetable(Sequence[Clock]):
    """One clock for each epoch of each phase, at the epoch's first step; made when it is due."""

    phases: tuple[Phase, ...]
    """Those that have epochs, all with a number of steps."""

    def __len__(self) -> int:
        return sum(phase.epochs for phase in self.phases)

    @overload
    def __getitem__(self, place: int) -> Clock: ...
    @overload
    def __getitem__(self, place: slice) -> list[Clock]: ...
    def __getitem__(self, place: int | slice) -> Clock | list[Clock]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        left = place = place if place >= 0 else place + len(self)
        for phase in self.phases:
            if 0 <= left < phase.epochs:
                steps, later = phase.steps or 0, self.ahead(place)
                return Clock(left, phase.epochs, 0, steps, phase.name, later, phase.work)
            left -= phase.epochs
        raise IndexError(place)

    def after(self, place: int, *, ended: bool = False) -> int:
        """The place of the epoch after that at `place`: if its phase has ended, of the next one."""
        if not ended:
            return place + 1
        ends = accumulate(phase.epochs for phase in self.phases)
        return next(end for end in ends if end > place)

    def ahead(self, place: int) -> tuple[Ahead, ...]:
        """The phases that come after that of an epoch."""
        begins = accumulate((phase.epochs for phase in self.phases), initial=0)
        return tuple(
            Ahead(phase.name, phase.epochs, phase.steps or 0, phase.work)
            for phase, begin in zip(self.phases, begins, strict=False)
            if begin > place
        )

    def places(self, history: Iterable[Mapping[str, Any]]) -> Iterator[int]:
        """The place of each line of metrics, and last that of the epoch to come."""
        place = 0
        for row in history:
            yield place
            place = self.after(place, ended=bool(row.get(ENDED_EARLY)))
        yield place


def phases_of(method: Stepwise, problem: Problem, epochs: int) -> Sequence[Phase]:
    """The method's phases; of one that does not say, `search`.

    Args:
        method: what is stepped.
        problem: what it sees.
        epochs: of the phase that trains the supernet.
    """
    return (
        method.phases(problem, epochs) if isinstance(method, Phased) else (Phase("search", epochs),)
    )


def timetable(method: Stepwise, problem: Problem, epochs: int, steps: int) -> Timetable:
    """When which phase has its epochs.

    Args:
        method: what is stepped.
        problem: what it sees.
        epochs: of the phase that trains the supernet.
        steps: of an epoch; 0: a pass over the part that the phase consumes.
    """
    held = [phase for phase in phases_of(method, problem, epochs) if phase.epochs]
    return Timetable(
        tuple(
            replace(phase, steps=steps or problem.steps(phase.part))
            if phase.steps is None
            else phase
            for phase in held
        )
    )
