"""SNAS does what its card says (specs/snas.md, section 7; arXiv 1812.09926).

The density of the samples (7.2) is held against torch's in tests/unit/bilevel/test_categorical.py,
parameters of the published cells (7.8) in tests/unit/spaces/test_darts_snas.py, parameters and
multiply-adds of operations (7.6) in tests/unit/cost/test_options.py.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tiny
from morphogen import OneOf, cost, spaces
from morphogen.bilevel.categorical import concrete_log_prob, sample
from morphogen.bilevel.gates import concrete_gates, probabilities
from morphogen.core import Choice
from morphogen.engine.search.search import search
from morphogen.evaluators.supernet import SupernetEvaluator
from morphogen.methods import snas as module
from morphogen.methods.snas import SNAS, SNASConfig, edge_costs
from morphogen.runs import checkpoint
from morphogen.spaces import SearchSpace
from morphogen.supernets import Gates, NetworkSpec, Supernet, build, space_of
from morphogen.supernets.relaxations import gumbel_soft
from morphogen.tasks.classification import ImageTask
from morphogen.tasks.problem import Clock, Problem

QUICK = tiny.config("snas")
P = torch.tensor([0.7, 0.2, 0.1])
DRAWS = 400_000


def start(config=QUICK, given=None):
    problem = tiny.problem(space_of(given or tiny.own()))
    method = SNAS(config)
    return method, problem, method.init(problem)


def drawn(alpha: Tensor, tau: float) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return gumbel_soft(alpha.expand(DRAWS, len(alpha)), tau, generator)


# -- 7.1: the sampler ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tau", "mean", "hard", "hard_of_eight"),
    [
        (1.0, (0.593, 0.253, 0.155), 0.019, 0.0045),
        (0.5, (0.660, 0.222, 0.118), 0.205, 0.084),
        (0.1, (0.698, 0.201, 0.101), 0.796, 0.653),
        (0.03, None, 0.937, 0.884),
    ],
)
def test_samples_are_those_of_the_concrete_distribution(tau, mean, hard, hard_of_eight):
    z = drawn(P.log(), tau)
    frequencies = torch.bincount(z.argmax(dim=-1), minlength=3) / DRAWS
    torch.testing.assert_close(frequencies, P, atol=0.003, rtol=0)
    if mean is not None:
        torch.testing.assert_close(z.mean(dim=0), torch.tensor(mean), atol=0.003, rtol=0)
    assert float((z.amax(dim=-1) > 0.99).float().mean()) == pytest.approx(hard, abs=0.005)
    eight = drawn(torch.zeros(8), tau)
    share = float((eight.amax(dim=-1) > 0.99).float().mean())
    assert share == pytest.approx(hard_of_eight, abs=0.005)


# -- 7.3 and 7.4: gradients and credits ------------------------------------------------------------


class Chain(nn.Module):
    """Two nodes: x1 = O(x0), x2 = O(x0) + O(x1), linear operations without biases, in float64."""

    def __init__(self) -> None:
        super().__init__()

        def edge(name: str) -> OneOf:
            options = {o: nn.Linear(64, 64, bias=False) for o in "ab"}
            return OneOf({**options, "skip": nn.Identity()}, name=name)

        self.first, self.long, self.second = edge("first"), edge("long"), edge("second")
        self.head = nn.Linear(64, tiny.CLASSES, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x0 = x.flatten(1)
        x1 = self.first(x0)
        return self.head(self.long(x0) + self.second(x1))


@pytest.fixture
def chain():
    torch.manual_seed(0)
    problem = tiny.problem(space_of(Chain()))
    net = problem.supernet().double()
    batch = problem.batch("train")
    x, y = batch.x.double(), batch.y
    alphas = [torch.randn(1, 3, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    return problem, net, x, y, alphas


def sampled(problem, alphas, tau) -> Gates:
    problem.search_rng.manual_seed(3)
    return concrete_gates(problem.space, alphas, tau, problem.search_rng)


@pytest.mark.parametrize("tau", [1.0, 0.3])
def test_the_jacobian_of_a_sample_is_that_of_its_softmax(tau):
    def z(alpha: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        space = SearchSpace("one", [Choice("c", tuple("abcd"), "all")])
        return concrete_gates(space, [alpha], tau, generator).weights["all"]

    alpha = torch.randn(1, 4, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(z, alpha).reshape(4, 4)
    value = z(alpha)[0]
    expected = (torch.diag(value) - torch.outer(value, value)) / tau
    torch.testing.assert_close(jacobian, expected, atol=1e-12, rtol=0)


def test_alphas_gradient_is_the_formula_and_the_brute_force(chain):
    problem, net, x, y, alphas = chain
    tau, net_loss = 0.7, nn.functional.cross_entropy

    def loss(of: list[Tensor]) -> Tensor:
        return net_loss(net(x, sampled(problem, of, tau)), y)

    gradients = torch.autograd.grad(loss(alphas), alphas)
    gates = sampled(problem, alphas, tau)
    outputs, hooks = {}, []
    for mark in (m for m in net.modules() if isinstance(m, OneOf)):

        def keep(_, args, out, mark=mark):
            out.retain_grad()
            found = [mark.option(o)(args[0]).detach() for o in mark.options]
            outputs[mark.name] = (out, torch.stack(found))

        hooks.append(mark.register_forward_hook(keep))
    net_loss(net(x, gates), y).backward()
    for hook in hooks:
        hook.remove()
    for i, (name, group) in enumerate((c.name, c.group) for c in problem.space.choices):
        out, options = outputs[name]
        inner = torch.stack([(out.grad * option).sum() for option in options])
        z = gates.weights[group].detach()[0]
        formula = z / tau * (inner - (z * inner).sum())  # 3.3
        torch.testing.assert_close(gradients[i][0], formula, rtol=1e-6, atol=1e-10)
        for k in range(3):
            ends = []
            for sign in (1, -1):
                moved = [a.detach().clone() for a in alphas]
                moved[i][0, k] += sign * 1e-6
                ends.append(loss(moved).item())
            slope = (ends[0] - ends[1]) / 2e-6
            assert float(gradients[i][0, k]) == pytest.approx(slope, rel=1e-4, abs=1e-8)


def test_credit_is_conserved_from_a_node_to_its_edges(chain):
    """7.4, read at the gates: the credit of an edge is <Z, dL/dZ>, and a chain passes it on."""
    problem, net, x, y, alphas = chain
    gates = sampled(problem, alphas, 0.7)
    names = {c.name: c.group for c in problem.space.choices}
    seen = {}
    for mark in (m for m in net.modules() if isinstance(m, OneOf)):
        mark.register_forward_hook(lambda m, a, o: seen.update({m.name: o}))
    loss = nn.functional.cross_entropy(net(x, gates), y)
    weights = [gates.weights[names[n]] for n in ("first", "long", "second")]
    nodes = [seen["first"], seen["long"] + seen["second"]]
    by_gates = torch.autograd.grad(loss, weights, retain_graph=True)
    by_outputs = torch.autograd.grad(loss, [seen["first"], seen["long"], seen["second"]])
    credit = [float((w.detach() * g).sum()) for w, g in zip(weights, by_gates, strict=True)]
    into_first = float((by_outputs[0] * nodes[0].detach()).sum())
    into_second = float(
        (by_outputs[1] * nodes[1].detach()).sum()
    )  # dL/dx2 is that of either summand
    assert credit[0] == pytest.approx(into_first, abs=1e-8)
    assert credit[1] + credit[2] == pytest.approx(into_second, abs=1e-8)
    # Linear without biases: what `second` passes on is all that it gets from x1.
    assert credit[0] == pytest.approx(credit[2], abs=1e-8)


# -- 7.5 and 7.6: the cost -------------------------------------------------------------------------


def costs_of(params, macs=0.0, traffic=0.0, draws: int = 1) -> cost.OptionCosts:
    """Costs of one group of equal choices in one place, in the units of the card."""

    def table(values) -> dict[str, np.ndarray]:
        wide = np.broadcast_to(np.asarray(values, np.float64), np.shape(params))
        return {"all": np.broadcast_to(wide, (1, draws, len(params))).copy()}

    bytes_ = np.asarray(traffic, np.float64) * 4
    return cost.OptionCosts(
        params=table(params),
        macs=table(macs),
        flops=table(np.asarray(macs) * 2),
        memory_access=table(bytes_),
        stands={"all": np.ones(draws, np.int64)},
        rest={},
    )


LINEAR = np.array([3.0, 1.0, 0.0]) / 0.86
"""Parameters whose linear cost 0.43 * 2 S is 3, 1 and 0."""


MANY = SearchSpace("many", [Choice(f"c{i}", ("a", "b", "c"), "all") for i in range(1000)])


def estimated(estimator: str, tau: float, repeats: int) -> Tensor:
    """Gradients of the cost's surrogate in a thousand equal choices, drawn again and again."""
    method = SNAS(SNASConfig(estimator=estimator, cost="linear"))
    alpha = P.log().expand(1000, 3).clone().requires_grad_()
    state = SimpleNamespace(alphas=[alpha])
    costs, generator = costs_of(LINEAR, draws=1000), torch.Generator().manual_seed(5)
    found = []
    for _ in range(repeats):
        gates = concrete_gates(MANY, [alpha], tau, generator)
        _, surrogate = method._cost(state, costs, MANY, gates, tau)
        found += torch.autograd.grad(surrogate, alpha)
    return torch.cat(found)


@pytest.mark.parametrize(
    ("estimator", "tau", "expected", "tolerance"),
    [
        ("exact", 0.5, (0.490, -0.260, -0.230), 0.0),
        ("reparametrised", 1.0, (0.396, -0.174, -0.222), 0.004),
        ("reparametrised", 0.5, (0.466, -0.231, -0.235), 0.004),
        ("reparametrised", 0.1, (0.489, -0.259, -0.230), 0.004),
        ("score", 0.5, (0.467, -0.231, -0.236), 0.006),
    ],
)
def test_estimators_of_the_costs_gradient(estimator, tau, expected, tolerance):
    """The card's figures, which are of a million samples; here fewer, and their standard error."""
    found = estimated(estimator, tau, 1 if estimator == "exact" else 40)
    error = 4 * found.std(dim=0) / len(found) ** 0.5
    assert error.max() < 0.06
    off = (found.mean(dim=0) - torch.tensor(expected)).abs()
    assert (off < error + max(tolerance, 0.0006)).all()


def test_a_score_function_that_sees_the_sample_is_another_gradient():
    """What the authors' code does (card 8): Z is not a constant in log q."""
    alpha = P.log().expand(DRAWS, 3).clone().requires_grad_()
    z = gumbel_soft(alpha, 0.5, torch.Generator().manual_seed(5))
    linear = (z.detach() * torch.tensor([3.0, 1.0, 0.0])).sum(dim=-1)
    (attached,) = torch.autograd.grad((linear * concrete_log_prob(z, alpha, 0.5)).sum(), alpha)
    assert (attached.mean(dim=0) - torch.tensor([0.467, -0.231, -0.236])).abs().max() > 0.05


def test_the_logarithmic_cost_of_single_operations():
    """7.6: sep conv 3x3 with 16 channels on 32 x 32, and `none`, whose cost has no gradient."""
    costs = costs_of((800, 0), (819_200, 0), (131_872, 0))
    for column, expected in ((0, 10.70), (1, 0.0)):
        z = torch.zeros(1, 2)
        z[0, column] = 1
        z.requires_grad_()
        found = edge_costs(costs, Gates({"all": z}, {"all": ((0, 1),)}), "log")["all"]
        assert found.item() == pytest.approx(expected, abs=0.01)
        (gradient,) = torch.autograd.grad(found.sum(), z)
        assert gradient.any() == (column == 0)


def test_a_cell_counts_once_whatever_the_number_of_cells():
    """Card 8: the mean over the cells of a type, each with its own channels and sizes."""
    space = spaces.make("darts-snas")
    spec = NetworkSpec(channels=4, depth=4)
    costs = cost.of_options(space, spec, (3, 16, 16), places=True)
    arch = space.parse("SNAS_MODERATE")
    found = edge_costs(costs, Gates.of(space, arch), "log")
    assert costs.stands["normal"].tolist() == costs.stands["reduce"].tolist() == [2] * 14
    row = [c.name for c in space.groups["normal"]].index("normal_5_0")
    column = space.choice("normal_5_0").index("sep_conv_3x3")
    by_hand = []
    for channels, pixels, place in ((4, 256, 0), (16, 16, 1)):
        params = 2 * channels * 9 + 2 * channels**2
        traffic = costs.memory_access["normal"][place, row, column] / 4
        assert traffic > 2 * channels * pixels
        by_hand.append((2 * math.log(params) + math.log(pixels) + math.log(traffic)) / 3)
    assert float(found["normal"][row]) == pytest.approx(sum(by_hand) / 2, rel=1e-5)
    kept = [arch.one(c.name) for c in space.groups["normal"]]
    free = [k for k, o in enumerate(kept) if o in ("none", "skip_connect")]
    assert not found["normal"][free].any()


# -- 7.7: the temperature --------------------------------------------------------------------------


def test_the_temperature_falls_linearly_to_its_end():
    method = SNAS(SNASConfig())
    temperatures = [method.temperature(Clock(e, 150, 0, 1)) for e in range(150)]
    assert temperatures[0] == pytest.approx(149 / 150 * 0.97 + 0.03, abs=1e-12)
    assert temperatures[0] == pytest.approx(0.99353, abs=1e-5)
    assert temperatures[149] == pytest.approx(0.03, abs=1e-12)
    assert np.diff(temperatures) == pytest.approx(-0.97 / 150)


# -- 7.8: the child --------------------------------------------------------------------------------


@pytest.mark.parametrize("execution", ["plain", "fused"])
def test_the_supernet_under_a_one_hot_sample_is_the_child(execution):
    space = spaces.make("darts-snas")
    torch.manual_seed(0)
    net: Supernet = build(space, NetworkSpec(channels=4, depth=3, execution=execution)).train()
    x = torch.randn(8, 3, 16, 16)
    texts = ("SNAS_MILD", "SNAS_AGGRESSIVE", "normal: | | | skip_connect~3 ; reduce: | | | ")
    for text in texts:
        arch = space.parse(text)
        whole = {g: torch.from_numpy(m) for g, m in space.one_hot(arch).items()}
        forced = net(x, Gates.dense(space, whole))
        child = net(x, Gates.of(space, arch))
        torch.testing.assert_close(forced, child, atol=1e-5, rtol=1e-5)


def test_the_strongest_option_is_derived_and_none_is_one():
    space = spaces.make("darts-snas")
    alphas = [torch.randn(14, 8, generator=torch.Generator().manual_seed(i)) for i in (0, 1)]
    arch = space.derive(probabilities(space, alphas))
    for choices, alpha in zip(space.groups.values(), alphas, strict=True):
        best = [c.options[i] for c, i in zip(choices, alpha.argmax(dim=-1).tolist(), strict=True)]
        assert [arch.one(c.name) for c in choices] == best
    assert ("none",) in arch.values()


# -- 7.9: one level --------------------------------------------------------------------------------


def test_one_batch_one_pass_and_one_backward_for_weights_and_alphas(monkeypatch):
    method, problem, state = start()
    calls: list[str] = []
    grad = torch.autograd.grad

    def counted(*args, **options):
        calls.append("backward")
        return grad(*args, **options)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    state.net.register_forward_hook(lambda *args: calls.append("forward"))
    before = [alpha.detach().clone() for alpha in state.alphas]
    weights = {k: v.detach().clone() for k, v in state.net.named_parameters()}
    told = method.step(state, problem, tiny.CLOCK)
    assert calls == ["forward", "backward"]
    assert problem.seen == {"train": 16, "valid": 0}
    assert all((a != b).all() for a, b in zip(before, state.alphas, strict=True))
    assert any(not torch.equal(v, weights[k]) for k, v in state.net.named_parameters())
    assert float(told["cost"]) > 0
    assert [p.part for p in method.phases(problem, 3)] == ["train"]


def test_a_step_is_torchs_own_on_the_loss_with_the_cost(monkeypatch):
    config = replace(QUICK, weights=replace(QUICK.weights, clip=0.0))
    method, problem, state = start(config, tiny.smooth())
    twin, shadow = start(config, tiny.smooth())[1:]
    tau = method.temperature(tiny.CLOCK)
    gates = concrete_gates(twin.space, shadow.alphas, tau, twin.search_rng)
    penalty = sum(r.sum() for r in edge_costs(shadow.costs, gates, "log").values())
    (twin.loss(shadow.net, gates, twin.batch("train")) + config.eta * penalty).backward()
    rates = {"lr": config.weights.at(tiny.CLOCK), "momentum": 0.9, "weight_decay": 3e-4}
    torch.optim.SGD(shadow.net.parameters(), **rates).step()
    adam = {"lr": config.alpha.lr, "betas": (0.5, 0.999), "weight_decay": 1e-3}
    torch.optim.Adam(shadow.alphas, **adam).step()
    method.step(state, problem, tiny.CLOCK)
    pairs = [(state.alphas, shadow.alphas), (state.weights, shadow.weights)]
    for mine, theirs in pairs:
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_without_a_weight_nothing_is_counted(monkeypatch):
    monkeypatch.setattr(module, "of_options", None)
    method, problem, state = start(replace(QUICK, eta=0.0))
    assert state.costs is None
    assert "cost" not in method.step(state, problem, tiny.CLOCK)


# -- 7.10: a small search --------------------------------------------------------------------------


@pytest.mark.slow
def test_a_small_search_decides_sooner_under_a_cost_and_keeps_its_childs_accuracy(tmp_path):
    """7.10 a to d on a toy: the same search without a cost and with a large one."""
    images, space = tiny.images(600), spaces.make("nasbench201")
    sizes = {"epochs": 12, "steps_per_epoch": 25, "batch_size": 32, "channels": 4}
    settings = tiny.changed(tiny.SETTINGS, **sizes, train_images=400, valid_images=200)
    found = {}
    for eta in (0.0, 0.05):
        config = replace(QUICK, eta=eta, alpha=replace(QUICK.alpha, lr=0.03))
        path = tmp_path / str(eta)
        found[eta] = search(config, space=space, data=images, settings=settings, run=path)
    curves = {eta: [row["entropy"] for row in r.history] for eta, r in found.items()}
    for eta, result in found.items():
        losses = [row["train_loss"] for row in result.history]
        assert losses[-1] < 0.7 * losses[0]
        assert curves[eta][-1] < curves[eta][0]
    assert curves[0.05][-1] < 0.5 * curves[0.0][-1]
    kept = list(found[0.05].architecture.values())
    assert sum(value in (("none",), ("skip_connect",)) for value in kept) >= 3
    network = NetworkSpec(channels=4, depth=1)
    macs = [cost.of(space, found[eta].architecture, network).macs for eta in (0.0, 0.05)]
    assert macs[1] <= macs[0]

    task = ImageTask.of(images, train_images=400, valid_images=200)
    spec = replace(network, classes=tiny.CLASSES, in_channels=1)
    problem = Problem(space, task, spec, batch_size=32)
    state = checkpoint.read(tmp_path / "0.05" / "checkpoint.pt")["state"]
    net, evaluator = problem.supernet(), SupernetEvaluator(problem)
    net.load_state_dict(state["net"])
    generator, children = torch.Generator().manual_seed(0), []
    for _ in range(10):
        drawn = sample(state["alphas"][0], generator).numpy()
        children.append(evaluator.measure(net, space.derive({"cell": drawn})).score)
    child = evaluator.measure(net, found[0.05].architecture).score
    assert abs(child - np.mean(children)) < 5
