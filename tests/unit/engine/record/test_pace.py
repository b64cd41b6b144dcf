"""Time left, with a clock of our own: each phase by its own pace, and no wild jumps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from morphogen.engine.record.pace import Pace
from morphogen.tasks.problem import Ahead, Clock

PHASES = [Ahead("supernet", 10, 20), Ahead("evolution", 4, 5), Ahead("tuning", 3, 2)]
SECONDS = {"supernet": 1.0, "evolution": 30.0, "tuning": 7.0}
FIRST = {"supernet": 9.0, "evolution": 30.0, "tuning": 21.0}
"""Of the first step of a phase: something is compiled, a cache is filled."""
BETWEEN = {"supernet": 4.0, "evolution": 0.5, "tuning": 0.0}
"""After each epoch: diagnostics, a checkpoint."""


class Run:
    """A run of these phases by a clock that it sets itself."""

    def __init__(self, phases: list[Ahead] = PHASES) -> None:
        self.phases = phases
        self.now = 1000.0
        self.pace = Pace(lambda: self.now)

    def events(self, skip: int = 0) -> Iterator[tuple[str, int]]:
        """Runs, and stops after each step and each epoch: its phase and the steps done in it.

        Args:
            skip: epochs that an earlier process has done.
        """
        total, done = sum(p.epochs for p in self.phases), 0
        for i, phase in enumerate(self.phases):
            made = 0
            for _ in range(phase.epochs):
                done += 1
                if done <= skip:
                    continue
                for step in range(phase.steps):
                    self.now += (SECONDS if made else FIRST)[phase.phase]
                    made += 1
                    ahead = tuple(self.phases[i + 1 :])
                    at = done - 1, total, step + 1, phase.steps, phase.phase
                    clock = Clock(*at, ahead, phase.work)
                    self.pace.at(clock)
                    yield phase.phase, made
                self.now += BETWEEN[phase.phase]
                self.pace.epoch()
                yield phase.phase, made


def truth(phases: list[Ahead]) -> float:
    """Seconds that these phases take."""
    return sum(
        FIRST[p.phase] + (p.epochs * p.steps - 1) * SECONDS[p.phase] + p.epochs * BETWEEN[p.phase]
        for p in phases
    )


def test_each_phase_counts_by_its_own_pace() -> None:
    """From the second epoch of a phase on what is left of it is known to the second."""
    run = Run()
    end = run.now + truth(PHASES)
    seen = set()
    for phase, made in run.events():
        left, guessed = run.pace.remaining()
        place = [p.phase for p in PHASES].index(phase)
        assert guessed == [p.phase for p in PHASES[place + 1 :]] or left is None
        if made > PHASES[place].steps and place == len(PHASES) - 1:
            assert left == pytest.approx(end - run.now)
            seen.add(phase)
        elif made > PHASES[place].steps:
            pace = SECONDS[phase]
            rest = truth(PHASES[place + 1 :])
            guess = sum(p.epochs * p.steps * pace for p in PHASES[place + 1 :])
            assert left == pytest.approx(end - run.now - rest + guess)
            seen.add(phase)
    assert seen == set(SECONDS)
    assert run.pace.left() == ""
    assert run.pace.share == 1.0


def test_the_estimate_does_not_jump_within_a_phase() -> None:
    """Of the end that it foresees: a first step that takes long moves it by no more than itself."""
    run = Run()
    ends: dict[str, list[float]] = {}
    for phase, made in run.events():
        left, _ = run.pace.remaining()
        if left is not None and made > 1:
            ends.setdefault(phase, []).append(run.now + left)
    for p in PHASES:
        spread = max(ends[p.phase]) - min(ends[p.phase])
        assert spread <= p.epochs * BETWEEN[p.phase] + 1e-6  # what the first epoch cannot know


def test_nothing_is_said_before_anything_is_known() -> None:
    run = Run()
    assert run.pace.left() == ""
    steps = run.events()
    next(steps)
    assert run.pace.left() == ""  # a first step of nine times the usual length
    next(steps)
    left = 198 + 20 + 6  # seconds, at one a step: the first phase, the others by a guess
    assert run.pace.left() == f"3 min {left - 180} s left (a guess for evolution and tuning)"


def test_a_resumed_run_knows_the_pace_from_its_record() -> None:
    """An epoch of the evolution took 150 s, as two lines say; those of tuning are unknown."""
    run = Run()
    rows = [{"phase": "supernet", "seconds": 24.0}] * 10
    rows += [{"phase": "evolution", "seconds": s} for s in (140.0, 160.0)]
    run.pace.started(rows)
    steps = run.events(skip=12)
    next(steps)
    left, guessed = run.pace.remaining()
    assert guessed == ["tuning"]
    assert left == pytest.approx((2 * 5 - 1) * 30.0 + 3 * 2 * 30.0)


def test_the_work_of_a_step_makes_a_guess_of_what_has_not_begun() -> None:
    """Where steps of all phases take as long for their work, all is known from the second on."""
    phases = [
        Ahead("evolution", 2, 5, 60.0),
        Ahead("tuning", 3, 4, 14.0),
        Ahead("last", 50, 9, 0.5),
    ]
    seconds = {phase.phase: phase.work / 2 for phase in phases}
    run = Run(phases)
    now, end = 0.0, sum(p.epochs * p.steps * seconds[p.phase] for p in phases)
    run.pace = Pace(lambda: now)
    total = sum(phase.epochs for phase in phases)
    done, checked = 0, 0
    for i, phase in enumerate(phases):
        for _ in range(phase.epochs):
            for step in range(phase.steps):
                now += seconds[phase.phase]
                at = done, total, step + 1, phase.steps, phase.phase
                run.pace.at(Clock(*at, tuple(phases[i + 1 :]), phase.work))
                left, guessed = run.pace.remaining()
                if left is not None:
                    assert left == pytest.approx(end - now, abs=1e-6)
                    assert guessed == [p.phase for p in phases[i + 1 :]]
                    checked += 1
            run.pace.epoch()
            done += 1
    assert checked == sum(p.epochs * p.steps for p in phases) - 1


def test_a_phase_that_ends_early_is_not_waited_for() -> None:
    run = Run([Ahead("supernet", 2, 4)])
    last = [*run.events()][-1]
    assert last == ("supernet", 8)
    run = Run([Ahead("evolution", 5, 2)])
    steps = run.events()
    for _ in range(3):
        next(steps)
    assert run.pace.remaining()[0] == pytest.approx(8 * 30 + 4 * 0.5)
    run.pace.at(Clock(0, 1, 2, 2, "evolution"))  # the same step, and the last epoch
    assert run.pace.left() == ""
