"""What modules draw from torch's global generators, and that losses draw it once."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import cross_entropy, softplus

import tiny
from morphogen.bilevel.gates import sampled_path, softmax_gates, start_alphas
from morphogen.bilevel.hypergradient import neumann, unrolled
from morphogen.bilevel.optimisers import SGD
from morphogen.evaluators.short import ShortTraining
from morphogen.evaluators.traces import Recorder, layers_of, probe_of
from morphogen.spaces import make
from morphogen.supernets import frozen_statistics, space_of
from morphogen.supernets.global_rng import CPU, OwnDraws, ReplayedDraws, forked_rng, generators
from morphogen.tasks.problem import trainable

LR, DECAY = 0.3, 0.01


def numbers(count: int = 3) -> list[float]:
    return torch.rand(count).tolist()


def test_what_is_drawn_aside_is_as_if_it_were_not():
    torch.manual_seed(1)
    plain = numbers(6)
    torch.manual_seed(1)
    first = numbers()
    with forked_rng(CPU, seed=5):
        within = numbers()
    with contextlib.suppress(KeyError), forked_rng(CPU):
        numbers()
        raise KeyError
    assert first + numbers() == plain
    torch.manual_seed(5)
    assert numbers() == within


def test_a_seed_is_for_the_devices_named(monkeypatch):
    """Generators of others would not be where they were afterwards."""
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda _: pytest.fail("another device"))
    with forked_rng(CPU, seed=5):
        within = numbers()
    assert within == torch.rand(3, generator=torch.Generator().manual_seed(5)).tolist()


def test_draws_made_once_are_the_first_ones_and_count_once():
    torch.manual_seed(1)
    plain = numbers(6)
    extra = torch.Generator().manual_seed(2)
    expected = torch.rand(2, generator=torch.Generator().manual_seed(2)).tolist()
    torch.manual_seed(1)
    once, drawn, more = ReplayedDraws(CPU, more=[extra]), [], []
    for _ in range(3):
        with once():
            drawn.append(numbers())
            more.append(torch.rand(1, generator=extra).item())
        torch.get_rng_state()
    assert drawn == [plain[:3]] * 3
    assert numbers() == plain[3:]
    assert more == expected[:1] * 3
    assert torch.rand(1, generator=extra).item() == expected[1]


def test_an_own_stream_goes_on_whatever_is_drawn_between():
    torch.manual_seed(5)
    plain = numbers(6)
    own, found = OwnDraws(CPU, seed=5), []
    torch.manual_seed(1)
    for _ in range(2):
        before = torch.get_rng_state()
        with own():
            found += numbers()
        assert torch.equal(torch.get_rng_state(), before)
        numbers()
    assert found == plain


def test_generators_are_named_once():
    assert generators() == generators(CPU, CPU) == [torch.default_generator]


# -- the loss of a bilevel problem -----------------------------------------------------------------


def bilevel(space, **spec):
    problem = tiny.problem(space, **spec)
    net = problem.supernet()
    alphas = start_alphas(problem.space, problem.search_rng, CPU)
    return problem, net, alphas


def by_hand(problem, net, alphas, train, valid):
    """d outer(w - lr (grad inner + decay w), alpha) / d alpha, through the step, by autograd."""
    w = {name: p.detach().clone().requires_grad_() for name, p in trainable(net).items()}

    def loss(weights, batch):
        gates = softmax_gates(problem.space, alphas)
        scores = functional_call(net, weights, (batch[0], gates))
        return cross_entropy(scores, batch[1])

    torch.manual_seed(7)
    found = torch.autograd.grad(loss(w, train), list(w.values()), create_graph=True)
    steps = zip(w.items(), found, strict=True)
    stepped = {name: p - LR * (g + DECAY * p) for (name, p), g in steps}
    return torch.autograd.grad(loss(stepped, valid), alphas)


def test_differences_of_a_network_that_draws_equal_the_gradient_through_the_step():
    problem, net, alphas = bilevel(space_of(tiny.drawing(softplus)))
    train, valid = problem.batch("train"), problem.batch("valid")

    def found(radius):
        torch.manual_seed(7)
        inner, outer = (
            problem.bilevel_loss(net, lambda a: softmax_gates(problem.space, a), batch)
            for batch in (train, valid)
        )
        weights = list(trainable(net).values())
        return unrolled(inner, outer, weights, alphas, lr=LR, weight_decay=DECAY, radius=radius)

    exact = by_hand(problem, net, alphas, train, valid)
    for radius in (None, 0.01):
        gradient = found(radius)
        for total, direct, true in zip(gradient.total, gradient.direct, exact, strict=True):
            implicit = true - direct
            assert implicit.norm() > 1e-6  # else the bound below would bind nothing
            assert (total - true).norm() < 0.02 * implicit.norm()


def test_differences_of_the_series_equal_its_exact_product_where_layers_draw():
    problem, net, alphas = bilevel(space_of(tiny.drawing(softplus)))
    train, valid = problem.batch("train"), problem.batch("valid")

    def implicit(radius):
        torch.manual_seed(7)
        inner, outer = (
            problem.bilevel_loss(net, lambda a: softmax_gates(problem.space, a), batch)
            for batch in (train, valid)
        )
        weights = list(trainable(net).values())
        return neumann([inner], outer, weights, alphas, terms=2, step=0.1, radius=radius).implicit

    for rough, exact in zip(implicit(0.01), implicit(None), strict=True):
        assert exact.norm() > 1e-6
        assert (rough - exact).norm() < 0.02 * exact.norm()


def test_a_loss_on_s4_draws_its_noise_once():
    problem, net, alphas = bilevel(make("darts-s4"), depth=3)
    batch, weights = problem.batch("train"), list(trainable(net).values())
    torch.manual_seed(7)
    with frozen_statistics(net):
        scores = net(batch[0], softmax_gates(problem.space, alphas))
    value = cross_entropy(scores, batch[1])
    after = torch.get_rng_state()
    torch.manual_seed(7)
    loss = problem.bilevel_loss(net, lambda a: softmax_gates(problem.space, a), batch)
    for _ in range(3):
        torch.testing.assert_close(loss(weights, alphas), value, rtol=0, atol=0)
        assert torch.equal(torch.get_rng_state(), after)
    other = problem.bilevel_loss(net, lambda a: softmax_gates(problem.space, a), batch)
    assert loss(weights, alphas) != other(weights, alphas)


def test_a_loss_samples_its_path_once():
    problem, net, alphas = bilevel(space_of(tiny.smooth()))
    paths = []

    def drawn(a):
        paths.append(sampled_path(problem.space, a, 1.0, problem.search_rng))
        return paths[-1]

    batch, weights = problem.batch("train"), list(trainable(net).values())
    losses = [problem.bilevel_loss(net, drawn, batch) for _ in range(8)]
    values = [[loss(weights, alphas).item() for _ in range(2)] for loss in losses]
    assert all(first == second for first, second in values)
    assert len({str(path.live) for path in paths}) > 1


# -- short trainings -------------------------------------------------------------------------------


def test_a_short_training_draws_from_a_stream_of_its_own_that_no_look_moves():
    problem = tiny.problem(space_of(tiny.drawing()))
    arch = problem.space.parse("block=noise;head=one")
    ends = []
    for looks in (False, True):
        torch.manual_seed(int(looks))
        training = ShortTraining(problem, arch, epochs=1, batch_size=16, descent=SGD())
        outside = torch.get_rng_state()
        recorder = Recorder(training.net, "features", probe_of(training), layers_of(training.net))
        for step in (1, 2, 3):
            training.advance(step)
            if looks:
                recorder.look()
                assert training.score() == training.score()
        assert torch.equal(torch.get_rng_state(), outside)
        ends.append(training.net.state_dict())
    assert tiny.same(dict(ends[0]), dict(ends[1]))
