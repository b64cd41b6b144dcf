"""The timetable of a search: its clocks are made when they are due."""

from __future__ import annotations

import pytest

from morphogen.engine.search.timetable import Timetable
from morphogen.methods import Phase
from morphogen.tasks.problem import Ahead, Clock

PLAN = Timetable((Phase("train", 3, 5), Phase("choose", 2, 7)))


def test_every_epoch_of_every_phase_has_its_clock():
    assert list(PLAN) == [
        *(Clock(e, 3, 0, 5, "train", (Ahead("choose", 2, 7),)) for e in range(3)),
        *(Clock(e, 2, 0, 7, "choose") for e in range(2)),
    ]
    assert len(PLAN) == 5
    assert PLAN[-1] == Clock(1, 2, 0, 7, "choose")
    assert PLAN[1:4] == list(PLAN)[1:4]
    for place in (5, -6):
        with pytest.raises(IndexError):
            PLAN[place]


def test_after_an_early_end_comes_the_next_phase():
    assert [PLAN.after(place, ended=True) for place in range(5)] == [3, 3, 3, 5, 5]
    assert [PLAN.after(place) for place in range(5)] == [1, 2, 3, 4, 5]
    rows = [{}, {"ended_early": True}, {}, {}]
    assert list(PLAN.places(rows)) == [0, 1, 3, 4, 5]
    assert list(PLAN.places([])) == [0]


def test_a_billion_epochs_take_no_memory():
    plan = Timetable((Phase("search", 10**9, 5),))
    assert plan[10**9 - 1].epoch == 10**9 - 1
    assert next(iter(plan)).epochs == 10**9
