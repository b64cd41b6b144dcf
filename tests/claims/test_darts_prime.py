"""DARTS-PRIME does what its card says (specs/admm-darts.md, section 7; arXiv 2106.11655)."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
import torch
from torch import Tensor

import tiny
from morphogen import OneOf, spaces
from morphogen.core import Choice
from morphogen.methods.darts_prime import DARTSPrime, DARTSPrimeConfig, Schedule, projected
from morphogen.spaces import SearchSpace
from morphogen.spaces.darts import DARTS
from morphogen.spaces.darts_cells import EDGES, NODES
from morphogen.supernets import space_of
from morphogen.tasks.problem import Clock

QUICK = tiny.config("darts-prime")
CLIPPED = replace(QUICK, activation="clipped", regulariser="none", schedule="static", period=1)


def start(config=QUICK, given=None):
    problem = tiny.problem(space_of(given or tiny.own()))
    method = DARTSPrime(config)
    return method, problem, method.init(problem)


# -- 7.1 to 7.4: the schedule ----------------------------------------------------------------------


def traces(name: str, count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return {
        "constant": np.ones(count),
        "lognormal": rng.lognormal(0, 1, count),
        "drift": np.exp(np.linspace(3, -3, count)),
        "small": np.full(count, 1e-3),
        "large": np.full(count, 1e4),
    }[name]


@pytest.mark.parametrize("name", ["constant", "lognormal", "drift", "small", "large"])
@pytest.mark.parametrize("period", [1, 3, 10])
def test_the_schedule_conserves_and_has_its_frequency(name, period):
    config = DARTSPrimeConfig(period=period)
    schedule, count = Schedule(config.threshold), 20_000
    for trace in traces(name, count):
        schedule.due(config, tiny.CLOCK)
        schedule.record(float(trace), config.smoothing)
    taken = schedule.steps
    moved = math.log(schedule.threshold / config.threshold) / math.log(1.05)
    assert moved == pytest.approx((count - taken) - period * taken, abs=1e-6)
    assert taken / count == pytest.approx(1 / (1 + period), abs=0.01)


def test_alpha_waits_for_the_first_weight_step_and_then_goes_by_its_trace():
    config = DARTSPrimeConfig()
    schedule = Schedule(1.0)
    assert not schedule.due(config, tiny.CLOCK)
    schedule.record(0.5, config.smoothing)
    assert schedule.trace == 0.5  # not smoothed with nothing
    assert schedule.due(config, tiny.CLOCK)
    assert schedule.threshold == pytest.approx(1.05 * 1.05**-10)
    schedule.record(1.0, config.smoothing)
    assert schedule.trace == pytest.approx(0.6)


def test_a_static_schedule_counts_steps():
    config = DARTSPrimeConfig(schedule="static", period=3)
    due = [Schedule(1.0).due(config, Clock(0, 1, step, 9)) for step in range(9)]
    assert due == [False, False, True] * 3


@pytest.mark.parametrize("clip", [0.0, 1e-3])
def test_the_trace_is_the_squared_gradient_before_it_is_clipped(clip):
    """Linear regression, squared loss: ||(2/B) X'(Xw - y)||^2."""
    method, problem, state = start(
        replace(QUICK, weights=replace(QUICK.weights, clip=clip)), tiny.smooth()
    )
    twin, shadow = start(QUICK, tiny.smooth())[1:]
    gates = method.gates(shadow, twin.space).detach()
    twin.loss(shadow.net, gates, twin.batch("train")).backward()
    squares = sum(float(p.grad.square().sum()) for p in shadow.net.parameters())
    method.step(state, problem, tiny.CLOCK)
    assert state.schedule.trace == pytest.approx(squares, rel=1e-5)


def test_every_iteration_steps_weights_and_only_those_that_are_due_step_alpha():
    method, problem, state = start(replace(QUICK, threshold=1e6, period=3, multiplier=2.0))
    due = []
    for _ in range(8):
        before = [a.detach().clone() for a in state.alphas]
        told = method.step(state, problem, tiny.CLOCK)
        due.append("valid_loss" in told)
        assert due[-1] == any(
            not torch.equal(a, b) for a, b in zip(before, state.alphas, strict=True)
        )
    assert due[0] is False
    assert all(due[1:])  # the threshold is far above
    assert problem.seen == {"train": 8 * 16, "valid": 7 * 16}
    assert [p.part for p in method.phases(problem, 1)] == ["train"]


# -- 7.5: the projection ---------------------------------------------------------------------------


def test_the_projection_is_the_nearest_point():
    """Nodes 2 and 3 of a DARTS cell with four options: 243 points; the rest is held fixed."""
    options = ("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3")
    space = DARTS("four", options)
    rows = [i for i, (_, target) in enumerate(EDGES) if target in NODES[:2]]
    points = []
    for sources in combinations(range(2, 5), 2):
        for first, second in product(range(1, 4), repeat=2):
            for kept in product(range(1, 4), repeat=2):
                z = torch.zeros(5, 4)
                z[0, first] = z[1, second] = z[sources[0], kept[0]] = z[sources[1], kept[1]] = 1
                points.append(z)
    stacked = torch.stack(points)
    assert len(points) == 243
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        v = [torch.rand(14, 4, generator=generator) for _ in range(2)]
        found = projected(space, v)[0][rows]
        distances = (v[0][rows] - stacked).square().sum(dim=(1, 2))
        assert torch.equal(found, stacked[distances.argmin()])


def test_in_nasbench201_every_row_keeps_its_largest_entry_none_too():
    space = spaces.make("nasbench201")
    v = torch.rand(6, 5, generator=torch.Generator().manual_seed(1))
    (d,) = projected(space, [v])
    assert torch.equal(d.argmax(dim=1), v.argmax(dim=1))
    assert d.sum(dim=1).eq(1).all()


# -- 7.6 and 7.11: the proximity -------------------------------------------------------------------


def pulled(method, state, space, alphas, clock):
    state.alphas = alphas
    return method.pull(state, space, clock)


@pytest.mark.parametrize("activation", ["softmax", "clipped"])
@pytest.mark.parametrize("squared", [False, True])
def test_the_pull_is_its_formula_and_has_its_gradient(activation, squared):
    config = replace(QUICK, activation=activation, squared=squared, rho=0.3)
    method, problem, state = start(config)
    generator = torch.Generator().manual_seed(2)
    alphas = [
        (0.4 + 0.2 * torch.rand(a.shape, generator=generator, dtype=torch.float64))
        .mul(m)
        .requires_grad_()
        for a, m in zip(state.alphas, state.live, strict=True)
    ]
    last = Clock(2, 3, 1, 2)
    value = pulled(method, state, problem.space, alphas, last)
    activated = method._activated(state, alphas)
    nearest = projected(problem.space, activated)
    norms = [float((a - d).norm().item()) for a, d in zip(activated, nearest, strict=True)]
    expected = 0.15 * sum(n**2 if squared else n for n in norms)
    assert value.item() == pytest.approx(expected, rel=1e-6)
    half = pulled(method, state, problem.space, alphas, Clock(1, 3, 0, 2))
    assert half.item() == pytest.approx(expected / 2, rel=1e-6)
    gradients = torch.autograd.grad(value, alphas)
    for i, alpha in enumerate(alphas):
        for k in range(alpha.shape[1]):
            ends = []
            for sign in (1, -1):
                moved = [a.detach().clone() for a in alphas]
                moved[i][0, k] += sign * 1e-6
                ends.append(pulled(method, state, problem.space, moved, last).item())
            slope = (ends[0] - ends[1]) / 2e-6
            assert gradients[i][0, k].item() == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_in_the_feasible_set_nothing_pulls():
    method, problem, state = start(replace(QUICK, activation="clipped"))
    feasible = projected(problem.space, state.alphas)
    at = [d.clone().requires_grad_() for d in feasible]
    assert pulled(method, state, problem.space, at, Clock(2, 3, 1, 2)).item() < 1e-6
    off = [(0.9 * d).requires_grad_() for d in feasible]
    assert pulled(method, state, problem.space, off, Clock(2, 3, 1, 2)).item() > 1e-3


def test_a_softmax_row_that_is_pulled_to_zero_becomes_uniform():
    """What the pull does to the edges that D drops: it cannot switch them off."""
    alpha = torch.tensor([2.0, 0.0, -1.0, 0.5], requires_grad=True)
    for _ in range(2000):
        (gradient,) = torch.autograd.grad(torch.softmax(alpha, -1).norm(), alpha)
        with torch.no_grad():
            alpha -= gradient
    p = torch.softmax(alpha.detach(), -1)
    torch.testing.assert_close(p, torch.full((4,), 0.25), atol=1e-3, rtol=0)


# -- 7.8: ADMM -------------------------------------------------------------------------------------

ROWS = SearchSpace("rows", [Choice(f"c{i}", tuple("abcd"), "all") for i in range(5)])


def rounds(b: Tensor, h: Tensor, rho: float, count: int, *, dual: bool = True):
    """min sum h (a - b)^2 / 2 in S by exact steps in alpha, with the method's own projection."""
    method = DARTSPrime(replace(QUICK, activation="clipped", regulariser="admm", rho=rho))
    state = method.init(tiny.problem(space_of(tiny.own())))
    state.live = [torch.ones(b.shape, dtype=torch.bool)]
    state.targets, state.duals = [b.clone()], [torch.zeros_like(b)]
    history = []
    # The card's toy has no activation.
    method._activated = lambda state, alphas: list(alphas)  # type: ignore[method-assign]
    for _ in range(count):
        z, u = state.targets[0], state.duals[0]
        state.alphas = [(h * b + rho * (z - u)) / (h + rho)]
        method._project(state, ROWS)
        if not dual:
            state.duals = [torch.zeros_like(b)]
        history.append(state.targets[0].clone())
    residual = float((state.alphas[0] - state.targets[0]).norm())
    return history, residual, state


def test_admm_finds_the_nearest_point_of_a_bowl_in_a_few_rounds():
    generator = torch.Generator().manual_seed(3)
    tried = 0
    while tried < 30:
        b = torch.rand(5, 4, generator=generator, dtype=torch.float64)
        top = b.sort(dim=1, descending=True).values
        if (top[:, 0] - top[:, 1]).min() < 0.1:
            continue
        tried += 1
        history, residual, _ = rounds(b, torch.ones_like(b), 1.0, 5)
        assert torch.equal(history[-1], projected(ROWS, [b])[0])
        assert residual < 1e-3


def test_without_the_dual_a_residual_stays():
    b = torch.rand(5, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    history, residual, _ = rounds(b, torch.ones_like(b), 1.0, 20, dual=False)
    assert residual == pytest.approx(float((b - history[-1]).norm()) / 2, rel=1e-9)


@pytest.mark.parametrize(("rho", "settles"), [(10.0, True), (0.3, False)])
def test_admm_needs_a_rho_above_the_curvature(rho, settles):
    generator = torch.Generator().manual_seed(5)
    for _ in range(5):
        b = torch.randn(5, 4, generator=generator, dtype=torch.float64)
        h = 0.2 + 4.8 * torch.rand(5, 4, generator=generator, dtype=torch.float64)
        history, residual, _ = rounds(b, h, rho, 300)
        still = all(torch.equal(z, history[-1]) for z in history[-100:])
        if settles:
            assert still
            assert residual < 1e-2
        else:
            assert not still


def test_z_and_u_are_renewed_every_ten_alpha_steps(monkeypatch):
    config = replace(QUICK, regulariser="admm", schedule="static", period=1, refresh=3)
    method, problem, state = start(config)
    renewed = []
    project = method._project
    monkeypatch.setattr(
        method, "_project", lambda s, space: (renewed.append(s.schedule.steps), project(s, space))
    )
    for _ in range(7):
        assert "pull" in method.step(state, problem, tiny.CLOCK)
    assert renewed == [3, 6]


# -- 7.9: hard pruning -----------------------------------------------------------------------------


def test_what_is_switched_off_stays_off_and_is_not_executed():
    config = replace(CLIPPED, alpha=replace(QUICK.alpha, lr=0.05, weight_decay=0.5))
    method, problem, state = start(config)
    calls: list[tuple[str, str]] = []
    for mark in (m for m in state.net.modules() if isinstance(m, OneOf)):
        for option in mark.options:
            key = (mark.name, option)
            mark.option(option).register_forward_hook(lambda *a, k=key: calls.append(k))
    uniform = [1 / int(m.sum()) for m in state.live]
    for alpha, share in zip(state.alphas, uniform, strict=True):
        torch.testing.assert_close(alpha[0, 0].detach(), torch.tensor(share), atol=1e-3, rtol=0)
    counts = []
    for _ in range(30):
        calls.clear()
        off = {
            (c.name, c.options[k])
            for c, mask in zip(problem.space.choices, state.live, strict=True)
            for k in range(len(c.options))
            if not mask[0, k]
        }
        counts.append(int(method.step(state, problem, tiny.CLOCK)["live"]))
        assert not off & set(calls)
        for alpha, mask in zip(state.alphas, state.live, strict=True):
            assert not alpha.detach()[~mask].any()
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < sum(len(c.options) for c in problem.space.choices)


def test_softmax_switches_nothing_off():
    method, problem, state = start(replace(QUICK, schedule="static", period=1))
    for _ in range(3):
        method.step(state, problem, tiny.CLOCK)
    assert all(mask.all() for mask in state.live)


def test_derived_is_the_projection_of_the_activated_alpha():
    method, problem, state = start()
    with torch.no_grad():
        for alpha, keep in zip(state.alphas, (2, 0, 1), strict=True):
            alpha.zero_()
            alpha[0, keep] = 1
    text = problem.space.format(method.derive(state, problem.space))
    assert text == "block1=skip;block2=conv3;pool=max"
