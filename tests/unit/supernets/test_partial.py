"""Partial channels against edges written out one by one, each with a shuffle of its own."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from morphogen.core import CapabilityError, ConfigError
from morphogen.spaces import make
from morphogen.spaces.darts_cells import EDGES as DARTS_EDGES
from morphogen.spaces.darts_cells import NODES as DARTS_NODES
from morphogen.spaces.nasbench201 import EDGES, NODES
from morphogen.supernets import Gates, NetworkSpec, build
from morphogen.supernets.darts import MixedCell as DARTSCell

K = 4


def shuffled(x):
    """Channel j of group i comes to place j K + i."""
    c = x.shape[1]
    order = [i * (c // K) + j for j in range(c // K) for i in range(K)]
    return x[:, order]


def mixed_edge(x, modules, weights, passing, stride):
    """PC-DARTS' mixed operation times the weight of its edge, from its description."""
    first = x.shape[1] // K
    seen, rest = x[:, :first], x[:, first:]
    rest = F.max_pool2d(rest, 2) if stride == 2 else rest
    outputs = [w * m(seen) for m, w in zip(modules, weights, strict=True)]
    total = sum(outputs) if outputs else torch.zeros_like(rest[:, :first])
    return shuffled(torch.cat([total, passing * rest], dim=1))


def nasbench201_slow(net, x, gates):
    x = net.stem(x)
    for cell in net.cells:
        if not hasattr(cell, "edges"):
            x = cell(x)
            continue
        nodes = [x]
        for target in range(1, NODES):
            terms = []
            for row, (source, end) in enumerate(EDGES):
                if end == target and gates.live["cell"][row]:
                    choice, w = net.space.groups["cell"][row], gates.weights["cell"][row]
                    run = [i for i in gates.live["cell"][row] if choice.options[i] != "none"]
                    modules = [cell.option(choice.name, choice.options[i]) for i in run]
                    terms.append(
                        mixed_edge(nodes[source], modules, [w[i] for i in run], w.sum(), 1)
                    )
            nodes.append(sum(terms) if terms else torch.zeros_like(x))
        x = nodes[-1]
    return net.classifier(F.relu(net.norm(x)).mean((2, 3)))


def darts_slow(net, x, gates):
    s0, s1 = net.stem(x)
    for cell in net.cells:
        assert isinstance(cell, DARTSCell)
        nodes = cell.inputs(s0, s1)
        weights, live = gates.weights[cell.kind], gates.live[cell.kind]
        for target in DARTS_NODES:
            terms = []
            for row, (source, end) in enumerate(DARTS_EDGES):
                if end == target and live[row]:
                    choice = net.space.groups[cell.kind][row]
                    run = [i for i in live[row] if choice.options[i] != "none"]
                    modules = [cell.edges[choice.name][choice.options[i]] for i in run]
                    stride = 2 if cell.reduction and source < 2 else 1
                    w = weights[row]
                    terms.append(
                        mixed_edge(nodes[source], modules, [w[i] for i in run], w.sum(), stride)
                    )
            nodes.append(sum(terms))
        s0, s1 = s1, torch.cat(nodes[2:], 1)
    return net.classifier(s1.mean((2, 3)))


def some_gates(space, kind, generator):
    """Gates that differ everywhere; `masked` ones leave options and a whole edge out."""
    if kind == "path":
        return Gates.of(space, space.sample(np.random.default_rng(5)))
    weights = {
        g: torch.rand(m.shape, generator=generator, dtype=torch.float64).requires_grad_()
        for g, m in space.masks.items()
    }
    if kind == "all":
        return Gates.dense(space, weights)
    live = []
    for mask in space.masks.values():
        rows = torch.from_numpy(mask.copy())
        rows[1], rows[2, ::2] = False, False
        live.append(rows)
    weights = {g: (w * m).detach() for (g, w), m in zip(weights.items(), live, strict=True)}
    return Gates.dense(space, {g: w.requires_grad_() for g, w in weights.items()}, live)


SLOW = {"nasbench201": (nasbench201_slow, 1), "darts": (darts_slow, 3)}


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("kind", ["all", "masked", "path"])
@pytest.mark.parametrize("execution", ["plain", "fused"])
def test_partial_channels_equal_edges_written_out(name, kind, execution):
    space, (slow, depth) = make(name), SLOW[name]
    g = torch.Generator().manual_seed(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        net = build(
            space,
            NetworkSpec(channels=8, depth=depth, execution=execution, partial_channels=K),
        ).double()
    x = torch.randn(4, 3, 8, 8, generator=g, dtype=torch.float64)
    gates = some_gates(space, kind, g)
    wanted_of = [*net.parameters(), *(w for w in gates.weights.values() if w.requires_grad)]
    results = []
    for forward in (lambda: net(x, gates), lambda: slow(net, x, gates)):
        before = {k: v.clone() for k, v in net.state_dict().items()}
        output = forward()
        gradients = torch.autograd.grad(
            output.square().sum(), wanted_of, allow_unused=True, materialize_grads=True
        )
        results.append([output.detach(), *gradients, *(b.double() for b in net.buffers())])
        net.load_state_dict(before)
        net.eval()
        results[-1].append(forward().detach())
        net.train()
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


def test_operations_run_on_a_part_of_the_channels():
    net = build(make("nasbench201"), NetworkSpec(channels=16, depth=1, partial_channels=4))
    (conv,) = net.options("edge_0_1", "nor_conv_3x3")[:1]
    assert conv.conv.weight.shape == (4, 4, 3, 3)


def test_gates_of_each_example_equal_one_example_at_a_time():
    space = make("nasbench201")
    net = build(space, NetworkSpec(channels=8, depth=1, partial_channels=2)).double().eval()
    g = torch.Generator().manual_seed(3)
    x = torch.randn(3, 3, 8, 8, generator=g, dtype=torch.float64)
    weights = torch.rand(3, 6, 5, generator=g, dtype=torch.float64)
    together = net(x, Gates.dense(space, {"cell": weights}))
    alone = [net(x[i : i + 1], Gates.dense(space, {"cell": weights[i]})) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_what_cannot_be_partial_is_refused():
    with pytest.raises(CapabilityError, match=r"has no edges .* nasbench201 and darts"):
        build(make("nasbench-macro"), NetworkSpec(partial_channels=4))
    with pytest.raises(ConfigError, match="partial_channels is 3, and a cell has 8 channels"):
        build(make("nasbench201"), NetworkSpec(channels=8, partial_channels=3))


def test_signals_take_partial_channels_in_both_executions():
    space = make("signal-darts")
    net = build(space, NetworkSpec(channels=8, depth=3, in_channels=2, partial_channels=2)).double()
    g = torch.Generator().manual_seed(4)
    x = torch.randn(4, 2, 18, generator=g, dtype=torch.float64)
    gates = some_gates(space, "all", g)
    fused = net(x, gates)
    net.execution = "plain"
    torch.testing.assert_close(fused, net(x, gates))
