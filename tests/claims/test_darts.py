"""DARTS does what its card says (specs/darts.md, section 7; arXiv 1806.09055)."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

import tiny
from morphogen.bilevel.gates import softmax_gates
from morphogen.bilevel.hypergradient import first_order, sgd_step, unrolled
from morphogen.methods import darts as module
from morphogen.methods.darts import DARTS, DARTSConfig
from morphogen.supernets import space_of

QUICK = tiny.config("darts")
SECOND = replace(QUICK, second_order=True)


def start(config: DARTSConfig = QUICK, module=None):
    problem = tiny.problem(space_of(module or tiny.own()))
    method = DARTS(config)
    return method, problem, method.init(problem)


def calls(monkeypatch, state) -> list[str]:
    """The order in which the two optimisers step."""
    order: list[str] = []
    for name, optimiser in (("w", state.weight_optimiser), ("a", state.alpha_optimiser)):

        def step(*args, name=name, step=optimiser.step, **kwargs):
            order.append(name)
            return step(*args, **kwargs)

        monkeypatch.setattr(optimiser, "step", step)
    return order


@pytest.mark.parametrize(
    ("order", "second", "expected"),
    [
        ("nasbench201", False, "wa"),
        ("nasbench201", True, "aw"),
        ("alpha-first", False, "aw"),
        ("alpha-first", True, "aw"),
        ("weights-first", False, "wa"),
        ("weights-first", True, "wa"),
    ],
)
def test_steps_come_in_the_order_asked_for(order, second, expected, monkeypatch):
    method, problem, state = start(replace(QUICK, order=order, second_order=second))
    taken = calls(monkeypatch, state)
    method.step(state, problem, tiny.CLOCK)
    method.step(state, problem, tiny.CLOCK)
    assert "".join(taken) == expected * 2


def test_a_step_draws_one_training_and_one_validation_batch():
    for config in (QUICK, SECOND):
        method, problem, state = start(config)
        method.step(state, problem, tiny.CLOCK)
        assert problem.seen == {"train": 16, "valid": 16}


@pytest.mark.parametrize("populated", [False, True], ids=["first-step", "with-momentum"])
def test_unrolled_weights_are_those_of_a_torch_sgd_step(populated, monkeypatch):
    """Card 7.3: momentum and weight decay, no Nesterov; the buffers themselves stay."""
    config = replace(SECOND, weights=replace(SECOND.weights, nesterov=False, clip=0.0))
    method, problem, state = start(config)
    if populated:
        method.step(state, problem, tiny.CLOCK)
    seen = []

    def note(weights, gradient, **options):
        stepped = sgd_step(weights, gradient, **options)
        seen.append(stepped)
        return stepped

    def unrolled_alone(inner, outer, weights, alphas, **options):
        twin = copy.deepcopy((state.net, state.weight_optimiser.state_dict()))
        net = twin[0]
        optimiser = torch.optim.SGD(
            net.parameters(), lr=config.weights.at(tiny.CLOCK), momentum=0.9, weight_decay=5e-4
        )
        optimiser.load_state_dict(twin[1])
        for group in optimiser.param_groups:
            group["lr"] = config.weights.at(tiny.CLOCK)
        inner(list(net.parameters()), alphas).backward()
        optimiser.step()
        before = copy.deepcopy(state.momentum_buffers)
        result = unrolled(inner, outer, weights, alphas, **options)
        assert tiny.same(before, state.momentum_buffers)
        for mine, torchs in zip(seen[-1], net.parameters(), strict=True):
            torch.testing.assert_close(mine, torchs.detach(), atol=1e-6, rtol=0)
        seen.append("compared")
        return result

    monkeypatch.setattr("morphogen.bilevel.hypergradient.sgd_step", note)
    monkeypatch.setattr(module, "unrolled", unrolled_alone)
    method.step(state, problem, tiny.CLOCK)
    assert seen[-1] == "compared"
    assert (state.momentum_buffers[0] is not None) is True


@pytest.mark.parametrize("config", [QUICK, SECOND], ids=["first", "second"])
def test_an_alpha_step_leaves_weights_and_statistics_bit_identical(config, monkeypatch):
    """Card 7.4: nothing is walked along and put back; batch norms see no shifted weights."""
    method, problem, state = start(replace(config, order="alpha-first"))
    before = {k: v.clone() for k, v in state.net.state_dict().items()}
    compared = []

    def check(*args):
        for name, value in state.net.state_dict().items():
            assert torch.equal(value, before[name]), name
        compared.append(True)
        return torch.zeros(())

    monkeypatch.setattr(module, "weight_step", check)
    method.step(state, problem, tiny.CLOCK)
    assert compared == [True]


@pytest.mark.parametrize(("config", "passes"), [(QUICK, 1), (SECOND, 4)], ids=["first", "second"])
def test_an_alpha_step_costs_so_many_forward_passes(config, passes, monkeypatch):
    method, problem, state = start(config)
    monkeypatch.setattr(module, "weight_step", lambda *args: torch.zeros(()))
    count = []
    state.net.register_forward_hook(lambda *args: count.append(1))
    method.step(state, problem, tiny.CLOCK)
    assert len(count) == passes


@pytest.mark.parametrize("radius", [0.01, 0.0], ids=["differences", "exact"])
def test_the_second_order_gradient_is_that_through_the_unrolled_step(radius, monkeypatch):
    """Against autograd through the differentiable step, on a module without kinks (card 7.2)."""
    plain = replace(SECOND.weights, momentum=0.0, nesterov=False, weight_decay=0.0)
    config = replace(SECOND, radius=radius, weights=plain)
    method, problem, state = start(config, tiny.smooth())
    found = []

    def note(inner, outer, weights, alphas, **options):
        a = [x.detach().clone().requires_grad_() for x in alphas]
        w = [x.detach().clone().requires_grad_() for x in weights]
        gradient = torch.autograd.grad(inner(w, a), w, create_graph=True)
        stepped = [x - plain.at(tiny.CLOCK) * g for x, g in zip(w, gradient, strict=True)]
        truth = torch.autograd.grad(outer(stepped, a), a)
        direct = first_order(outer, weights, alphas).total
        result = unrolled(inner, outer, weights, alphas, **options)
        found.append((truth, direct, result.total))
        return result

    monkeypatch.setattr(module, "unrolled", note)
    method.step(state, problem, tiny.CLOCK)
    ((truth, direct, mine),) = found
    size = sum(float(t.norm()) for t in truth)
    error = sum(float((t - m).norm()) for t, m in zip(truth, mine, strict=True)) / size
    without = sum(float((t - d).norm()) for t, d in zip(truth, direct, strict=True)) / size
    assert error < 1e-3
    assert without > 10 * error  # the second order is there


@pytest.mark.parametrize(("exact", "nesterov"), [(False, False), (True, True)])
def test_nesterov_is_unrolled_only_when_asked_for(exact, nesterov, monkeypatch):
    method, problem, state = start(replace(SECOND, exact_unroll=exact))
    seen = []

    def note(*args, **options):
        seen.append(options["nesterov"])
        return unrolled(*args, **options)

    monkeypatch.setattr(module, "unrolled", note)
    method.step(state, problem, tiny.CLOCK)
    assert seen == [nesterov]


def test_first_order_moves_alpha_by_adam_along_the_validation_gradient():
    method, problem, state = start(replace(QUICK, order="alpha-first"))
    twin, shadow = start()[1:]
    loss = twin.bilevel_loss(
        shadow.net, lambda alphas: softmax_gates(twin.space, alphas), twin.batch("valid")
    )
    adam = torch.optim.Adam(
        shadow.alphas,
        lr=QUICK.alpha.lr,
        betas=QUICK.alpha.betas,
        weight_decay=QUICK.alpha.weight_decay,
    )
    loss(shadow.weights, shadow.alphas).backward()
    adam.step()
    method.step(state, problem, tiny.CLOCK)
    for mine, theirs in zip(state.alphas, shadow.alphas, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-7, rtol=0)


def test_derived_is_the_strongest_option_of_every_choice():
    method, problem, state = start()
    with torch.no_grad():
        for alpha, keep in zip(state.alphas, (2, 0, 1), strict=True):
            alpha.zero_()
            alpha[0, keep] = 1
    text = problem.space.format(method.derive(state, problem.space))
    assert text == "block1=skip;block2=conv3;pool=max"
