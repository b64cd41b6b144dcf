"""A search whose gates prefer nothing, or whose supernet is not what it delivers, says so."""

import math

import pytest

from morphogen.engine.search.result import UNDECIDED, discretised, undecided
from morphogen.runs.described import Described


def entropy(gates):
    return -sum(g * math.log(g) for g in gates) / math.log(len(gates))


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        ([0.2] * 5, True),
        ([0.28, *[0.18] * 4], True),
        ([0.4, *[0.15] * 4], False),
        ([0.96, *[0.01] * 4], False),
    ],
)
def test_uniform_gates_are_said(gates, said):
    assert bool(undecided([{"entropy": 0.1}, {"entropy": entropy(gates)}])) is said


def test_the_sentence_has_the_figure_and_the_remedy():
    (sentence,) = undecided([{"entropy": 0.9961}])
    assert "0.996" in sentence
    assert "more epochs" in sentence


def test_scores_without_gates_say_nothing():
    assert undecided([]) == ()
    assert undecided([{"score": 71.0}]) == ()


def test_the_limit_is_what_its_comment_says():
    assert entropy([0.31, *[0.69 / 4] * 4]) == pytest.approx(UNDECIDED, abs=0.003)


@pytest.mark.parametrize(("alone", "said"), [(51.0, True), (52.0, False), (75.0, False)])
def test_a_supernet_that_loses_more_than_ten_points_by_its_discretization(alone, said):
    task = Described("accuracy", "%", True, "images")
    row = {"supernet_accuracy": 62.0, "discrete_accuracy": 9.0, "recalibrated_accuracy": alone}
    sentences = discretised([{**row, "recalibrated_accuracy": 0.0}, row], task)
    assert bool(sentences) is said
    assert all("gap is 11.0 points" in s for s in sentences)


def test_of_a_metric_without_percents_no_gap_is_wide():
    task = Described("mae", "mm", False, "signals")
    row = {"supernet_mae": 2.0, "recalibrated_mae": 90.0}
    assert task.gap(row) == 88.0  # less of it is better
    assert discretised([row], task) == ()
    assert discretised([], Described("accuracy", "%", True, "images")) == ()
