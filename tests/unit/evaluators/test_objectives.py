"""Objectives and limits: read from text, maximised with the right sign, from the right source."""

from __future__ import annotations

import numpy as np
import pytest

from morphogen import benchmarks, cost
from morphogen.core import ConfigError, NumericalError, UnknownNameError
from morphogen.evaluators.limits import limits_of
from morphogen.evaluators.objectives import Costs, Objectives, maximised, names_of
from morphogen.spaces import make
from morphogen.supernets import NetworkSpec

SPEC = NetworkSpec(channels=4, depth=1)
IMAGE = (3, 16, 16)


def test_objectives_are_read_in_their_order():
    assert names_of("accuracy") == ("accuracy",)
    assert names_of(" params, accuracy ,latency") == ("params", "accuracy", "latency")


@pytest.mark.parametrize(
    ("text", "kind", "part"),
    [
        ("accuracy,param", UnknownNameError, "did you mean 'params'"),
        ("", UnknownNameError, "unknown objective ''"),
        ("params,params", ConfigError, "one of them twice"),
    ],
)
def test_objectives_that_cannot_be_are_refused(text, kind, part):
    with pytest.raises(kind, match=part):
        names_of(text)


def test_costs_are_counted_on_the_networks_of_the_given_size():
    space = make("nasbench201")
    costs = Costs(space, None, SPEC, IMAGE)
    rng = np.random.default_rng(0)
    for _ in range(3):
        arch = space.sample(rng)
        counted = cost.of(space, arch, SPEC, IMAGE)
        assert costs(arch, "params") == counted.params
        assert costs(arch, "flops") == counted.flops
        assert costs(arch, "memory") == counted.memory_access
        assert 0 < costs(arch, "latency") < 1000
        assert costs(arch, "latency") == costs(arch, "latency")  # measured once


def test_a_tables_own_costs_come_first():
    table = benchmarks.load("nasbench-macro")
    costs = Costs(table.space, table, SPEC, IMAGE)
    arch = table.architecture(17)
    assert costs(arch, "params") == table.query(arch)["params"]
    assert costs.unit("flops") == "multiply-adds"
    assert costs.unit("latency").startswith("milliseconds")


def test_limits_accept_up_to_and_with_the_number():
    table = benchmarks.load("nasbench-macro")
    costs = Costs(table.space, table, SPEC, IMAGE)
    column = table.values("params")
    middle = float(np.median(column))
    within = costs.within(limits_of(f"params<={middle}"))
    accepted = [within(table.architecture(i)) for i in range(0, len(table), 50)]
    assert accepted == list(column[::50] <= middle)
    assert costs.within(())(table.architecture(0))


def test_costs_are_told_with_a_minus_and_failures_as_the_worst():
    values = {"accuracy": 90.0, "params": 5.0}
    assert maximised(values, ("accuracy", "params")).tolist() == [90.0, -5.0]
    assert maximised(values, ("params", "accuracy")).tolist() == [-5.0, 90.0]
    assert maximised(None, ("accuracy", "params")).tolist() == [-np.inf, -np.inf]


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_no_number_is_a_failure(score):
    space = make("nasbench201")
    work = Objectives(("accuracy",), lambda archs: [score], Costs(space, None, SPEC, IMAGE))
    with pytest.raises(NumericalError, match="accuracy is"):
        work(space.sample(np.random.default_rng(0)))
