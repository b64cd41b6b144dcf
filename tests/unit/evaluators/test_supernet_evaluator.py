"""Scores with inherited weights: norms remade for the path, nothing of the supernet moved."""

import copy

import numpy as np
import pytest
import torch

from morphogen import spaces
from morphogen.core import ConfigError
from morphogen.evaluators.recalibration import batch_statistics, recalibrate, tracking_norms
from morphogen.evaluators.supernet import SupernetEvaluator
from morphogen.supernets import Gates, inherit, space_of
from tiny import images, own, problem

KINDS = ("nasbench201", "nasbench-macro", pytest.param("darts", marks=pytest.mark.slow), "own")


def kind_of(name):
    return space_of(own()) if name == "own" else spaces.make(name)


def trained(p, steps=4):
    """A supernet whose running statistics mix several paths."""
    net = p.supernet()
    rng = np.random.default_rng(2)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(steps):
        optimiser.zero_grad()
        p.loss(net, Gates.of(p.space, p.space.sample(rng)), p.batch("train")).backward()
        optimiser.step()
    return net


def evaluator(p, norms="recalibrate", **options):
    sizes = {"recalibration_examples": 60, "examples": 60, "batch_size": 20}
    return SupernetEvaluator(p, norms=norms, **(sizes | options))


def state(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


@pytest.mark.parametrize("name", KINDS)
def test_scoring_is_repeatable_and_leaves_no_trace(name):
    p = problem(kind_of(name))
    net = trained(p)
    before, rng = state(net), np.random.default_rng(0)
    archs = [p.space.sample(rng) for _ in range(2)]
    for norms in ("recalibrate", "batch"):
        tool = evaluator(p, norms)
        first = [tool.measure(net, arch) for arch in archs]
        assert [evaluator(p, norms).measure(net, arch) for arch in archs[::-1]] == first[::-1]
        assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
        assert all(module.training for module in net.modules())


@pytest.mark.parametrize("name", KINDS)
def test_recalibration_is_of_the_path_alone(name):
    """What other options hold stays to the bit; weights stay; the path's counters are batches."""
    p = problem(kind_of(name))
    net = trained(p, steps=0)
    for norm in tracking_norms(net):
        norm.running_mean.fill_(0.25)
    before = state(net)
    evaluator(p).recalibrate(net, p.space.sample(np.random.default_rng(4)))
    batches = 60 // 20
    moved = 0
    for path, norm in net.named_modules():
        if norm in tracking_norms(net):
            kept = torch.equal(norm.running_mean, before[f"{path}.running_mean"])
            assert int(norm.num_batches_tracked) == (0 if kept else batches)
            moved += not kept
    assert 0 < moved < len(tracking_norms(net))
    for key, value in net.named_parameters():
        assert torch.equal(value, before[key])
    assert {norm.momentum for norm in tracking_norms(net)} == {0.1}


@pytest.mark.parametrize("execution", ["fused", "plain"])
def test_statistics_are_means_over_batches(execution):
    """Each batch counts once, with its mean and its unbiased variance: by hand at the stem."""
    p = problem(spaces.make("nasbench201"), execution=execution)
    net = trained(p)
    tool = evaluator(p)
    tool.recalibrate(net, p.space.sample(np.random.default_rng(1)))
    conv, norm = net.stem[0], net.stem[1]
    with torch.no_grad():
        outs = [conv(x) for x, _, _ in tool._train]
    means = torch.stack([out.mean((0, 2, 3)) for out in outs]).mean(0)
    variances = torch.stack([out.var((0, 2, 3), correction=1) for out in outs]).mean(0)
    torch.testing.assert_close(norm.running_mean, means, atol=1e-6, rtol=0)
    torch.testing.assert_close(norm.running_var, variances, atol=1e-6, rtol=1e-6)


def test_fused_and_plain_execution_recalibrate_alike():
    """The fused norms follow momentum None as nn.BatchNorm2d does."""
    p = problem(spaces.make("nasbench201"), seed=3)
    net = trained(p)
    plain = copy.deepcopy(net)
    plain.execution = "plain"
    arch = p.space.sample(np.random.default_rng(7))
    for one in (net, plain):
        evaluator(p).recalibrate(one, arch)
    for key, value in net.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[key], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("norms", ["recalibrate", "batch"])
def test_a_score_is_the_stand_alone_network_s_with_the_same_weights(norms):
    """An own module's network inherits the weights and is measured in plain PyTorch."""
    space = space_of(own())
    p = problem(space)
    net = trained(p)
    arch = space.sample(np.random.default_rng(5))
    tool = evaluator(p, norms)
    alone = inherit(net, arch).train()
    for norm in tracking_norms(alone):
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        if norms == "recalibrate":
            for x, _, _ in tool._train:
                alone(x)
            alone.eval()
        scores = torch.cat([alone(x) for x, _, _ in tool._valid])
    labels = torch.cat([y for _, y, _ in tool._valid])
    accuracy = 100 * (scores.argmax(1) == labels).double().mean()
    loss = torch.nn.functional.cross_entropy(scores, labels)
    found = tool.measure(net, arch)
    assert found.score == pytest.approx(float(accuracy))
    assert found.loss == pytest.approx(float(loss), rel=1e-5)
    assert found.key == (found.score, -found.loss)


def test_scores_that_are_not_finite_are_wrong_and_come_last():
    p = problem(spaces.make("nasbench-macro"))
    net = p.supernet()
    with torch.no_grad():
        net.ends.classifier.bias[:] = float("nan")
    found = evaluator(p).measure(net, p.space.sample(np.random.default_rng(0)))
    assert (found.score, found.loss) == (0.0, float("inf"))
    assert found.key < (0.0, -100.0)


def test_dropout_stays_off_where_norms_use_batch_statistics():
    net = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Dropout(0.9))
    x = torch.randn(4, 3, 2, 2)
    with batch_statistics(net):
        assert (net(x) != 0).all()
    assert net[1].training
    recalibrate(net, net, [x, x + 1])
    torch.testing.assert_close(net[0].running_mean, x.mean((0, 2, 3)) + 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norms": "running"}, "norms is 'running'; accepted: recalibrate, batch"),
        ({"examples": -1}, "examples is -1; accepted: 0 or more"),
        ({"batch_size": 1}, "batch_size is 1; accepted: 2 or more"),
    ],
)
def test_bad_options_are_one_sentence(options, message):
    with pytest.raises(ConfigError, match=f"^{message}$"):
        evaluator(problem(spaces.make("nasbench201")), **options)


def test_the_images_are_the_problem_s_own():
    """All scores of a seed are on the same images; another seed takes others."""
    one, again, two = (evaluator(problem(spaces.make("nasbench201"), s)) for s in (0, 0, 1))
    assert torch.equal(one._valid[0][0], again._valid[0][0])
    assert not torch.equal(one._valid[0][0], two._valid[0][0])
    assert images().classes == tuple("abcd")


def test_halves_are_of_every_other_batch_and_make_up_the_score():
    p = problem(kind_of("own"))
    net, arch = trained(p), p.space.sample(np.random.default_rng(1))
    found = evaluator(p).measure(net, arch)  # three batches of 20
    tool = evaluator(p)
    tool._valid = tool._valid[1:2]
    alone = tool.measure(net, arch)
    assert found.halves[1] == alone.score
    assert found.score == pytest.approx((40 * found.halves[0] + 20 * found.halves[1]) / 60)
    assert alone.halves is None  # of one batch
