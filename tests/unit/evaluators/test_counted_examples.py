"""The examples in a search's cost are those that went through the supernet."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from torch import is_grad_enabled

import tiny
from morphogen.engine.search.search import resume, search
from morphogen.runs.directory import RunDirectory
from morphogen.tasks.problem import Problem


@pytest.fixture
def passed(monkeypatch):
    """Examples of every pass, of those that train (True) and of those that measure."""
    counted: Counter[bool] = Counter()
    forward = Problem.forward

    def counting(self: Problem, net: Any, gates: Any, x: Any, weights: Any = None) -> Any:
        counted[is_grad_enabled()] += len(x)
        return forward(self, net, gates, x, weights)

    monkeypatch.setattr(Problem, "forward", counting)
    return counted


def spos(tmp_path, norms: str, watcher: Any = tiny.Told):
    config = replace(
        tiny.config("spos"), norms=norms, fitness_images=40, recalibration_images=30, population=3
    )
    settings = tiny.changed(tiny.SETTINGS, epochs=2)
    space, data = tiny.own(), tiny.images()
    run = tmp_path / norms
    return search(config, space=space, data=data, settings=settings, run=run, watcher=watcher)


@pytest.mark.parametrize("norms", ["recalibrate", "batch"])
def test_single_paths_count_what_they_are_scored_and_recalibrated_on(norms, tmp_path, passed):
    result = spos(tmp_path, norms)
    cost, evaluated = result.cost, int(result.history[-1]["evaluated"])
    recalibrated = 30 * evaluated if norms == "recalibrate" else 0
    assert cost["valid_examples"] == 40 * evaluated
    assert cost["train_examples"] - recalibrated == passed[True] == 2 * 2 * 16
    assert passed[False] == cost["valid_examples"] + recalibrated
    written = RunDirectory(result.run).result()
    assert written is not None
    assert written["cost"]["valid_examples"] == cost["valid_examples"]


def test_a_resumed_search_counts_on(tmp_path):
    whole = spos(tmp_path / "whole", "recalibrate")
    with pytest.raises(KeyboardInterrupt):
        spos(tmp_path, "recalibrate", tiny.Stop(epochs=3))
    again = resume(tmp_path / "recalibrate", space=tiny.own(), data=tiny.images())
    assert [row["examples"] for row in again.history] == [row["examples"] for row in whole.history]


def test_selection_by_accuracy_counts_what_it_measures_on(tmp_path, passed):
    config = replace(tiny.config("darts-pt"), selection_images=20)
    settings = tiny.changed(tiny.SETTINGS, epochs=1, diagnostic_images=0)
    result = search(
        config, space=tiny.own(), data=tiny.images(), settings=settings, run=tmp_path / "run"
    )
    drawn = sum(result.cost[f"{part}_examples"] for part in ("train", "valid"))
    assert passed[False] > 0
    assert passed[True] + passed[False] == drawn
