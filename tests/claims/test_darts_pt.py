"""DARTS-PT does what its card says (arXiv 2108.04392)."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import tiny
from morphogen import OneOf
from morphogen.bilevel.gates import jittered, softmax_gates, start_alphas
from morphogen.engine.search.search import search
from morphogen.engine.search.timetable import timetable
from morphogen.evaluators.supernet import Inherited
from morphogen.methods.darts_pt import DARTSPT, DARTSPTConfig, schedule
from morphogen.scoring import Projection
from morphogen.spaces import make
from morphogen.supernets import Gates, NetworkSpec, build, space_of

QUICK = replace(tiny.config("darts-pt"), selection_images=0)


def started(config=QUICK, space=None, **spec):
    problem = tiny.problem(space or space_of(tiny.own()), **spec)
    method = DARTSPT(config)
    return method, problem, method.init(problem)


def play(method, problem, state, *, epochs=1, steps=1, watch=lambda clock: None):
    """All phases; `watch` is called before every step."""
    for clock in timetable(method, problem, epochs, steps):
        for step in range(clock.steps):
            now = replace(clock, step=step)
            watch(now)
            method.step(state, problem, now)


# -- schedule --------------------------------------------------------------------------------------


def test_decisions_come_when_the_paper_has_them():
    assert schedule(6, 5, nodes=False) == (25, [0, 5, 10, 15, 20, 24])
    assert schedule(17, 5, nodes=True) == (81, list(range(0, 81, 5)))
    assert schedule(6, 1, nodes=False) == (6, [0, 1, 2, 3, 4, 5])
    assert Projection(make("nasbench201")).steps() == 6
    assert Projection(make("darts")).steps() == 17


@pytest.mark.parametrize(("name", "passes"), [("nasbench201", 30), ("darts-s2", 28 * 2 + 24)])
def test_every_choice_is_decided_once(name, passes, monkeypatch):
    """The training is left out: who measures is counted, and nothing is computed."""
    method, problem, state = started(replace(QUICK, interval=5), make(name), depth=1)
    monkeypatch.setattr(method, "_train", lambda *a: {})
    calls, decided = [], []

    def under(net, gates):
        calls.append(gates)
        return Inherited(float(len(calls)), 0.0)

    monkeypatch.setattr(state.evaluator, "under", under)

    def watch(clock):
        if clock.phase == "selection":
            done = len(state.projection.decided) + len(state.projection.selected)
            decided.append((clock.epoch, done))

    play(method, problem, state, watch=watch)
    assert len(calls) == passes
    assert state.projection.done
    changes = [e for (e, a), (_, b) in pairwise(decided) if a != b]
    assert changes == schedule(state.projection.steps(), 5, "darts" in name)[1][:-1]


def test_every_epoch_with_a_decision_records_its_margin(tmp_path):
    result = search(
        QUICK, space=tiny.own(), data=tiny.images(), settings=tiny.SETTINGS, run=tmp_path / "run"
    )
    rows = [row for row in result.history if row["phase"] == "selection"]
    turns = Projection(result.space).steps()
    _, due = schedule(turns, QUICK.interval, nodes=False)
    assert [i for i, row in enumerate(rows) if "margin" in row] == due
    assert [row["decided"] for row in rows if "margin" in row] == list(range(1, turns + 1))
    assert all("margin" not in row for row in result.history if row["phase"] == "supernet")
    # An accuracy counts images: margins are whole numbers of them.
    images = tiny.SETTINGS.split.valid_images / 100
    counted = [row["margin"] * images for row in rows]
    assert counted == pytest.approx(np.rint(counted), abs=1e-6)


def test_without_tuning_one_seed_gives_one_architecture_and_the_supernet_stays():
    found = []
    for _ in range(2):
        method, problem, state = started(replace(QUICK, interval=0))
        before = copy.deepcopy(state.net.state_dict())
        for step in range(3):
            clock = replace(timetable(method, problem, 0, 1)[-1], step=step)
            method.step(state, problem, clock)
        assert tiny.same(dict(state.net.state_dict()), dict(before))
        found.append(method.derive(state, problem.space))
    assert found[0] == found[1]


# -- what is chosen --------------------------------------------------------------------------------


@pytest.mark.parametrize("criterion", ["accuracy", "loss"])
def test_with_known_gains_the_operation_with_most_to_lose_is_kept(criterion, monkeypatch):
    """acc(theta) = c - sum g (theta0 - theta), g > 0: the answer is argmax g * theta0."""
    space = make("nasbench201")
    method, problem, state = started(replace(QUICK, interval=0, criterion=criterion), space)
    theta = softmax_gates(space, state.alphas).weights["cell"].detach()
    g = torch.from_numpy(np.random.default_rng(5).uniform(0.1, 1.0, (6, 5))).float()

    def under(net, gates):
        gain = float((g * gates.weights["cell"]).sum())
        return Inherited(gain, -gain)

    monkeypatch.setattr(state.evaluator, "under", under)
    clock = timetable(method, problem, 0, 1)[-1]
    for step in range(6):
        method.step(state, problem, replace(clock, step=step))
    wanted = (g * theta).argmax(dim=1).tolist()
    arch = method.derive(state, space)
    assert [space.choice(n).index(arch.one(n)) for n in arch] == wanted


def test_the_optimiser_starts_anew_with_a_constant_rate():
    method, problem, state = started(replace(QUICK, interval=2))
    rates, first = [], []

    def watch(clock):
        if clock.phase == "selection":
            rates.append(state.weight_optimiser.param_groups[0]["lr"])
            if clock.epoch == 0 and clock.step == 0:
                first.append(state.weight_optimiser)

    play(method, problem, state, epochs=2, steps=2, watch=watch)
    assert state.weight_optimiser is not first[0]
    assert set(rates[1:]) == {QUICK.tuning_lr}
    assert rates[0] > QUICK.tuning_lr


def test_blank_never_moves_alpha():
    method, problem, state = started(replace(QUICK, supernet="blank"))
    before = [a.clone() for a in state.alphas]
    play(method, problem, state)
    assert all(torch.equal(a, b) for a, b in zip(state.alphas, before, strict=True))


def test_decided_rows_get_no_gradient_and_undecided_ones_do():
    _, problem, state = started()
    name = problem.space.choices[0].name
    state.projection.decide(name, [0])
    loss = problem.bilevel_loss(state.net, state.projection.gates, problem.batch("valid"))
    loss(state.weights, state.alphas).backward()
    grads = dict(zip(problem.space.groups, (a.grad for a in state.alphas), strict=True))
    assert (grads.pop(name) == 0).all()
    assert all((g != 0).all() for g in grads.values())


@pytest.mark.parametrize("name", ["nasbench201", "darts-s1"])
def test_a_decided_supernet_is_the_path_of_its_architecture(name):
    """One-hot gates of a projection against a path, which the supernets' own tests compare with
    the stand-alone network."""
    space = make(name)
    torch.manual_seed(0)
    net = build(space, NetworkSpec(channels=4, depth=1)).double().eval()
    alphas = start_alphas(space, torch.Generator().manual_seed(3), "cpu", 1.0)
    soft = softmax_gates(space, [a.detach().double() for a in alphas])
    arch = space.derive({g: w.numpy() for g, w in soft.weights.items()})
    projection = Projection(space)
    for choice in space.choices:
        projection.decide(choice.name, [choice.index(o) for o in arch[choice.name]])
    projection.selected = list(range(len(space.edge_selections())))
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    assert projection.derive(soft) == arch
    with torch.no_grad():
        path = net(x, Gates.of(space, arch))
        assert torch.allclose(net(x, projection.onto(soft)), path, atol=1e-9)


# -- SDARTS-RS -------------------------------------------------------------------------------------


def test_random_smoothing_keeps_rows_normal_and_restores_alpha():
    space = make("darts-s1")
    g = torch.Generator().manual_seed(0)
    alphas = start_alphas(space, g, "cpu", 1.0)
    before = [a.clone() for a in alphas]
    soft = softmax_gates(space, alphas)
    for epsilon in (0.03, 0.3):
        shaken = jittered(soft, epsilon, g)
        for group, w in shaken.weights.items():
            w = w.detach()
            assert w.sum(1).tolist() == pytest.approx([1.0] * len(w), abs=1e-6)
            assert ((w >= 0) & (w <= 1)).all()
            assert not torch.equal(w, soft.weights[group])
    assert all(torch.equal(a, b) for a, b in zip(alphas, before, strict=True))


def tiny_space():
    from morphogen.core import Choice
    from morphogen.spaces import SearchSpace

    return SearchSpace("one", [Choice("a", ("x", "y"))])


def test_smoothing_has_the_variance_of_uniform_noise_before_normalisation():
    g = torch.Generator().manual_seed(1)
    start = Gates({"a": torch.tensor([[0.5, 0.5]])}, {"a": ((0, 1),)})
    draws = torch.stack([jittered(start, 0.1, g).weights["a"][0, 0] for _ in range(2000)])
    # First order: (0.5 + u) / (1 + u + v) = 0.5 + (u - v) / 2, each of variance 0.1^2 / 3.
    assert draws.mean().item() == pytest.approx(0.5, abs=4e-3)
    assert draws.var().item() == pytest.approx(2 * 0.1**2 / 3 / 4, rel=0.15)


# -- why ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rho", "expected"), [(0.0, 0.2), (0.3, 0.105)])
def test_proposition_1_the_variance_optimal_mixture_favours_the_skip_connection(rho, expected):
    g = np.random.default_rng(0)
    noise = g.multivariate_normal([0, 0], [[4, 2 * rho], [2 * rho, 1]], size=400_000)
    grid = np.arange(0, 1.001, 0.01)
    cov = np.cov(noise.T)
    variance = [
        t * t * cov[0, 0] + (1 - t) ** 2 * cov[1, 1] + 2 * t * (1 - t) * cov[0, 1] for t in grid
    ]
    assert grid[int(np.argmin(variance))] == pytest.approx(expected, abs=0.011)


class Noise(nn.Module):
    def forward(self, x):
        return torch.randn_like(x)


class Noisy(nn.Module):
    """Three blocks, each noise or a convolution."""

    def __init__(self, channels=8):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), nn.BatchNorm2d(channels))
        self.blocks = nn.ModuleList(
            OneOf(
                {
                    "noise": Noise(),
                    "conv": nn.Sequential(
                        nn.ReLU(),
                        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                        nn.BatchNorm2d(channels),
                    ),
                },
                name=f"block{i}",
            )
            for i in range(3)
        )
        self.head = nn.Linear(channels, tiny.CLASSES)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.relu().mean((2, 3)))


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2))])
def test_noise_is_never_chosen(seed):
    """S4 in small: without the convolution the accuracy falls, without the noise it does not."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = Noisy()
        space = space_of(module)
        problem = tiny.problem(space, seed=seed)
        config = DARTSPTConfig(interval=1, weights=replace(QUICK.weights, lr=0.05))
        method = DARTSPT(config)
        state = method.init(problem)
        play(method, problem, state, epochs=4, steps=12)
        arch = method.derive(state, space)
    assert set(arch.values()) == {("conv",)}


def test_a_supernet_of_another_run_goes_straight_to_the_selection(tmp_path):
    def run(method, **more):
        return search(
            tiny.config(method),
            space=tiny.own(),
            data=tiny.images(),
            settings=replace(tiny.SETTINGS, epochs=1),
            run=tmp_path / method,
            **more,
        )

    first = run("darts")
    second = run("darts-pt", start=first.run)
    assert len(second.history) == schedule(3, QUICK.interval, nodes=False)[0]
    assert all(value in (0, 1) for rows in last_gates(second) for row in rows for value in row)


def last_gates(result):
    return result.history[-1]["gates"].values()
