"""Encoders of agents: sizes, SAME padding, fused and plain execution, single cells by hand."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from morphogen import cost, spaces
from morphogen.core import Architecture
from morphogen.spaces.darts_cells import CELLS
from morphogen.spaces.impala_cnn import ImpalaCNN
from morphogen.spaces.rl_darts import CLASSIC, MICRO, RLDARTS
from morphogen.supernets import Gates, NetworkSpec, build, network
from morphogen.supernets.edges import plan
from morphogen.supernets.encoders import SameConv2d, average_pool, max_pool
from morphogen.supernets.rl_darts import MixedCell, operation

SPEC = NetworkSpec(channels=4, depth=2, classes=3)


def tiny(**options):
    return RLDARTS("tiny", **{"nodes": 3, "stages": (1, 2), "normals": 1, "side": 10, **options})


def soft(space, seed=0, dtype=torch.float64):
    draws = torch.Generator().manual_seed(seed)
    weights = {
        group: torch.randn(mask.shape, generator=draws, dtype=dtype).softmax(-1).requires_grad_()
        for group, mask in space.masks.items()
    }
    return Gates.dense(space, weights)


def test_encoders_have_as_many_parameters_as_the_published_ones():
    """Measured at 64x64x3, C = 16, I = 4, outputs not counted; 100 numbers are alphas."""
    spec = NetworkSpec(channels=16, depth=3, classes=15)
    with torch.device("meta"):
        nets = {name: build(spaces.make(name), spec) for name in ("rl-darts", "rl-darts-classic")}
        impala = spaces.make("impala-cnn")
        nets["impala"] = network(impala, impala.parse("blocks=2"), spec)
        wide = ImpalaCNN("wide", stages=[1] * 5)
        five = NetworkSpec(channels=64, depth=5, classes=15)
        nets["64 x 5"] = network(wide, wide.parse("blocks=2"), five)
    counts = {
        name: sum(p.numel() for key, p in net.named_parameters() if ".outputs." not in key)
        for name, net in nets.items()
    }
    assert counts["rl-darts"] + 100 == 1_178_004
    assert counts["rl-darts-classic"] + 120 == 5_263_304
    assert counts["impala"] == 622_144
    assert counts["64 x 5"] == 953_856


@pytest.mark.parametrize("side", [32, 17, 5, 10, 1, 2])
def test_every_operation_of_stride_two_gives_half_the_pixels_rounded_up(side):
    x = torch.randn(2, 4, side, side + 1)
    for name in dict.fromkeys((*MICRO, *CLASSIC, "noise")):
        if name != "none":
            shape = ((side + 1) // 2, (side + 2) // 2)
            assert operation(name, 4, 2)(x).shape == (2, 4, *shape), name
            assert operation(name, 4, 1)(x).shape == x.shape, name
    flat = torch.full((1, 2, side, side), 0.7)
    assert torch.allclose(average_pool(flat), torch.tensor(0.7))  # padding is not counted


def same_padded(x, size, stride, dilation, value):
    """TensorFlow's rule, from its documentation: of an odd padding the larger half comes last."""
    pads = []
    for n in reversed(x.shape[2:]):
        total = max((-(-n // stride) - 1) * stride + dilation * (size - 1) + 1 - n, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


@pytest.mark.parametrize(("high", "wide"), [(8, 8), (9, 5), (10, 7), (32, 64)])
def test_padding_is_tensorflows(high, wide):
    torch.manual_seed(0)
    x = torch.randn(2, 3, high, wide)
    for size, dilation in ((3, 1), (3, 2), (5, 1), (5, 2)):
        for stride in (1, 2):
            conv = SameConv2d(3, 4, size, stride=stride, dilation=dilation)
            padded = same_padded(x, size, stride, dilation, 0.0)
            expected = F.conv2d(padded, conv.weight, conv.bias, stride, 0, dilation)
            assert torch.allclose(conv(x), expected, atol=1e-6)
    windows = same_padded(x, 3, 2, 1, -torch.inf)
    assert torch.equal(max_pool(x), F.max_pool2d(windows, 3, 2))
    counts = F.avg_pool2d(same_padded(torch.ones_like(x), 3, 2, 1, 0.0), 3, 2)
    means = F.avg_pool2d(same_padded(x, 3, 2, 1, 0.0), 3, 2) / counts
    assert torch.allclose(average_pool(x), means, atol=1e-6)
    relu = operation("relu", 3, 2)
    assert torch.allclose(relu(x), F.relu(means), atol=1e-6)


@pytest.mark.parametrize("cell_norm", ["none", "batch_stats"])
@pytest.mark.parametrize("side", [10, 8])
def test_fused_cells_give_what_single_operations_give(cell_norm, side):
    """Outputs and gradients, of gates and weights; both kinds of cell, odd and even sizes."""
    space = tiny(cell_norm=cell_norm)
    torch.manual_seed(0)
    net = build(space, SPEC).double()
    x = torch.randn(3, 3, side, side + 1, dtype=torch.float64)
    found = {}
    for execution in ("plain", "fused"):
        net.execution = execution
        gates = soft(space)
        out = net(x, gates)
        wanted = [*gates.weights.values(), *net.parameters()]
        found[execution] = [out.detach(), *torch.autograd.grad(out.square().sum(), wanted)]
    for plain, fused in zip(found["plain"], found["fused"], strict=True):
        assert (plain - fused).abs().max() < 1e-12 * max(1, float(plain.abs().max()))
    none = gates.weights["normal"].detach()[:, -1]
    assert (none > 0).all()
    assert (found["fused"][1][:, -1] == 0).all()  # it is in the softmax, and is never computed


def test_fused_cells_run_what_is_live_of_any_set():
    """Of options switched off here and there, of a path, and of Classic cells."""
    rng = np.random.default_rng(0)
    for operations in ("micro", "classic"):
        space = tiny(operations=operations)
        torch.manual_seed(0)
        net = build(space, SPEC).double()
        x = torch.randn(2, 3, 9, 9, dtype=torch.float64)
        weights = soft(space).weights
        masks = [torch.from_numpy(rng.random(m.shape) < 0.6) for m in space.masks.values()]
        one = Gates.of(space, space.sample(rng))
        path = Gates({g: w.double() for g, w in one.weights.items()}, one.live)
        for gates in (Gates.dense(space, weights, masks), path):
            outputs = []
            for execution in ("plain", "fused"):
                net.execution = execution
                with torch.no_grad():
                    outputs.append(net(x, gates))
            assert torch.allclose(*outputs, rtol=0, atol=1e-13)


def test_half_zero_and_half_identity_is_half_of_the_input():
    space = RLDARTS("two", ("skip_connect", "none"), nodes=1, output="last")
    cell = MixedCell(space, "normal", 4, 4)
    x = torch.randn(2, 4, 6, 6)
    sends = plan(space.wiring, space.groups["normal"], ((0, 1),))
    for execution in ("plain", "fused"):
        out = cell(x, sends, torch.tensor([0.5, 0.5]), execution)
        assert torch.equal(out, 0.5 * x)


@pytest.mark.parametrize("output", ["concat", "sum", "average", "last"])
def test_a_decided_supernet_is_the_network_with_its_weights(output):
    space = tiny(output=output)
    rng = np.random.default_rng(3)
    torch.manual_seed(1)
    supernet = build(space, SPEC).double()
    x = torch.randn(2, 3, 10, 10, dtype=torch.float64)
    arch = space.sample(rng)
    net = network(space, arch, SPEC).double()
    net.frame.load_state_dict(supernet.frame.state_dict())
    for mixed, cell in zip(supernet.cells, net.cells, strict=True):
        cell.ends.load_state_dict(mixed.ends.state_dict())
        for module, (source, target) in zip(cell.operations, cell.wiring, strict=True):
            (name,) = arch[f"{mixed.kind}_{target}_{source}"]
            held = mixed.edges[f"{mixed.kind}_{target}_{source}"][name]
            module.load_state_dict(held.state_dict())
    rows = {g: torch.from_numpy(m).double() for g, m in space.one_hot(arch).items()}
    # 50 for what is kept; of an edge that is not, `none` is what is kept.
    for matrix in rows.values():
        matrix[matrix.sum(1) == 0, -1] = 1.0
    gates = Gates.dense(space, {g: (50 * m).softmax(-1) for g, m in rows.items()})
    with torch.no_grad():
        assert torch.allclose(supernet(x, gates), net(x), atol=1e-5)
        assert net(x).std() > 1e-4


def test_gradients_by_alpha_are_those_of_finite_differences_and_its_hessian_is_symmetric():
    space = tiny(nodes=4, operations=("conv_3x3", "tanh", "skip_connect", "none"), stages=(1,))
    torch.manual_seed(0)
    net = build(space, NetworkSpec(channels=2, depth=1, classes=2)).double()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    assert [len(space.node("normal", target)) for target in space.nodes] == [1, 2, 3, 4]
    fixed = torch.randn(10, 4, dtype=torch.float64).softmax(-1)

    def loss(alpha):
        weights = {"normal": alpha.softmax(-1), "reduce": fixed}
        return (10 * net(x, Gates.dense(space, weights))).sum()

    alpha = torch.randn(10, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, alpha, eps=1e-6, atol=1e-6)
    hessian = torch.autograd.functional.hessian(loss, alpha).reshape(40, 40)
    assert torch.allclose(hessian, hessian.T, atol=1e-9)
    assert hessian.abs().max() > 1e-3


def test_batch_statistics_depend_on_the_batch_and_nothing_else_does():
    x = torch.randn(6, 3, 10, 10)
    for cell_norm, same in (("none", True), ("batch_stats", False)):
        space = tiny(cell_norm=cell_norm)
        torch.manual_seed(0)
        net = network(space, space.sample(np.random.default_rng(0)), SPEC).eval()
        with torch.no_grad():
            assert torch.allclose(net(x)[:2], net(x[:2]), atol=1e-6) is same
        assert not list(net.buffers())


def test_observations_of_other_sizes_are_pooled_to_the_heads():
    space = spaces.make("rl-darts-minatar")
    net = network(space, space.sample(np.random.default_rng(0)), SPEC)
    for size in ((10, 10), (9, 12), (28, 28), (5, 5)):
        assert net(torch.randn(2, 3, *size)).shape == (2, 3)
    assert net.frame.head.grid == 3  # 10, 5, 3


def test_layers_begin_as_sonnets_do():
    torch.manual_seed(0)
    space = spaces.make("impala-cnn")
    net = network(space, space.parse("blocks=2"), NetworkSpec(channels=16, depth=3, classes=16))
    conv = net.stages[2].blocks[1].first
    weight = conv.weight.detach()
    deviation = 1 / np.sqrt(9 * 32)
    assert weight.abs().max() <= 2 * deviation
    # A normal cut off at two deviations has 0.880 of its deviation.
    assert float(weight.std()) == pytest.approx(0.880 * deviation, rel=0.02)
    assert net.head.outputs.weight.detach().abs().max() <= 0.03
    biases = [p for name, p in net.named_parameters() if name.endswith("bias")]
    assert all(bool((bias == 0).all()) for bias in biases)


def test_a_depth_of_the_impala_supernet_is_the_network_of_that_depth():
    space = ImpalaCNN("small", stages=(1, 2), side=10)
    torch.manual_seed(0)
    supernet, x = build(space, SPEC), torch.randn(2, 3, 10, 10)
    outputs = []
    for blocks in ("1", "2", "3"):
        arch = Architecture({"blocks": blocks})
        net = network(space, arch, SPEC)
        held = supernet.state_dict()
        net.load_state_dict({name: held[name] for name in net.state_dict()})
        with torch.no_grad():
            outputs.append(net(x))
            assert torch.allclose(supernet(x, Gates.of(space, arch)), outputs[-1], atol=1e-6)
    assert not torch.allclose(outputs[0], outputs[2], atol=1e-4)


def test_what_an_option_costs_is_counted_and_nothing_costs_nothing():
    space = tiny()
    costs = cost.of_options(space, SPEC, (3, 10, 10))
    conv = 9 * 4 * 4 + 4 + 9 * 8 * 8 + 8  # in the cell of each stage
    assert set(CELLS) == set(costs.params)
    for group, params in costs.params.items():
        assert params[:, 0].tolist() == [conv] * 6, group
        assert (params[:, 1:] == 0).all()
    stage = 5 * 5 * 4 * 4 * 9 + 3 * 3 * 8 * 8 * 9
    assert costs.macs["normal"][0, 0] == stage
    assert (costs.macs["normal"][:, -1] == 0).all()
