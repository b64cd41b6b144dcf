"""How long a run has still to go: each of its phases by its own pace.

A step that trains a supernet, one that scores an architecture with it, and one that fine-tunes it
after a decision differ in time by orders of magnitude, so that a mean over all steps says nothing
of what is left.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from morphogen.core.text import duration
from morphogen.tasks.problem import Clock


@dataclass
class _Phase:
    """What this process has measured of a phase."""

    steps: int = 0
    seconds: float = 0.0
    """Of the steps."""
    first: float = 0.0
    """Of the first step, in which much is made for the first time."""
    work: float = 1.0
    """Of a step; see `Ahead`."""
    epochs: int = 0
    between: float = 0.0
    """Seconds of what follows the steps of an epoch: diagnostics, a checkpoint."""

    def step(self, of: int) -> float | None:
        """Seconds of a step; None as long as they are not known.

        Args:
            of: steps of an epoch. A first step tells little of the others, unless there are none.
        """
        if self.steps > 1:
            return (self.seconds - self.first) / (self.steps - 1)
        return self.first if self.steps and (of == 1 or self.epochs) else None

    @property
    def after(self) -> float:
        """Seconds from the last step of an epoch to the first of the next one."""
        return self.between / self.epochs if self.epochs else 0.0


class Pace:
    """Elapsed and remaining time of a run.

    Args:
        now: seconds of a clock.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._start = self._last = now()
        self._phases: dict[str, _Phase] = defaultdict(_Phase)
        self._recorded: dict[str, float] = {}
        self.clock: Clock | None = None
        self._closed = False  # whether the epoch of the clock is done with all that belongs to it

    def started(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        """The run begins, or goes on after what these lines of its metrics tell."""
        self._last = self._now()
        sums: dict[str, list[float]] = defaultdict(list)
        for row in rows:
            if isinstance(row.get("seconds"), int | float):
                sums[str(row.get("phase", ""))].append(float(row["seconds"]))
        self._recorded = {name: sum(found) / len(found) for name, found in sums.items()}

    def at(self, clock: Clock) -> None:
        """A step is done, and the run stands here."""
        before, self.clock = self.clock, clock
        if before is not None and (before.epoch, before.step) == (clock.epoch, clock.step):
            return  # the same step: its phase has ended early
        took, self._closed = self._passed(), False
        phase = self._phases[clock.phase]
        phase.steps += 1
        phase.seconds += took
        phase.work = clock.work
        if phase.steps == 1:
            phase.first = took

    def epoch(self) -> None:
        """What belongs to the epoch besides its steps is done."""
        if self.clock is not None:
            phase = self._phases[self.clock.phase]
            phase.epochs += 1
            phase.between += self._passed()
            self._closed = True

    @property
    def elapsed(self) -> float:
        """Seconds of this process."""
        return self._now() - self._start

    @property
    def share(self) -> float:
        """Of the epochs, how many are done."""
        if self.clock is None:
            return 0.0
        c = self.clock
        return min(1.0, (c.epoch + c.step / max(c.steps, 1)) / max(c.epochs, 1))

    def seconds(self, phase: str, steps: int) -> float | None:
        """Of an epoch of so many steps in a phase, with what follows it; None if not known."""
        step = self._step(phase, steps)
        return None if step is None else steps * step + self._phases[phase].after

    def remaining(self) -> tuple[float | None, list[str]]:
        """Seconds to the end, None if not known yet; and the phases for which that is a guess.

        A phase that has not begun is taken to go on as the phase before it: as long for a step, or
        for as much work as its steps are.
        """
        c = self.clock
        if c is None:
            return None, []
        here = c.epochs - c.epoch - sum(phase.epochs for phase in c.ahead)
        step = self._step(c.phase, c.steps)
        if step is None:
            before = self._before(c.phase)
            step = None if before is None else before * c.work
        if step is None:
            return None, []
        unit = step / c.work
        between = self._phases[c.phase].after
        left = (here * c.steps - c.step) * step + (here - self._closed) * between
        guessed = []
        for name, epochs, steps, work in c.ahead:
            own = self._step(name, steps)
            if own is None:
                guessed.append(name)
            else:
                unit = own / work
            left += epochs * steps * unit * work
        return max(left, 0.0), guessed

    def left(self) -> str:
        """`3 min 5 s left`, and of which phases that is a guess; empty at the end and before."""
        seconds, guessed = self.remaining()
        if seconds is None or (seconds == 0.0 and self.share >= 1.0):
            return ""
        guess = f" (a guess for {' and '.join(guessed)})" if guessed else ""
        return f"{duration(seconds)} left{guess}"

    def _passed(self) -> float:
        now = self._now()
        passed, self._last = now - self._last, now
        return passed

    def _step(self, name: str, of: int) -> float | None:
        """Seconds of a step of a phase: measured, else as earlier processes wrote it down."""
        found = self._phases[name].step(of) if name in self._phases else None
        if found is None:
            # A run of one phase does not write its name down.
            epoch = self._recorded.get(name, self._recorded.get(""))
            found = None if epoch is None else epoch / max(of, 1)
        return found

    def _before(self, name: str) -> float | None:
        """Seconds of a step of work 1 in the phase before one that has just begun."""
        for other, phase in reversed(self._phases.items()):
            step = phase.step(2) if other != name and phase.steps > 1 else None
            if step is not None:
                return step / phase.work
        return None
