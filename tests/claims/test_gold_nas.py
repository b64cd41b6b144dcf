"""GOLD-NAS does what its card says (specs/gold-nas.md, section 7; arXiv 2007.03331).

The size of the space and the norms of its skips: tests/unit/spaces/test_darts_gold_nas.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tiny
from morphogen import Task, cost
from morphogen.bilevel.nodes import Nodes, flat
from morphogen.core import Choice
from morphogen.engine.search.search import resume, search
from morphogen.methods.gold_nas import GOLDNAS, GOLDNASConfig, multiply_adds, resource_term
from morphogen.spaces import Differentiable, SearchSpace
from morphogen.spaces.darts_cells import EDGES
from morphogen.spaces.darts_gold_nas import IndependentDARTS
from morphogen.supernets import Gates, NetworkSpec, Supernet, network
from morphogen.supernets.base import register
from morphogen.tasks.problem import Clock, Problem

OPTIONS = tuple(f"x{k}" for k in range(8))
FIRST = Clock(epoch=0, epochs=9, step=0, steps=2)


class OneNode(SearchSpace, Differentiable):
    """A node that keeps any of its operations."""

    def __init__(self, count: int = 8) -> None:
        super().__init__("one-node", [Choice("node", OPTIONS[:count], "node", 1, count)])


def resources(weights: Sequence[float] | Tensor, price: float = 1.0) -> Tensor:
    """R of one node with these gates."""
    row = torch.as_tensor(weights)
    nodes = Nodes(OneNode(len(row)))
    live = [torch.ones(1, len(row), dtype=torch.bool)]
    return resource_term(nodes, [row[None]], live, torch.full((len(row),), price))


def start(space=None, config=None, **spec):
    space = space or IndependentDARTS(cells=1)
    method = GOLDNAS(config or GOLDNASConfig())
    held = tiny.problem(space, **spec)
    return method, held, method.init(held)


# -- 7.1: the resource term ------------------------------------------------------------------------


def test_the_resource_term_falls_from_equal_gates_to_one_that_holds_all():
    assert resources([0.5] * 4).item() == pytest.approx(4 * math.log(2), abs=1e-5)  # 2.7726
    assert resources([1.0, 1e-9, 1e-9, 1e-9]).item() == pytest.approx(math.log(5), abs=1e-5)


def test_its_gradient_pushes_down_what_is_below_average():
    w = torch.tensor([0.9, 0.5, 0.1], requires_grad=True)
    (gradient,) = torch.autograd.grad(resources(w), w)
    assert gradient.tolist() == pytest.approx([-0.1587, 0.1270, 0.7937], abs=1e-4)


def test_its_gradient_is_the_closed_form():
    w = torch.rand(7, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(resources(w), w)
    p, n = w.detach() / w.detach().sum(), 7
    slope = n / (1 + n * p)
    assert torch.allclose(gradient, (slope - (p * slope).sum()) / w.detach().sum(), atol=1e-6)


@pytest.mark.parametrize(("cells", "value"), [(14, 271.714), (5, 97.041)])
def test_at_the_start_it_is_28_cells_ln_2_and_flat(cells, value):
    space = IndependentDARTS(cells=cells)
    alphas = [torch.zeros(14, 2, requires_grad=True) for _ in range(cells)]
    live = [torch.ones(14, 2, dtype=torch.bool) for _ in range(cells)]
    weights = [alpha.sigmoid() for alpha in alphas]
    found = resource_term(Nodes(space), weights, live, torch.ones(28 * cells))
    assert found.item() == pytest.approx(value, abs=1e-3)
    assert all(float(g.abs().max()) < 1e-6 for g in torch.autograd.grad(found, alphas))


def test_a_share_is_that_of_the_whole_node():
    """Pitfall 8.2: not of one edge; rows of a cell are 0-1, 2-4, 5-8, 9-13."""
    weights = [torch.rand(14, 2)]
    p = Nodes(IndependentDARTS(cells=1)).shares(weights).reshape(14, 2)
    for first, last in ((0, 2), (2, 5), (5, 9), (9, 14)):
        assert len({target for _, target in EDGES[first:last]}) == 1
        of_node = weights[0][first:last]
        assert torch.allclose(p[first:last], of_node / of_node.sum())


# -- 7.2: the schedule -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pruned", "wanted"),
    [
        ([0] * 7, [2e-5, 6e-5, 1.4e-4, 3e-4, 6.2e-4, 1.26e-3, 2.54e-3]),
        ([0, 0, 4, 0], [2e-5, 6e-5, 3e-5, 5e-5]),
    ],
)
def test_lambda_grows_while_too_little_is_pruned_and_falls_when_enough_is(pruned, wanted):
    method, weight, increase, found = GOLDNAS(GOLDNASConfig()), 0.0, 1e-5, []
    for count in pruned:
        weight, increase = method.reweigh(weight, increase, count)
        found.append(weight)
    assert found == pytest.approx(wanted)


# -- 7.3: multiply-adds ----------------------------------------------------------------------------


def test_multiply_adds_are_those_of_the_card():
    """3.2: in millions, C = 36; a factorised reduce from the inputs of reduction cells."""
    space = IndependentDARTS()
    costs = cost.of_options(space, NetworkSpec(channels=36), (3, 32, 32))
    stages = {"cell0": 3.31776, "cell5": 2.985984, "cell13": 2.820096}
    for cell, wanted in stages.items():
        skip, conv = costs.macs[cell].T / 1e6
        assert conv == pytest.approx([wanted] * 14)
        assert not skip.any()
    for cell, conv in (("cell4", 2.985984), ("cell9", 2.820096)):
        skip = costs.macs[cell][:, 0] / 1e6
        assert np.flatnonzero(skip).tolist() == [0, 1, 2, 3, 5, 6, 9, 10]
        assert skip[skip > 0] == pytest.approx([1.327104] * 8)
        assert costs.macs[cell][:, 1] / 1e6 == pytest.approx([conv] * 14)
    options = sum(float(values.sum()) for values in costs.macs.values())
    assert options / 1e6 == pytest.approx(613.45, abs=0.01)
    assert costs.rest["macs"] / 1e6 == pytest.approx(163.57, abs=0.01)


# -- 7.4, 7.5: pruning -----------------------------------------------------------------------------


def test_a_node_keeps_an_operation_whatever_its_gates():
    method, held, state = start()
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        state.live[0].fill_(True)
        with torch.no_grad():
            state.alphas[0].copy_(10 * torch.randn(14, 2, generator=generator))
        while method.prune(state, held.space):
            pass
        held.space.check(method.derive(state, held.space))


def test_a_round_prunes_the_weakest_few_and_all_that_are_gone():
    method, held, state = start(config=GOLDNASConfig(per_round=3))
    with torch.no_grad():
        state.alphas[0].fill_(2.0)
        # Of node 5, ten operations: p of about 0.04, five of them; p of about 0.004, one.
        gates = torch.tensor([0.2, 0.21, 0.22, 0.23, 0.24, 0.9, 0.9, 0.9, 0.9, 0.016])
        state.alphas[0][9:14] = gates.logit().reshape(5, 2)
    assert method.prune(state, held.space) == 3
    assert (~state.live[0][9:14]).flatten().nonzero().flatten().tolist() == [0, 1, 9]
    with torch.no_grad():  # five that are gone at once: all of them, not three
        state.alphas[0][13] = -9.0
        state.alphas[0][10:12] = -9.0
    assert method.prune(state, held.space) == 5


def test_what_is_pruned_is_gone_from_the_network():
    method, held, state = start(IndependentDARTS(cells=3), channels=4)
    x = held.batch("pool").x
    with torch.no_grad():
        for alpha in state.alphas:
            alpha.copy_(5 * torch.randn(alpha.shape, generator=torch.Generator().manual_seed(1)))
    assert method.prune(state, held.space) > 0
    state.net.execution = "plain"
    before = state.net(x, method.gates(state, held.space))
    for cell, mask, alpha in zip(held.space.cells, state.live, state.alphas, strict=True):
        for choice, on in zip(held.space.groups[cell], mask.tolist(), strict=True):
            for option, live in zip(choice.options, on, strict=True):
                if not live:
                    number = held.space.cells.index(cell)
                    del state.net.cells[number].edges[choice.name][option]
        with torch.no_grad():  # nor does its gate matter, which momentum may move on
            alpha[~mask] = 3.0
    after = state.net(x, method.gates(state, held.space))
    assert float((before - after).detach().abs().max()) < 1e-6


# -- 7.6: one level --------------------------------------------------------------------------------


def test_weights_and_gates_follow_one_gradient_on_one_batch():
    config = GOLDNASConfig()
    method, held, state = start(IndependentDARTS(cells=2), config, channels=2)
    state.weight = 0.03
    twin, other, copied = start(IndependentDARTS(cells=2), config, channels=2)
    gates = twin.gates(copied, other.space)
    loss = other.loss(copied.net, gates, other.batch("pool"))
    resource = resource_term(copied.nodes, list(gates.weights.values()), copied.live, copied.price)
    weights = copied.weights
    of = torch.autograd.grad(loss + 0.03 * resource, [*weights, *copied.alphas])
    norm = torch.cat([g.flatten() for g in of[: len(weights)]]).norm()
    told = method.step(state, held, FIRST)
    assert told.keys() == {"train_loss"}  # a round is the end of an epoch
    assert float(told["train_loss"]) == pytest.approx(float(loss.detach()), rel=1e-5)
    for new, old, g in zip(state.weights, weights, of, strict=False):
        g = g * min(1.0, 5.0 / float(norm)) + 3e-4 * old
        torch.testing.assert_close(new, old - 0.01 * g, rtol=1e-4, atol=1e-6)
    for new, g in zip(state.alphas, of[len(weights) :], strict=True):
        torch.testing.assert_close(new.detach(), -1.0 * g, rtol=1e-4, atol=1e-6)  # lr 1, unclipped
    assert held.seen == {"train": 0, "valid": 0, "pool": 16}


# -- 7: a node of which the answer is known --------------------------------------------------------

TARGETS = torch.tensor([0.9, 0.8, 0.6, 0.4, 0.2, 0.1, 0.05, 0.02])


class Sum(Supernet):
    """sum_k sigma(alpha_k) x_k."""

    def __init__(self, space: OneNode, spec: NetworkSpec) -> None:
        super().__init__()
        self.space = space
        self.unused = nn.Parameter(torch.zeros(1))

    def _options(self, choice: str, option: str) -> list[nn.Module]:
        return []

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        return x @ gates.weights["node"][0]


register(OneNode, supernet=Sum, network=lambda space, arch, spec: nn.Identity())


def test_operations_go_in_the_order_of_their_worth():
    x = torch.randn(3200, 8, generator=torch.Generator().manual_seed(0))
    task = Task(train=torch.utils.data.TensorDataset(x, x @ TARGETS), loss=nn.MSELoss(), name="sum")
    held = Problem(OneNode(), task, NetworkSpec(), batch_size=64)
    config = GOLDNASConfig(lambda0=1e-3, per_round=1, stable_rounds=2)
    method = GOLDNAS(config)
    state = method.init(held)
    left, removed = list(range(8)), []
    for number in range(40):
        for step in range(50):
            clock = Clock(epoch=number, epochs=40, step=step, steps=50)
            told = method.step(state, held, clock)
        live = state.live[0][0].nonzero().flatten().tolist()
        removed += [(k, told["lambda"]) for k in reversed(left) if k not in live]
        left = live
        if len(left) == 2:
            break
    assert [k for k, _ in removed] == [7, 6, 5, 4, 3, 2]
    # (measured) 4 at lambda 0.254, 3 at 1.149, 2 at 2.62
    for (_, weight), wanted in zip(removed[3:], (0.254, 1.149, 2.62), strict=True):
        assert wanted / 2 < weight < wanted * 2
    # Each network that stood long enough is in the series as it was before it was pruned.
    series = [len(c.architecture["node"]) for c in method.candidates(state, held.space)]
    assert series == [5, 4, 3, 2]


# -- a search --------------------------------------------------------------------------------------


def test_one_search_gives_a_series_that_shrinks_and_can_be_trained(tmp_path):
    config = GOLDNASConfig(lambda0=0.2, per_round=4, stable_rounds=0, smallest=0.6)
    settings = tiny.changed(tiny.SETTINGS, epochs=30, steps_per_epoch=2, diagnostic_images=0)
    space = IndependentDARTS(cells=1)
    stop = tiny.Stop(epochs=6)  # some networks have joined the series by then
    with pytest.raises(KeyboardInterrupt):
        search(
            config,
            space=space,
            data=tiny.images(),
            settings=settings,
            run=tmp_path / "r",
            watcher=stop,
        )
    result = resume(tmp_path / "r", data=tiny.images())
    rows = tiny.metrics(result.run)
    macs = [row["macs"] for row in rows]
    assert macs == sorted(macs, reverse=True)
    assert rows[-1].get("ended_early")
    assert "both parts together" in (result.run / "result.json").read_text()
    assert len(tiny.state(result.run)["state"]["series"]) >= 1
    found = [candidate["macs"] for candidate in result.candidates]
    assert len(found) >= 2
    assert found == sorted(set(found), reverse=True)
    assert found[-1] == macs[-1]
    spec = NetworkSpec(channels=2, classes=4, in_channels=1)
    for candidate in result.candidates:
        arch = space.parse(candidate["architecture"])
        assert network(space, arch, spec)(torch.randn(2, 1, 8, 8)).shape == (2, 4)
        assert cost.of(space, arch, spec, (1, 8, 8)).macs == candidate["macs"]
    assert result.architecture == space.parse(result.candidates[-1]["architecture"])


def test_without_the_resource_term_nothing_is_pruned():
    method, held, state = start(config=GOLDNASConfig(lambda0=1e-9))
    for epoch in range(4):
        told = method.step(state, held, replace(FIRST, epoch=epoch, step=1))
    assert (told["pruned"], told["operations"]) == (0, 28)
    assert told["macs"] == state.whole == multiply_adds(state.costs, state.live)
    assert not method.ended(state, FIRST)
    assert flat(state.live).all()
