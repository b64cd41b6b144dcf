"""A short training as a score: repeatable, better than chance, blind to test data."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import tiny
from morphogen.bilevel.optimisers import SGD
from morphogen.core import NumericalError
from morphogen.evaluators.training import TrainingEvaluator
from morphogen.spaces import make
from morphogen.supernets import NetworkSpec, space_of
from morphogen.tasks.classification import ImageTask
from morphogen.tasks.problem import Problem

CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
OTHER = "|avg_pool_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|skip_connect~0|none~1|none~2|"


def evaluator(seed: int = 0, epochs: int = 1) -> TrainingEvaluator:
    return TrainingEvaluator(tiny.problem(make("nasbench201"), seed=seed), epochs, 16)


def test_a_score_depends_on_architecture_and_seed_and_on_nothing_before():
    space = make("nasbench201")
    cell, other = space.parse(CELL), space.parse(OTHER)
    one = evaluator()
    first = one([cell, other, cell])
    assert first[0] == first[2]
    torch.manual_seed(77)
    torch.rand(3)
    assert evaluator()([other]) == [first[1]]
    assert one([]) == []
    assert evaluator(seed=5)([cell, other]) != first[:2]


def test_global_generator_and_the_searchs_streams_are_left_alone():
    one = evaluator()
    before, state = torch.get_rng_state(), one.problem.state_dict()
    one([make("nasbench201").parse(CELL)])
    assert torch.equal(torch.get_rng_state(), before)
    assert tiny.same(one.problem.state_dict(), state)


def test_embedded_fashion_mnist_is_learnt_above_chance():
    task = ImageTask.of("fashion-mnist", train_images=600, valid_images=300, size=16)
    spec = NetworkSpec(channels=4, depth=1, in_channels=task.in_channels, classes=10)
    problem = Problem(make("nasbench201"), task, spec, batch_size=32)
    (score,) = TrainingEvaluator(problem, 2, 32)([problem.space.parse(CELL)])
    assert score > 30  # chance is 10
    assert task.test_openings == ()


def test_a_users_module_is_trained_as_a_copy():
    module = tiny.own()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    problem = tiny.problem(space_of(module))
    arch = problem.space.parse("block1=skip;block2=conv3;pool=max")
    (score,) = TrainingEvaluator(problem, 1, 16)([arch])
    assert 0 <= score <= 100
    assert tiny.same(dict(module.state_dict()), before)


def test_every_weight_is_trained_by_a_step():
    """One step at a large rate, compared with torch's own loop on the same network and batch."""
    problem = tiny.problem(space_of(tiny.smooth()))
    arch = problem.space.parse("block=conv;head=one")
    from morphogen.supernets import network

    net = network(problem.space, arch, problem.spec)
    stream = problem.stream("train", 100, "evaluation")
    optimiser = torch.optim.SGD(
        net.parameters(), lr=0.5, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    for epoch in range(2):
        optimiser.param_groups[0]["lr"] = 0.5 * (1, 0.5)[epoch]  # half a cosine to zero
        x, y, _ = stream.next()
        optimiser.zero_grad()
        problem.task.loss(net(x), y).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
    net.eval()
    x, y, _ = next(problem.task.once("valid", 500))
    expected = 100 * float((net(x).argmax(1) == y).double().mean())
    assert TrainingEvaluator(problem, 2, 100, SGD(lr=0.5, lr_end=0.0))([arch]) == [expected]


def test_a_loss_that_is_not_finite_is_named():
    problem = tiny.problem(make("nasbench201"))
    hot = TrainingEvaluator(problem, 1, 16, replace(SGD(), lr=1e3, weight_decay=1e6, clip=0.0))
    with pytest.raises(NumericalError) as caught:
        hot([problem.space.parse(CELL)])
    assert CELL in str(caught.value)
    assert "weights.lr" in str(caught.value)
    assert "\n" not in str(caught.value)
