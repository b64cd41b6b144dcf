"""Scores from a benchmark table: exactly the table's, and never a test figure."""

from __future__ import annotations

import numpy as np
import pytest

import tiny
from morphogen import benchmarks
from morphogen.core import CapabilityError, ConfigError, UnknownNameError
from morphogen.evaluators.table import TableEvaluator
from morphogen.spaces import SearchSpace, make
from morphogen.supernets import space_of

SPACE = make("nasbench201")


def test_scores_are_those_of_the_table():
    table = benchmarks.load("nasbench201")
    rng = np.random.default_rng(0)
    archs = [SPACE.sample(rng) for _ in range(20)]
    for metric in ("", "cifar10_valid_12", "cifar100_valid_12"):
        scores = TableEvaluator(SPACE, metric)(archs)
        name = metric or table.search_metrics[0]
        assert scores == [table.query(a)[name] for a in archs]
        assert all(type(s) is float for s in scores)


@pytest.mark.parametrize("name", benchmarks.load("nasbench201").test_metrics)
def test_test_figures_are_refused(name):
    with pytest.raises(ConfigError) as caught:
        TableEvaluator(SPACE, name)
    assert str(caught.value) == (
        f"metric {name!r} is a test figure; accepted: "
        + ", ".join(benchmarks.load("nasbench201").search_metrics)
    )


def test_an_unknown_metric_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'cifar10_valid_12'"):
        TableEvaluator(SPACE, "cifar10_valid12")


@pytest.mark.parametrize(
    "space", [space_of(tiny.own()), SearchSpace("bare", SPACE.choices)], ids=["own", "bare"]
)
def test_a_space_without_a_table_is_refused(space):
    with pytest.raises(CapabilityError, match="has no benchmark table; accepted evaluators: train"):
        TableEvaluator(space)


def test_costs_are_scores_that_are_better_when_smaller():
    found = [
        (name, m.name)
        for name in benchmarks.NAMES
        for m in benchmarks.load(name).metrics.values()
        if m.for_search and not m.higher_is_better
    ]
    for name, metric in found:
        table = benchmarks.load(name)
        archs = [table.architecture(i) for i in range(5)]
        scores = TableEvaluator(table.space, metric)(archs)
        assert scores == [-table.query(a)[metric] for a in archs]
