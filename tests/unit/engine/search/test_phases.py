"""Phases that end before their last epoch, and searches that end with several candidates."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

import tiny
from morphogen.core import ConfigError
from morphogen.engine.record.watch import Silent
from morphogen.engine.search.search import resume, search
from morphogen.methods import Candidate, Phase, _contract, find
from morphogen.methods.darts import DARTS
from morphogen.methods.random import RandomSearch
from morphogen.runs.directory import RunDirectory


class Brief(DARTS):
    """DARTS whose first phase is over after two epochs, however many are asked for."""

    def phases(self, problem, epochs):
        return Phase("search", epochs), Phase("after", 2, part="train")

    def ended(self, state, clock):
        assert clock.step == clock.steps - 1
        return clock.phase == "search" and clock.epoch == 1


class Counting(tiny.Told):
    """Keeps how many epochs there are to be, at each step."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def stepped(self, clock):
        self.epochs.append(clock.epochs)


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    info = replace(find("darts"), name="brief", build=Brief)
    monkeypatch.setitem(_contract._REGISTRY, "brief", info)


def run(path, method="brief", watcher=Silent, **numbers):
    settings = tiny.changed(tiny.SETTINGS, **{"epochs": 5, **numbers})
    return search(
        method, space=tiny.own(), data=tiny.images(), settings=settings, run=path, watcher=watcher
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        info = replace(find("darts"), name="brief", build=Brief)
        patch.setitem(_contract._REGISTRY, "brief", info)
        counting = Counting()
        return run(tmp_path_factory.mktemp("whole") / "run", watcher=counting), counting


def test_a_phase_that_ends_early_gives_way_to_the_next(whole):
    result, counting = whole
    assert [row["phase"] for row in result.history] == ["search", "search", "after", "after"]
    assert [row.get("ended_early") for row in result.history] == [None, True, None, None]
    # 5 + 2 epochs are planned, 4 it becomes; two steps each, and the end is told with the second.
    assert counting.epochs == [7, 7, 7, 7, 4, 4, 4, 4, 4]


@pytest.mark.parametrize("stop", [{"epochs": 1}, {"steps": 4}, {"epochs": 2}, {"steps": 6}])
def test_a_kill_around_the_early_end_changes_no_bit(whole, tmp_path, stop):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", watcher=tiny.Stop(**stop))
    resume(tmp_path / "run", space=tiny.own(), data=tiny.images())
    tiny.assert_same_run(tmp_path / "run", whole[0].run)


def test_what_has_ended_by_itself_is_not_lengthened(whole):
    with pytest.raises(ConfigError, match=r"'brief' has ended a phase of .* with epoch 2"):
        resume(whole[0].run, space=tiny.own(), data=tiny.images(), epochs=9)


def test_evolution_ends_when_the_space_has_nothing_new(tmp_path):
    """18 architectures are two generations of 8 and one of 2; the fourth is empty."""
    config = replace(tiny.config("spos"), generations=9, population=8)
    result = run(tmp_path / "run", config, epochs=1)
    sizes = [row["evaluated"] for row in result.history[1:]]
    assert sizes[-2:] == [18, 18]
    assert len(result.history) < 1 + 9
    assert result.history[-1]["ended_early"]


@pytest.mark.parametrize("method", ["spos", "supernet-shifting"])
def test_the_best_few_of_evolution_are_candidates(method, tmp_path):
    config = replace(tiny.config(method), generations=3, parents=3)
    result = run(tmp_path / "run", config, epochs=1)
    fitness = tiny.state(result.run)["state"]["evolution"]["fitness"]
    best = sorted(fitness, key=fitness.__getitem__, reverse=True)[:3]
    wanted = [{"architecture": text, "accuracy": fitness[text][0]} for text in best]
    assert list(result.candidates) == wanted
    assert result.text == best[0]
    assert json.loads((result.run / "result.json").read_text())["candidates"] == wanted
    again = resume(result.run, space=tiny.own(), data=tiny.images())
    assert list(again.candidates) == wanted


def test_a_black_box_method_offers_candidates_too(monkeypatch, tmp_path):
    class Offers(RandomSearch):
        worth = 1.0

        def candidates(self, state, space):
            best = self.derive(state, space)
            return [Candidate(best, {"rank": 1.0}), Candidate(best, {"rank": self.worth})]

    info = replace(find("random"), name="offers", build=Offers)
    monkeypatch.setitem(_contract._REGISTRY, "offers", info)
    result = run(tmp_path / "run", "offers")
    assert list(result.candidates) == 2 * [{"architecture": result.text, "rank": 1.0}]
    monkeypatch.setattr(Offers, "worth", math.nan)
    with pytest.raises(ConfigError, match=r"Offers\.candidates gave .* nan; accepted: finite"):
        run(tmp_path / "other", "offers")


def test_a_record_whose_candidates_are_damaged_is_written_anew(tmp_path):
    result = run(tmp_path / "run", tiny.config("spos"), epochs=1)
    file = result.run / "result.json"
    written = json.loads(file.read_text())
    del written["candidates"][1]["accuracy"]
    file.write_text(json.dumps(written))
    assert "candidates with the same figures" in RunDirectory(result.run).inspect_result()[1]
    again = resume(result.run, space=tiny.own(), data=tiny.images())
    assert again.candidates == result.candidates
