"""What a method sees: weights and streams that the seed alone decides, losses that only ask."""

from __future__ import annotations

import pytest
import torch

import tiny
from morphogen.bilevel.gates import softmax_gates, start_alphas
from morphogen.spaces import make
from morphogen.supernets import NetworkSpec, frozen_statistics, space_of
from morphogen.tasks.classification import Images, ImageTask
from morphogen.tasks.problem import Clock, Problem, trainable


def weights(seed: int, noise: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(noise)
    return dict(tiny.problem(make("nasbench201"), seed=seed).supernet().state_dict())


def test_a_supernets_first_weights_are_decided_by_the_seed_alone():
    with torch.random.fork_rng(devices=[]):
        first = weights(0, noise=1)
        before = torch.get_rng_state()
        assert tiny.same(weights(0, noise=2), first)
        assert not torch.equal(weights(1, noise=1)["stem.0.weight"], first["stem.0.weight"])
        torch.manual_seed(1)
        assert torch.equal(torch.get_rng_state(), before)  # building drew nothing from it


def test_all_streams_continue_from_their_state():
    problem, other = tiny.problem(space_of(tiny.own())), tiny.problem(space_of(tiny.own()))

    def draw(p):
        noise = torch.rand(3, generator=p.search_rng)
        return [*p.batch("train")[:2], *p.batch("valid")[:2], noise, p.numpy_rng.random()]

    for _ in range(3):
        draw(problem)
    other.load_state_dict(problem.state_dict())
    assert other.seen == problem.seen == {"train": 48, "valid": 48}
    assert tiny.same(draw(problem), draw(other))


def test_the_bilevel_loss_is_the_loss_and_moves_nothing():
    problem = tiny.problem(space_of(tiny.own()))
    net = problem.supernet()
    net.module.stem.requires_grad_(False)
    alphas = start_alphas(problem.space, problem.search_rng, problem.devices.device)
    batch = problem.batch("valid")
    loss = problem.bilevel_loss(net, lambda a: softmax_gates(problem.space, a), batch)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    given = trainable(net)
    assert set(dict(net.named_parameters())) - set(given) == {
        f"module.stem.{name}" for name in ("0.weight", "1.weight", "1.bias")
    }
    value = loss(list(given.values()), alphas)
    shifted = loss([w + 0.1 for w in given.values()], alphas)
    assert tiny.same(dict(net.state_dict()), before)
    assert value != shifted
    torch.testing.assert_close(
        value, problem.loss(net, softmax_gates(problem.space, alphas), batch)
    )
    assert not tiny.same(dict(net.state_dict()), before)  # a weight step's loss does move them


def test_smoothing_is_of_the_loss_that_trains_weights_and_of_no_other():
    space = make("nasbench201")
    sharp, smooth = tiny.problem(space), tiny.problem(space)
    smooth.task.label_smoothing = 0.2
    net = sharp.supernet()
    alphas = [torch.zeros(space.masks[g].shape) for g in space.groups]
    gates = softmax_gates(space, alphas)
    batch = sharp.batch("train")
    x, y, _ = batch
    logs = net(x, gates).log_softmax(1)
    wanted = -(0.8 * logs[range(len(y)), y] + 0.2 * logs.mean(1)).mean()
    torch.testing.assert_close(smooth.loss(net, gates, batch), wanted)
    asked = [
        p.bilevel_loss(net, lambda a: softmax_gates(space, a), batch)(
            list(net.parameters()), alphas
        )
        for p in (sharp, smooth)
    ]
    torch.testing.assert_close(asked[0], asked[1], rtol=0, atol=0)


def test_schedules_are_constant_in_an_epoch_and_end_where_they_should():
    clocks = [Clock(epoch, 4, step, 2) for epoch in range(4) for step in range(2)]
    cosine = [c.cosine(1.0, 0.2) for c in clocks]
    assert cosine[::2] == cosine[1::2]
    # half a cosine over four epochs: 1, (1 + cos pi/4)/2, 1/2, ... scaled to 0.2 .. 1
    assert cosine[::2] == pytest.approx([1.0, 0.88284271, 0.6, 0.31715729])
    assert [c.linear(10.0, 0.1) for c in clocks][::2] == pytest.approx([10.0, 6.7, 3.4, 0.1])


def test_other_weights_are_used_in_place_of_the_nets_own_which_stay():
    space = make("nasbench201")
    problem, other = tiny.problem(space), tiny.problem(space, seed=1)
    net, teacher = problem.supernet(), other.supernet()
    x, _, _ = problem.batch("train")
    gates = softmax_gates(space, start_alphas(space, problem.search_rng, x.device))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    wanted = problem.forward(teacher, gates, x)
    with frozen_statistics(net):
        by_order = problem.forward(net, gates, x, list(teacher.parameters()))
        by_name = problem.forward(net, gates, x, dict(teacher.named_parameters()))
        head = {"classifier.bias": net.classifier.bias + 1}
        lifted = problem.forward(net, gates, x, head) - problem.forward(net, gates, x)
    assert torch.equal(by_order, wanted)
    assert torch.equal(by_name, wanted)
    torch.testing.assert_close(lifted, torch.ones_like(lifted))
    assert tiny.same(dict(net.state_dict()), before)


def test_what_networks_are_judged_on_has_the_shares_of_the_classes_and_stays():
    """Ordered by class, as folders of images are: the first forty would be of one class alone."""
    labels = torch.tensor([0] * 120 + [1] * 60 + [2] * 20)
    data = Images(torch.zeros(200, 1, 8, 8, dtype=torch.uint8), labels, ("a", "b", "c"))
    task = ImageTask.of(data, train_images=100, valid_images=100)
    spec = NetworkSpec(channels=2, depth=1, classes=3, in_channels=1)
    problem = Problem(make("nasbench201"), task, spec, batch_size=16)
    rows = problem.chosen("valid", 40, "diagnostics/valid")
    assert torch.bincount(task.batch("valid", rows).y).tolist() == [24, 12, 4]
    assert len(set(rows.tolist())) == 40
    assert torch.equal(problem.chosen("valid", 40, "diagnostics/valid"), rows)
    assert sorted(problem.chosen("valid", 0, "diagnostics/valid").tolist()) == list(range(100))
