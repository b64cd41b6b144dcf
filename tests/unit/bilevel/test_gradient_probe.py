"""A probe compares gradients as the formula says, and leaves no trace (gm-nas 7.1 to 7.7)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

import tiny
from morphogen import Metric, OneOf, Task, spaces
from morphogen.bilevel.gates import softmax_gates, start_alphas
from morphogen.bilevel.gradient_probe import (
    cosine_distances,
    gradient,
    option_distances,
    shared_parameters,
    with_option,
)
from morphogen.core.partition import closest_partition
from morphogen.supernets import Gates, NetworkSpec, build, space_of
from morphogen.tasks.problem import Problem

SPACE = spaces.make("nasbench201")
EDGE = SPACE.choices[1].name
OPTIONS = SPACE.choices[1].options


def test_the_distance_is_that_of_the_formula():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4, 50))
    found = cosine_distances(torch.from_numpy(rows)).numpy()
    for i, g in enumerate(rows):
        for j, h in enumerate(rows):
            norms = np.linalg.norm(g) * np.linalg.norm(h)
            assert found[i, j] == pytest.approx(1 - g @ h / (norms + 1e-6), abs=1e-12)
    assert np.abs(found - found.T).max() < 1e-12
    scaled = rows * np.array([3.0, 1, 1, 1])[:, None]
    again = cosine_distances(torch.from_numpy(scaled)).numpy()
    assert np.abs(found - again).max() < 1e-5
    g = torch.from_numpy(rows[:1])
    opposite = cosine_distances(torch.cat([g, -g, 0 * g])).numpy()
    assert opposite[0, 1] == pytest.approx(2, abs=2e-6 / float(g.norm() ** 2) + 1e-12)
    assert (opposite[2] == 1).all()  # a gradient of zeros, at itself too


FACTORS = {"one": 1.0, "less": -1.0, "half": 0.5, "less half": -0.5}


class Times(nn.Module):
    """An option that is a number."""

    def __init__(self, c: float) -> None:
        super().__init__()
        self.c = c

    def forward(self, x):
        return self.c * x


class Planted(nn.Module):
    """y = c_o w.x with a shared w."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Linear(6, 1, bias=False)
        self.c = OneOf({n: Times(c) for n, c in FACTORS.items()}, name="c")

    def forward(self, x):
        return self.c(self.w(x))


def test_options_that_pull_apart_are_put_apart():
    """gm-nas 7.2: |t| = 100 and |w.x| < 1, so gradients point along -c_o t x."""
    torch.manual_seed(0)
    module = Planted()
    with torch.no_grad():
        module.w.weight.div_(100)
    x = torch.randn(64, 6)
    data = TensorDataset(x, torch.full((64, 1), 100.0))
    metric = Metric("mse", "", higher_is_better=False, of=lambda o, y: (o - y).square().mean(1))
    task = Task(train=data, loss=F.mse_loss, metric=metric, name="planted")
    problem = Problem(space_of(module), task, NetworkSpec(), batch_size=8)
    net = problem.supernet()
    gates = Gates.of(problem.space, problem.space.enumerate()[0])
    options = problem.space.choices[0].options
    d = option_distances(problem, net, "c", options, lambda: gates, repeats=3).numpy()
    found = closest_partition(d, 2)
    assert {frozenset(options[i] for i in g) for g in found.groups} == {
        frozenset(("one", "half")),
        frozenset(("less", "less half")),
    }
    assert found.within <= 1e-4
    assert found.cut == pytest.approx(8, abs=1e-3)


def test_what_is_compared_has_nothing_of_the_probed_choice():
    """gm-nas 7.6: NAS-Bench-201 has the other edges of all cells and the two residual blocks."""
    net = build(SPACE, NetworkSpec(channels=2, depth=2))
    for edge in (c.name for c in SPACE.choices):
        names = shared_parameters(net, edge)
        assert not any(f".{edge}." in name for name in names)
        others = {
            name
            for name, _ in net.named_parameters()
            if ".edges." in name and f".{edge}." not in name
        }
        blocks = set(names) - others
        assert others <= set(names)
        assert {name.split(".")[1] for name in blocks} == {"2", "5"}
        assert not any(name.startswith(("stem", "norm", "classifier")) for name in names)
    darts = build(spaces.make("darts"), NetworkSpec(channels=4, depth=3))
    names = shared_parameters(darts, darts.space.groups["normal"][0].name)
    assert all(".edges." in name for name in names)
    kinds = {cell.kind for cell in darts.cells}
    assert kinds == {"normal", "reduce"}
    reduction = [i for i, cell in enumerate(darts.cells) if cell.kind == "reduce"]
    assert any(name.startswith(f"cells.{reduction[0]}.edges") for name in names)


@pytest.mark.parametrize("hard", [True, False])
def test_one_option_alone_stands_in_the_row(hard):
    alphas = start_alphas(SPACE, torch.Generator().manual_seed(0), torch.device("cpu"), 1.0)
    soft = softmax_gates(SPACE, alphas)
    found = with_option(SPACE, soft, EDGE, "nor_conv_3x3", hard=hard)
    assert not found.weights["cell"].requires_grad
    weights, row = found.weights["cell"], soft.weights["cell"][1]
    assert found.live["cell"][1] == (3,)
    assert weights[1, 3] == (1.0 if hard else row[3])
    assert weights[1].sum() == weights[1, 3]
    rest = [i for i in range(6) if i != 1]
    assert torch.equal(weights[rest], soft.weights["cell"][rest])


class Probed(nn.Module):
    """Two options of a choice are one convolution; other layers draw, and norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        options = {o: nn.Conv2d(4, 4, 3, padding=1) for o in ("a", "b", "twin")}
        options["twin"].load_state_dict(options["b"].state_dict())
        self.first = OneOf({**options, "skip": nn.Identity()}, name="first")
        self.second = OneOf({"c": nn.Conv2d(4, 4, 1), "d": nn.Dropout(0.5)}, name="second")
        self.head = nn.Linear(4, tiny.CLASSES)
        nn.init.normal_(self.head.weight, std=4)  # gradients far above the floor of their norms

    def forward(self, x):
        return self.head(self.second(self.first(self.stem(x))).mean((2, 3)))


def test_a_probe_leaves_no_trace_and_twins_agree():
    """gm-nas 7.5 and 7.7: weights, `.grad`, statistics and global generators are as before."""
    torch.manual_seed(0)
    problem = tiny.problem(space_of(Probed()))
    net = problem.supernet()
    next(net.parameters()).grad = torch.ones_like(next(net.parameters()))
    before = {n: t.clone() for n, t in net.state_dict().items()}
    options = problem.space.choices[0].options
    gates = Gates.dense(
        problem.space, {g: torch.full(m.shape, 0.5) for g, m in problem.space.masks.items()}
    )
    drawn = torch.get_rng_state()
    d = option_distances(problem, net, "first", options, lambda: gates, repeats=2)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert tiny.same(dict(net.state_dict()), before)
    assert [p.grad is None for p in net.parameters()].count(False) == 1
    assert net.training
    assert float(d[1, 2]) < 1e-5
    assert float(d[0, 1]) > 0.01
    groups = closest_partition(d.numpy(), 2).groups
    assert any({1, 2} <= set(group) for group in groups)
    # Gradients are those of autograd on the net itself.
    shared = list(shared_parameters(net, "first").values())
    batch = problem.batch("train")
    vector = gradient(
        problem, net, with_option(problem.space, gates, "first", "a"), batch, shared, seed=5
    )
    torch.manual_seed(5)
    net.zero_grad()
    F.cross_entropy(
        net(batch.x, with_option(problem.space, gates, "first", "a")), batch.y
    ).backward()
    own = [torch.zeros_like(p) if p.grad is None else p.grad for p in shared]
    torch.testing.assert_close(vector, torch.cat([g.flatten() for g in own]), atol=1e-7, rtol=1e-6)
