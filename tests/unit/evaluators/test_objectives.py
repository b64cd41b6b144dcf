"""Objectives and limits: read from text, maximised with the right sign, from the right source."""

from __future__ import annotations

import numpy as np
import pytest

from morphogen import benchmarks, cost
from morphogen.core import Architecture, ConfigError, NumericalError, UnknownNameError
from morphogen.evaluators import objectives
from morphogen.evaluators.limits import limits_of
from morphogen.evaluators.objectives import (
    Costs,
    Objective,
    Objectives,
    maximised,
    objective,
    objectives_of,
)
from morphogen.spaces import make
from morphogen.supernets import NetworkSpec
from morphogen.tasks import Metric

SPEC = NetworkSpec(channels=4, depth=1)
IMAGE = (3, 16, 16)
ACCURACY, MAE = Metric("accuracy", "%"), Metric("mae", higher_is_better=False)
SCORE, PARAMS = Objective("accuracy", True), Objective("params", False)


def test_objectives_are_read_in_their_order():
    assert objectives_of("accuracy", ACCURACY) == (SCORE,)
    assert objectives_of("", ACCURACY) == (SCORE,)
    several = objectives_of(" params, accuracy ,latency", ACCURACY)
    assert several == (PARAMS, SCORE, Objective("latency", False))
    assert objectives_of("mae", MAE) == (Objective("mae", False),)
    assert objectives_of("", MAE, "proxy", "nwot") == (Objective("proxy_nwot", True),)


@pytest.mark.parametrize(
    ("text", "kind", "part"),
    [
        ("accuracy,param", UnknownNameError, "did you mean 'params'"),
        ("mae", UnknownNameError, "unknown objective 'mae'"),
        ("params,params", ConfigError, "one of them twice"),
    ],
)
def test_objectives_that_cannot_be_are_refused(text, kind, part):
    with pytest.raises(kind, match=part):
        objectives_of(text, ACCURACY)


def test_a_function_of_ones_own_is_an_objective_by_its_name(monkeypatch):
    monkeypatch.setattr(objectives, "_OWN", {})

    def layers(arch: Architecture) -> float:
        return float(len(arch))

    objective("layers", unit="of them", higher_is_better=True)(layers)
    objective("layers")(layers)  # a notebook's cell runs twice
    objective("layers", unit="of them", higher_is_better=True)(layers)
    named = objectives_of("accuracy,layers", ACCURACY)
    assert named == (SCORE, Objective("layers", True))
    space = make("nasbench201")
    costs = Costs(space, None, SPEC, IMAGE)
    values = Objectives(named, lambda archs: [70.0], costs)(space.sample(np.random.default_rng(0)))
    assert values == {"accuracy": 70.0, "layers": 6.0}
    assert maximised(values, named).tolist() == [70.0, 6.0]
    assert costs.unit("layers") == "of them"
    for name, part in (("params", "is a cost already"), ("la yers", "name of")):
        with pytest.raises(ConfigError, match=part):
            objective(name)(layers)
    with pytest.raises(ConfigError, match=r"registered twice, by .*layers and by .*<lambda>"):
        objective("layers")(lambda arch: 0.0)


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
    assert maximised(values, (SCORE, PARAMS)).tolist() == [90.0, -5.0]
    assert maximised(values, (PARAMS, SCORE)).tolist() == [-5.0, 90.0]
    assert maximised(None, (SCORE, PARAMS)).tolist() == [-np.inf, -np.inf]


def test_an_error_is_recorded_as_it_is_and_told_with_a_minus():
    space, error = make("nasbench201"), objectives_of("", MAE)
    work = Objectives(error, lambda archs: [-0.5], Costs(space, None, SPEC, IMAGE))
    values = work(space.sample(np.random.default_rng(0)))
    assert values == {"mae": 0.5}
    assert maximised(values, error).tolist() == [-0.5]


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_no_number_is_a_failure(score):
    space = make("nasbench201")
    work = Objectives((SCORE,), lambda archs: [score], Costs(space, None, SPEC, IMAGE))
    with pytest.raises(NumericalError, match="accuracy is"):
        work(space.sample(np.random.default_rng(0)))
