"""The timetable of a search: its clocks are made when they are due."""

from __future__ import annotations

import pytest

from morphogen.engine.search.loop import Timetable
from morphogen.methods import Phase
from morphogen.tasks.problem import Clock

PLAN = Timetable((Phase("train", 3, 5), Phase("choose", 2, 7)))


def test_every_epoch_of_every_phase_has_its_clock():
    assert list(PLAN) == [
        *(Clock(e, 3, 0, 5, "train") for e in range(3)),
        *(Clock(e, 2, 0, 7, "choose") for e in range(2)),
    ]
    assert len(PLAN) == 5
    assert PLAN[-1] == Clock(1, 2, 0, 7, "choose")
    assert PLAN[1:4] == list(PLAN)[1:4]
    for place in (5, -6):
        with pytest.raises(IndexError):
            PLAN[place]


def test_a_billion_epochs_take_no_memory():
    plan = Timetable((Phase("search", 10**9, 5),))
    assert plan[10**9 - 1].epoch == 10**9 - 1
    assert next(iter(plan)).epochs == 10**9
