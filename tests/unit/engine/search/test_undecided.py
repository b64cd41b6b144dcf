"""A search whose gates prefer nothing, or whose supernet is not what it delivers, says so."""

import math

import numpy as np
import pytest

import run_directories as made
from morphogen import benchmarks, spaces
from morphogen.engine.search.remarks import UNDECIDED, discretised, lower_half, undecided
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


def test_the_lower_half_of_a_table_is_said_of_its_own_data_or_where_all_its_data_agree():
    space, table = spaces.make("nasbench201"), benchmarks.load("nasbench201")
    order = np.argsort(-table.values("cifar100_test_200"), kind="stable")
    half = len(order) // 2  # of 15,625: as many are better than the next as are worse
    own, other = (made.config(data=data) for data in ("cifar100:c", "photos"))
    worst, better = (table.architecture(int(order[i])) for i in (-1, half - 1))
    assert lower_half(space, better, own) == lower_half(space, better, other) == ()
    (said,) = lower_half(space, worst, own)
    # The last rank is shared by the 341 disconnected cells.
    assert (
        "has 15,284 of its 15,625 architectures before this one (CIFAR-100 test accuracy in %)"
        in said
    )
    (said,) = lower_half(space, worst, other)  # and so do the other two data sets
    assert "most of them on CIFAR-100 and ImageNet16-120, too: other data than these" in said
    ranks = [table.values(f"{d}_test_200") for d in ("cifar10", "cifar100", "imagenet16_120")]
    places = [np.argsort(np.argsort(-values, kind="stable")) for values in ranks]
    apart = int(np.flatnonzero((places[0] > 8000) & (places[2] < 7600))[0])
    assert lower_half(space, table.architecture(apart), other) == ()
    assert lower_half(spaces.make("darts"), spaces.make("darts").parse("DARTS_V1"), own) == ()
