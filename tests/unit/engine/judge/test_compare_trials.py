"""Trials on a table and what is said of them: against the table, scipy and pencil and paper."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import tiny
from morphogen import benchmarks
from morphogen.core import CapabilityError, ConfigError, RunError
from morphogen.engine.judge.standings import Entry, holm, standings
from morphogen.engine.judge.trials import (
    Trace,
    Trial,
    curve,
    incumbents,
    queries_to_optimum,
    run_trial,
    run_trials,
    searched,
)
from morphogen.engine.search.search import search
from morphogen.methods.random import RandomSearchConfig

TABLE = benchmarks.load("nasbench201")
METRIC, REPORT = "cifar10_valid_12", "cifar10_test_200"
TRIAL = Trial("random", RandomSearchConfig(), "nasbench201", METRIC, seed=3, budget=30)


def test_a_trial_is_the_search_with_the_same_seed(tmp_path):
    """The engine's own search, with its run directory, looks the same architectures up."""
    result = search(
        "random",
        data=tiny.images(),
        settings=tiny.changed(tiny.SETTINGS, evaluator="table", evaluations=30, seed=3),
        run=tmp_path / "run",
    )
    rows = run_trial(TRIAL).rows
    assert [TABLE.index(row["candidate"]) for row in result.history] == rows.tolist()
    assert [row["score"] for row in result.history] == TABLE.values(METRIC)[rows].tolist()


@pytest.mark.slow
def test_equal_trials_are_equal_in_other_processes_too():
    trials = [replace(TRIAL, seed=s) for s in range(3)]
    here = run_trials(trials, workers=1)
    there = run_trials(trials, workers=2)
    for one, other in zip(here, there, strict=True):
        assert one.rows.tolist() == other.rows.tolist()
    assert len({tuple(t.rows) for t in here}) == 3


def test_an_interrupted_comparison_goes_on_where_it_was(tmp_path, monkeypatch):
    record = tmp_path / "trials.jsonl"
    trials = [replace(TRIAL, seed=s) for s in range(4)]
    run_trials(trials[:2], record=record, workers=1)
    with record.open("a") as file:
        file.write('{"trial": {"method"')  # cut short by a crash
    done = []
    calls = []
    original = run_trial
    monkeypatch.setattr(
        "morphogen.engine.judge.trials.run_trial", lambda t: (calls.append(t.seed), original(t))[1]
    )
    found = run_trials(trials, record=record, workers=1, done=lambda n, of: done.append((n, of)))
    assert calls == [2, 3]
    assert done == [(2, 4), (3, 4), (4, 4)]
    calls.clear()
    again = run_trials(trials, record=record, workers=1)
    assert calls == []
    for one, other in zip(found, again, strict=True):
        assert one.rows.tolist() == other.rows.tolist()


def test_what_is_no_record_is_refused(tmp_path):
    record = tmp_path / "trials.jsonl"
    record.write_text(json.dumps({"other": 1}) + "\n")
    with pytest.raises(RunError, match=r"line 1 of .* has no trial; accepted: what compare wrote"):
        run_trials([TRIAL], record=record, workers=1)


@pytest.mark.parametrize(
    ("change", "kind", "part"),
    [
        ({"method": "darts"}, CapabilityError, "trains a supernet and asks for no scores"),
        ({"metric": REPORT}, ConfigError, "is a test figure"),
        ({"space": "darts"}, CapabilityError, "has no benchmark table"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, kind, part):
    with pytest.raises(kind, match=part):
        run_trial(replace(TRIAL, **change))


def test_a_test_figure_is_read_only_when_it_is_said():
    assert searched("nasbench-macro", "test_acc", oracle=True)[1] == "test_acc"
    trace = run_trial(
        replace(TRIAL, space="nasbench-macro", metric="test_acc", oracle=True, budget=5)
    )
    assert len(set(trace.rows)) == 5


def test_incumbents_by_hand():
    assert incumbents(np.array([3.0, 1.0, 3.0, 4.0, 2.0, 4.0])).tolist() == [0, 0, 0, 3, 3, 3]
    assert incumbents(np.array([-2.0])).tolist() == [0]


def test_curves_follow_the_best_by_validation_and_not_by_test():
    rng = np.random.default_rng(0)
    rows = rng.choice(len(TABLE), 20, replace=False)
    valid, test = TABLE.values(METRIC), TABLE.values(REPORT)
    found = curve(TABLE, Trace(rows, 0.0), METRIC, REPORT, 25)
    for k in range(25):
        head = rows[: k + 1]
        assert found[k] == test[head[np.argmax(valid[head])]]


def test_queries_to_the_optimum_are_counted_from_one():
    best = int(np.argmax(TABLE.values(METRIC)))
    others = [r for r in range(10) if r != best]
    for place in (0, 4):
        rows = np.array([*others[:place], best, *others[place:]])
        assert queries_to_optimum(TABLE, Trace(rows, 0.0), METRIC) == place + 1
    assert queries_to_optimum(TABLE, Trace(np.array(others), 0.0), METRIC) is None


def test_standings_are_those_of_scipy():
    """Three made-up methods over eight seeds."""
    rng = np.random.default_rng(1)
    valid = TABLE.values(METRIC)
    order = np.argsort(valid)
    pools = {"bad": order[:2000], "middling": order[6000:9000], "good": order[12000:]}
    entries = [
        Entry(name, [Trace(rng.choice(pool, 10, replace=False), 1.0) for _ in range(8)])
        for name, pool in pools.items()
    ]
    content = standings(TABLE, METRIC, REPORT, entries, 10)
    assert [e["name"] for e in content["entries"]] == ["good", "middling", "bad"]
    assert [e["mean_rank"] for e in content["entries"]] == [1.0, 2.0, 3.0]
    ends = {e.name: [valid[t.rows].max() for t in e.traces] for e in entries}
    expected = stats.friedmanchisquare(*ends.values()).pvalue
    assert content["tests"]["friedman_p"] == pytest.approx(expected)
    p = stats.wilcoxon(ends["good"], ends["bad"]).pvalue
    assert content["tests"]["wilcoxon_p_against_first"]["bad"] == pytest.approx(2 * p)
    good = content["entries"][0]
    test = TABLE.values(REPORT)
    values = [test[t.rows[np.argmax(valid[t.rows])]] for t in entries[2].traces]
    low, high = stats.t.interval(0.95, 7, np.mean(values), stats.sem(values))
    assert good["reported"]["mean"] == pytest.approx(np.mean(values))
    assert (good["reported"]["low"], good["reported"]["high"]) == pytest.approx((low, high))
    assert good["curves"]["queries"][0] == 1
    assert good["curves"]["queries"][-1] == 10
    assert good["curves"]["regret"]["mean"][-1] == pytest.approx(test.max() - np.mean(values))
    assert good["optimum"]["of"] == 8


def test_equal_methods_are_not_told_apart():
    traces = [Trace(np.arange(s, s + 5), 1.0) for s in range(6)]
    content = standings(TABLE, METRIC, REPORT, [Entry("one", traces), Entry("two", traces)], 5)
    assert [e["mean_rank"] for e in content["entries"]] == [1.5, 1.5]
    assert content["tests"]["wilcoxon_p_against_first"] == {"two": 1.0}


def test_holms_correction_by_hand():
    """Holm 1979: 0.01 x 3; 0.02 x 2; the largest as it is, and never below one before it."""
    found = holm({"a": 0.04, "b": 0.01, "c": 0.02})
    assert found == pytest.approx({"a": 0.04, "b": 0.03, "c": 0.04})
    assert holm({"a": 0.9, "b": 0.6}) == pytest.approx({"a": 1.0, "b": 1.0})
    assert holm({}) == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": [0, 10**9]}, "no 4 different ones of 15625"),
        ({"rows": [1, 1]}, "no 4 different ones"),
        ({"rows": [1, 2, 3, 4, 5]}, "no 4 different ones"),
        ({"rows": [-1]}, r"line 1 of .* has rows.0 -1; accepted: greater than or equal to 0"),
        ({"rows": [1.5]}, "has rows.0 1.5; accepted: a whole number"),
        ({"rows": []}, "has rows"),
        ({"rows": "12"}, "has rows '12'; accepted: a list"),
        ({"seconds": None}, "has seconds None; accepted: a number"),
        ({"trial": [1]}, "accepted: a mapping of names to values"),
    ],
)
def test_a_record_that_was_edited_is_refused_by_line_and_field(change, said, tmp_path):
    record = tmp_path / "trials.jsonl"
    one = replace(TRIAL, budget=4)
    run_trials([one], record=record, workers=1)
    row = json.loads(record.read_text())
    record.write_text(json.dumps(row | change) + "\n")
    with pytest.raises(RunError, match=said):
        run_trials([one], record=record, workers=1)
    record.write_text(json.dumps(row).replace('"seconds": ', '"seconds": NaN, "x": ') + "\n")
    assert len(run_trials([one], record=record, workers=1)) == 1  # cut short: done again
