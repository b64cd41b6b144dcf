"""Diagnostics against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import tiny
from morphogen.core import Architecture, Choice
from morphogen.evaluators.diagnostics import (
    decisions_changed,
    discretization_gap,
    entropy,
    report,
    skip_connections,
)
from morphogen.spaces import SearchSpace, make
from morphogen.supernets import Gates, space_of
from morphogen.tasks.problem import Problem

ARCH = "block1=conv3;block2=skip;pool=max"


def gates(*rows: list[float], live=None) -> Gates:
    live = live or tuple(tuple(range(len(r))) for r in rows)
    return Gates({"g": torch.tensor(rows)}, {"g": live})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (gates([0.25, 0.25, 0.25, 0.25]), 1.0),
        (gates([1.0, 0.0, 0.0, 0.0]), 0.0),
        # H(1/2, 1/4, 1/4) = 1.5 ln 2, divided by ln 3
        (gates([0.5, 0.25, 0.25]), 1.5 * math.log(2) / math.log(3)),
        # the mean over rows of 1 and of 0
        (gates([0.5, 0.5], [1.0, 0.0]), 0.5),
        # sigmoid gates are divided by their sum first: (0.9, 0.3) -> (3/4, 1/4)
        (gates([0.9, 0.3]), (2 * math.log(2) - 0.75 * math.log(3)) / math.log(2)),
        # a masked column does not count: two live options, uniform
        (gates([0.5, 0.5, 0.0], live=((0, 1),)), 1.0),
        # a row with one live option is no decision
        (gates([1.0, 0.0], [0.5, 0.5], live=((0,), (0, 1))), 1.0),
        (gates([1.0, 0.0], live=((0,),)), 0.0),
    ],
)
def test_entropy(given, expected):
    assert entropy(given) == pytest.approx(expected, abs=1e-7)


def test_skip_connections_are_counted():
    space = make("nasbench201")
    text = "|skip_connect~0|+|none~0|skip_connect~1|+|nor_conv_3x3~0|skip_connect~1|none~2|"
    assert skip_connections(space.parse(text)) == 3
    assert skip_connections(Architecture({"a": "identity", "b": (), "c": ("conv", "skip")})) == 2


def test_decisions_changed_is_a_share_of_the_choices():
    space = SearchSpace("s", [Choice(n, ("x", "y")) for n in "abcd"])
    one, two = space.parse("a=x;b=x;c=x;d=x"), space.parse("a=y;b=x;c=x;d=x")
    assert decisions_changed(None, one) == 0
    assert decisions_changed(one, one) == 0
    assert decisions_changed(one, two) == 0.25


@pytest.fixture(scope="module")
def trained():
    """A problem and a supernet after some steps, so that running statistics mean something."""
    from morphogen.methods.darts import DARTS

    problem = tiny.problem(space_of(tiny.own()))
    method = DARTS(tiny.config("darts"))
    state = method.init(problem)
    for _ in range(5):
        method.step(state, problem, tiny.CLOCK)
    return problem, state.net, method.gates(state, problem.space)


def test_an_already_discrete_gate_has_no_gap_at_all(trained):
    """Card 7.9: exactly 0, whether the gates are a path or soft ones that have become one-hot."""
    problem, net, _ = trained
    arch = problem.space.parse(ARCH)
    path = Gates.of(problem.space, arch)
    for discrete in (path, Gates.dense(problem.space, path.weights)):
        gap = discretization_gap(problem, net, discrete, arch, 100)
        assert gap["supernet_accuracy"] == gap["discrete_accuracy"]
        assert gap["supernet_loss"] == gap["discrete_loss"]


def test_the_gap_is_that_of_the_networks_on_the_chosen_validation_images(trained):
    problem, net, soft = trained
    arch = problem.space.parse(ARCH)
    gap = discretization_gap(problem, net, soft, arch, 30)
    net.eval()
    with torch.no_grad():
        x, y, _ = problem.task.batch("valid", problem.chosen("valid", 30, "diagnostics/valid"))
        path = Gates.of(problem.space, arch)
        for label, given in (("supernet", soft), ("discrete", path)):
            scores = net(x, given)
            loss = float(nn.functional.cross_entropy(scores, y))
            assert gap[f"{label}_loss"] == pytest.approx(loss, rel=1e-6)
            right = 100 * float((scores.argmax(1) == y).double().mean())
            assert gap[f"{label}_accuracy"] == pytest.approx(right)
        net.train()
        statistics = {k: v.clone() for k, v in net.state_dict().items()}
        loss = float(nn.functional.cross_entropy(net(x, path), y))
        net.load_state_dict(statistics)
    assert gap["recalibrated_loss"] == pytest.approx(loss, rel=1e-5)
    assert gap["recalibrated_loss"] != gap["discrete_loss"]
    assert gap["supernet_loss"] != gap["discrete_loss"]


def test_measuring_changes_nothing(trained):
    problem, net, soft = trained
    net.train()
    net.module.stem.eval()
    modes = [m.training for m in net.modules()]
    before = {k: v.clone() for k, v in net.state_dict().items()}
    streams, global_rng = problem.state_dict(), torch.get_rng_state()
    discretization_gap(problem, net, soft, problem.space.parse(ARCH), 50)
    assert [m.training for m in net.modules()] == modes
    assert tiny.same(dict(net.state_dict()), before)
    assert tiny.same(problem.state_dict(), streams)
    assert torch.equal(torch.get_rng_state(), global_rng)
    net.train()


def test_recalibration_reaches_the_norms_of_a_fused_cell():
    problem = tiny.problem(make("nasbench201"), channels=4)
    net = problem.supernet()
    arch = problem.space.parse(
        "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|nor_conv_3x3~1|avg_pool_3x3~2|"
    )
    path = Gates.of(problem.space, arch)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.fill_(5.0)  # statistics that are plainly wrong
    gap = discretization_gap(problem, net, path, arch, 60)
    with torch.no_grad():
        x, y, _ = problem.task.batch("valid", problem.chosen("valid", 60, "diagnostics/valid"))
        loss = float(nn.functional.cross_entropy(net(x, path), y))
    assert gap["recalibrated_loss"] == pytest.approx(loss, rel=1e-5)
    assert abs(gap["discrete_loss"] - gap["recalibrated_loss"]) > 0.01


def test_skips_are_counted_where_the_space_has_any(trained):
    problem, _, _ = trained
    for name, counted in (("nasbench201", True), ("nasbench-macro", True), ("anynet", False)):
        space = make(name)
        arch = space.sample(problem.numpy_rng)
        some = Problem(space, problem.task, problem.spec, batch_size=10, seed=0)
        assert ("skips" in report(some, None, None, arch, None, 0)) == counted


def test_a_report_without_images_measures_no_network(trained):
    problem, net, soft = trained
    arch = problem.space.parse(ARCH)
    short = report(problem, net, soft, arch, None, 0)
    assert set(short) == {"entropy", "skips", "decisions_changed"}
    assert short["skips"] == 1
    full = report(problem, net, soft, arch, arch, 20)
    assert set(full) - set(short) == {
        f"{which}_{what}"
        for which in ("supernet", "discrete", "recalibrated")
        for what in ("accuracy", "loss")
    }
