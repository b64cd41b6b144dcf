"""NAS-Bench-1Shot1's supernet and NAS-Bench-101's networks against published counts and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen import spaces
from morphogen.core import Architecture, ConfigError
from morphogen.spaces.nasbench1shot1 import PARENTS, NASBench1Shot1, to_nasbench101, topology
from morphogen.spaces.nasbench101 import Cell, prune
from morphogen.supernets import Gates, NetworkSpec, build, network
from morphogen.supernets.nasbench1shot1 import NASBench1Shot1Supernet
from morphogen.supernets.nasbench101 import NASBench101Network, vertex_widths

S1, S2, S3 = ALL = tuple(spaces.make(name) for name in PARENTS)
each = pytest.mark.parametrize("space", ALL, ids=list(PARENTS))
TINY = NetworkSpec(channels=3, depth=1, classes=4)
CONV3, CONV1, POOL = "conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3"


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def settled(net: nn.Module) -> nn.Module:
    """In evaluation mode, with batch norms that do something."""
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.normal_(module.weight, 1, 0.3)
                nn.init.normal_(module.bias, 0, 0.3)
    return net.eval()


# -- the supernet ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "count", "channels"),
    [(S1, 1_101_402, 64), (S2, 1_101_402, 64), (S3, 1_509_594, 80)],
    ids=list(PARENTS),
)
def test_parameters_and_shapes_of_the_authors(
    space: NASBench1Shot1, count: int, channels: int
) -> None:
    net = build(space, NetworkSpec(channels=16, depth=3))
    assert parameters(net) == count
    shapes = []
    for stack in net.stacks:
        for cell in stack:
            cell.register_forward_hook(lambda _m, _x, out: shapes.append(tuple(out.shape[1:])))
    arch = space.sample(np.random.default_rng(0))
    with torch.no_grad():
        assert net(torch.randn(1, 3, 32, 32), Gates.of(space, arch)).shape == (1, 10)
    sides = (32, 17, 9)
    assert shapes == [(channels * 2**i, s, s) for i, s in enumerate(sides) for _ in range(3)]


def conv_bn_relu(x: Tensor, state: dict[str, Tensor], prefix: str) -> Tensor:
    """By torch's functions alone."""
    weight = state[f"{prefix}.0.weight"]
    x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
    norm = [state[f"{prefix}.1.{n}"] for n in ("running_mean", "running_var", "weight", "bias")]
    return F.batch_norm(x, *norm).relu()


def apply(name: str, x: Tensor, state: dict[str, Tensor], prefix: str) -> Tensor:
    return F.max_pool2d(x, 3, 1, 1) if name == POOL else conv_bn_relu(x, state, prefix)


def by_hand(net: NASBench1Shot1Supernet, arch: Architecture, x: Tensor) -> Tensor:
    """The selected graph with the supernet's weights, one line after the other."""
    state = dict(net.state_dict())
    nodes = len([c for c in arch if c.startswith("operation")])
    inputs = topology(arch)
    x = conv_bn_relu(x, state, "stem")
    for stack in range(3):
        if stack:
            x = F.max_pool2d(x, 2, 2, 1)
        cell = f"stacks.{stack}.0"
        values = [x]
        for node in range(1, nodes + 1):
            total = torch.zeros(())
            for source in inputs[node - 1]:
                term = values[source]
                if source == 0:
                    term = conv_bn_relu(x, state, f"{cell}.projections.{node - 1}")
                total = total + term
            name = arch.one(f"operation_{node}")
            values.append(apply(name, total, state, f"{cell}.nodes.{node - 1}.{name}"))
        parts = [v if n in inputs[-1] else 0 * v for n, v in enumerate(values[1:], start=1)]
        out = torch.cat(parts, 1)
        if 0 in inputs[-1]:
            out = out + conv_bn_relu(x, state, f"{cell}.output")
        x = out
    x = F.conv2d(x.relu(), state["head.1.weight"])
    x = F.batch_norm(x, state["head.2.running_mean"], state["head.2.running_var"])
    return F.linear(x.mean((2, 3)), state["classifier.weight"], state["classifier.bias"])


@each
def test_a_path_is_the_selected_graph_with_the_same_weights(space: NASBench1Shot1) -> None:
    net = settled(build(space, TINY))
    rng = np.random.default_rng(0)
    x = torch.randn(2, 3, 8, 8)
    for arch in (space.sample(rng) for _ in range(12)):
        path = Gates.of(space, arch)
        with torch.no_grad():
            expected = by_hand(net, arch, x)
            torch.testing.assert_close(net(x, path), expected, atol=1e-5, rtol=1e-5)
            # The same path under weights that are only nearly gates of one.
            soft = net(x, Gates(path.weights, path.live))
            torch.testing.assert_close(soft, expected, atol=1e-5, rtol=1e-5)


@each
def test_what_is_not_on_the_path_gets_no_gradient(space: NASBench1Shot1) -> None:
    net = build(space, TINY)
    # A node of it, at least, does not reach the output.
    rng = np.random.default_rng(3)
    drawn = (space.sample(rng) for _ in range(99))
    arch = next(a for a in drawn if any("loose end" in said for said in space.remarks(a)))
    net(torch.randn(2, 3, 8, 8), Gates.of(space, arch)).sum().backward()
    inputs = topology(arch)
    loose = {n for n in range(1, space.nodes + 1) if not to_nasbench101(arch)[0][n].any()}
    for cell in (stack[0] for stack in net.stacks):
        assert (next(cell.output.parameters()).grad is not None) == (0 in inputs[-1])
        for node, options in enumerate(cell.nodes, start=1):
            for name, module in options.items():
                if name != arch.one(f"operation_{node}") or node in loose:
                    assert all(p.grad is None for p in module.parameters())
            if 0 not in inputs[node - 1]:
                assert all(p.grad is None for p in cell.projections[node - 1].parameters())


@each
def test_soft_gates_reach_every_option(space: NASBench1Shot1) -> None:
    net = build(space, TINY)
    weights = {
        g: torch.full(m.shape, 1 / m.shape[1], requires_grad=True) for g, m in space.masks.items()
    }
    net(torch.randn(4, 3, 8, 8), Gates.dense(space, weights)).square().sum().backward()
    assert all((w.grad != 0).all() for w in weights.values())
    assert all(p.grad is not None for p in net.parameters())


def test_softmax_averages_what_a_path_adds_up() -> None:
    text = f"|{CONV3}~0|{CONV1}~1|{POOL}~0,1|{CONV3}~2,3|output~1,2,3|"
    arch = S2.parse(text)
    net = settled(build(S2, TINY))
    x = torch.randn(2, 3, 8, 8)
    seen: dict[tuple[int, str], list[Tensor]] = {}
    for node, options in enumerate(net.stacks[0][0].nodes, start=1):
        for name, module in options.items():
            module.register_forward_hook(
                lambda _m, x, _y, key=(node, name): seen.setdefault(key, []).append(x[0])
            )
    logits = {g: 50 * torch.from_numpy(m) for g, m in S2.one_hot(arch).items()}
    with torch.no_grad():
        net(x, Gates.of(S2, arch))
        net(x, Gates.dense(S2, {g: torch.softmax(a, -1) for g, a in logits.items()}))
    for key, factor in (((1, CONV3), 1), ((2, CONV1), 1), ((3, POOL), 2)):
        summed, averaged = seen[key]
        torch.testing.assert_close(averaged * factor, summed, atol=1e-4, rtol=1e-4)


def test_nodes_without_live_inputs_give_nothing() -> None:
    net = settled(build(S2, TINY))
    gates = Gates.of(S2, S2.parse(f"|{CONV3}~0|{CONV1}~1|{POOL}~0,1|{CONV3}~2,3|output~1,2,3|"))
    empty = Gates(gates.weights, gates.live | {"inputs_output": ((),)}, unit=True)
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        nothing = net(x, empty)
        torch.testing.assert_close(nothing[0], nothing[1])
        part = Gates(gates.weights, gates.live | {"inputs_2": ((),)}, unit=True)
        assert net(x, part).shape == (2, 4)


def test_a_restricted_space_has_only_its_options() -> None:
    part = S2.restrict({"operation_2": [POOL], "inputs_output": ["2", "3", "4"]})
    net = settled(build(part, TINY))
    assert list(net.stacks[0][0].nodes[1]) == [POOL]
    arch = part.parse(f"|{CONV3}~0|{POOL}~1|{POOL}~0,1|{CONV3}~2,3|output~2,3,4|")
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(
            net(x, Gates.of(part, arch)), by_hand(net, arch, x), atol=1e-5, rtol=1e-5
        )


# -- the networks of NAS-Bench-101 --------------------------------------------------------------

TABLE = NetworkSpec(channels=128, depth=3)


@pytest.mark.parametrize(
    ("edges", "operations", "count"),
    [
        # Both printed by the authors' API: their notebook, and the first record of their file.
        ("0-1 0-2 0-3 0-4 1-6 2-6 3-6 4-5 5-6", (CONV3, CONV1, POOL, CONV3, CONV3), 2_694_282),
        ("0-1 0-4 0-5 1-2 2-3 2-6 3-5 4-5 5-6", (CONV3, POOL, CONV3, CONV3, CONV1), 8_555_530),
    ],
)
def test_trainable_parameters_of_the_table(
    edges: str, operations: tuple[str, ...], count: int
) -> None:
    matrix = np.zeros((7, 7), int)
    for edge in edges.split():
        source, target = map(int, edge.split("-"))
        matrix[source, target] = 1
    with torch.device("meta"):
        net = NASBench101Network(prune(matrix, ("input", *operations, "output")), TABLE)
    assert parameters(net) == count


def rows_of(*edges: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
    size = max(map(max, edges)) + 1
    return tuple(tuple(int((i, j) in edges) for j in range(size)) for i in range(size))


@pytest.mark.parametrize(
    ("edges", "output", "widths"),
    [
        # The cases of the authors' tests.
        ([(0, 1), (1, 2), (2, 3)], 16, [16, 16]),
        ([(0, 1), (0, 2), (1, 3), (2, 3), (3, 4)], 8, [8, 8, 8]),
        ([(0, 1), (0, 2), (1, 3), (2, 3)], 15, [8, 7]),
        ([(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)], 8, [3, 3, 2]),
        ([(0, 1), (1, 2), (1, 3), (2, 4), (3, 4)], 9, [5, 5, 4]),
        ([(0, 1), (0, 3), (1, 2), (1, 4), (2, 3), (3, 4)], 15, [8, 7, 7]),
    ],
)
def test_widths_of_vertices(edges: list[tuple[int, int]], output: int, widths: list[int]) -> None:
    assert vertex_widths(rows_of(*edges), output) == widths


def cell_by_hand(cell: Cell, x: Tensor, state: dict[str, Tensor], prefix: str, out: int) -> Tensor:
    rows, names = cell
    last = len(rows) - 1
    widths = vertex_widths(rows, out)
    values = {0: x}
    for vertex in range(1, last):
        width, total = widths[vertex - 1], torch.zeros(())
        for source in range(vertex):
            if rows[source][vertex]:
                if source:
                    total = total + values[source][:, :width]
                else:
                    total = total + conv_bn_relu(x, state, f"{prefix}.projections.{vertex}")
        name = names[vertex - 1]
        values[vertex] = apply(name, total, state, f"{prefix}.operations.{vertex - 1}")
    y = torch.cat([values[v] for v in range(1, last) if rows[v][last]], 1)
    return y + conv_bn_relu(x, state, f"{prefix}.projections.{last}") if rows[0][last] else y


@each
def test_network_of_an_architecture_by_hand(space: NASBench1Shot1) -> None:
    rng = np.random.default_rng(5)
    spec = NetworkSpec(channels=5, depth=1, classes=4, in_channels=1)
    for arch in (space.sample(rng) for _ in range(8)):
        net = settled(network(space, arch, spec))
        state = dict(net.state_dict())
        x = images = torch.randn(2, 1, 9, 9)
        with torch.no_grad():
            x = conv_bn_relu(x, state, "stem")
            for stack, side in enumerate((9, 5, 3)):
                if stack:  # TensorFlow's "same": the border pixel has a window of its own
                    x = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-np.inf), 2)
                cell = prune(*_full(arch))
                x = cell_by_hand(cell, x, state, f"stacks.{stack}.0", 5 * 2**stack)
                assert x.shape == (2, 5 * 2**stack, side, side)
            pooled = x.mean((2, 3))
            expected = F.linear(pooled, state["classifier.weight"], state["classifier.bias"])
            torch.testing.assert_close(net(images), expected, atol=1e-5, rtol=1e-5)


def _full(arch: Architecture) -> tuple[np.ndarray, list[str]]:
    """Matrix and labels from the architecture's choices, loose ends and all."""
    inputs = topology(arch)
    size = len(inputs) + 1
    matrix = np.zeros((size, size), int)
    for node, sources in enumerate(inputs, start=1):
        matrix[list(sources), node] = 1
    names = [arch.one(f"operation_{n}") for n in range(1, size - 1)]
    return matrix, ["input", *names, "output"]


def test_too_few_channels_are_one_sentence() -> None:
    arch = S2.parse(f"|{CONV3}~0|{CONV1}~1|{POOL}~0,1|{CONV3}~2,3|output~1,2,3|")
    with pytest.raises(ConfigError, match=r"^channels is 2; accepted: at least 3, one for each"):
        network(S2, arch, NetworkSpec(channels=2, depth=1))
