"""A search whose gates prefer nothing says so."""

import math

import pytest

from morphogen.engine.search.result import UNDECIDED, undecided


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
