"""Networks of signals: against torch's own Conv1d by hand, the fused form against the plain one."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from morphogen.core import DataError
from morphogen.cost import of
from morphogen.spaces import make
from morphogen.supernets import Gates, NetworkSpec, build, network
from morphogen.supernets.convolution import depthwise, join_phases, split_phases
from morphogen.supernets.dimensions import ROWS, SIGNALS
from morphogen.supernets.fused import average_pool
from morphogen.supernets.operations import (
    BUILDERS,
    drop_path,
    operation,
)

CELL = "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"
SPEC = {
    "signal201": NetworkSpec(channels=4, depth=1, in_channels=2, classes=3),
    "signal-darts": NetworkSpec(channels=4, depth=3, in_channels=2, classes=3),
}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_a_network_of_signal201_by_hand():
    space = make("signal201")
    net = network(space, space.parse(CELL), SPEC["signal201"]).train()
    weights = dict(net.named_parameters())
    x = torch.randn(5, 2, 11)

    def conv(x, name, stride=1):
        w = weights[f"{name}.weight"]
        return F.conv1d(x, w, stride=stride, padding=w.shape[-1] // 2)

    def norm(x):  # affine norms start as scale 1 and shift 0
        return (x - x.mean((0, 2), keepdim=True)) / (
            x.var((0, 2), unbiased=False, keepdim=True) + 1e-5
        ).sqrt()

    def cell(x, at):
        def step(x, edge):
            return norm(conv(F.relu(x), f"cells.{at}.operations.edge_{edge}.conv"))

        one = step(x, "0_1")
        padded = F.pad(one, (1, 1))
        inside = F.pad(torch.ones_like(one), (1, 1))
        t = x.shape[-1]
        two = sum(padded[..., i : i + t] for i in range(3)) / sum(
            inside[..., i : i + t] for i in range(3)
        )
        return x + step(one, "1_3") + step(two, "2_3")

    def reduction(x, at):
        y = norm(conv(F.relu(x), f"cells.{at}.conv_a", 2))
        y = norm(conv(F.relu(y), f"cells.{at}.conv_b"))
        pairs = [x[..., i : i + 2].mean(-1) for i in range(0, x.shape[-1], 2)]
        return conv(torch.stack(pairs, -1), f"cells.{at}.shortcut") + y

    y = norm(conv(x, "stem.0"))
    for at, part in enumerate((cell, reduction, cell, reduction, cell)):
        y = part(y, at)
    wanted = F.relu(norm(y)).mean(2) @ net.classifier.weight.T + net.classifier.bias
    assert torch.allclose(net(x), wanted, atol=1e-5)
    assert all(isinstance(m, nn.Conv1d) for m in net.modules() if "Conv" in type(m).__name__[:4])


@pytest.mark.parametrize("name", [n for n in BUILDERS if n != "noise"])
@pytest.mark.parametrize("stride", [1, 2])
def test_operations_on_signals_are_those_on_images_of_one_row(name, stride):
    flat = operation(name, 4, stride, affine=True, dims=SIGNALS)
    rows = operation(name, 4, stride, affine=True, dims=ROWS)
    rows.load_state_dict({n: v.unsqueeze(2) if v.ndim == 3 else v for n, v in
                          flat.state_dict().items()})  # fmt: skip
    for length in (1, 8, 9):
        x = torch.randn(3, 4, length)
        found = flat(x)
        assert found.shape == (3, 4, -(-length // stride))
        assert torch.allclose(found, rows(x.unsqueeze(2)).squeeze(2), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("sep_conv_5x5", [("depthwise1", 5, 1), ("depthwise2", 5, 1)]),
        ("dil_conv_3x3", [("depthwise", 3, 2)]),
    ],
)
def test_convolutions_of_the_darts_cell_as_torchs_own(name, layers):
    module = operation(name, 4, 1, affine=True, dims=SIGNALS)
    x = torch.randn(3, 4, 9)
    wanted = x
    for layer, size, dilation in layers:
        points = layer.replace("depth", "point")
        wide = nn.Conv1d(4, 4, size, padding="same", dilation=dilation, groups=4, bias=False)
        wide.weight = getattr(module, layer).weight
        flat = nn.Conv1d(4, 4, 1, bias=False)
        flat.weight = getattr(module, points).weight
        wanted = nn.BatchNorm1d(4)(flat(wide(F.relu(wanted))))
    assert torch.allclose(module(x), wanted, atol=1e-6)


@pytest.mark.parametrize("name", SPEC)
@pytest.mark.parametrize("length", [9, 16])
def test_fused_equals_plain(name, length):
    space = make(name)
    quick = build(space, SPEC[name]).double()
    plain = copy.deepcopy(quick)
    plain.execution = "plain"
    x = torch.randn(4, 2, length, dtype=torch.float64)
    found = []
    for net in (quick, plain):
        torch.manual_seed(1)
        weights = {
            g: torch.randn(m.shape, dtype=torch.float64).softmax(1).requires_grad_()
            for g, m in space.masks.items()
        }
        scores = net(x, Gates.dense(space, weights))
        inputs = [*weights.values(), *net.parameters()]
        grads = torch.autograd.grad(scores.square().sum(), inputs, allow_unused=True)
        net.eval()
        found.append([scores, *grads, net(x, Gates.dense(space, weights)), *net.buffers()])
    for a, b in zip(*found, strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a.double(), b.double(), atol=1e-9)


def test_a_path_of_the_supernet_is_the_stand_alone_network():
    space = make("signal201")
    arch = space.parse(CELL)
    net, alone = build(space, SPEC["signal201"]), network(space, arch, SPEC["signal201"])
    mixed = net.state_dict()
    own = {
        name: mixed.get(name, mixed.get(_option(name, arch), value))
        for name, value in alone.state_dict().items()
    }
    alone.load_state_dict({n: v.squeeze(2) if v.ndim == 4 else v for n, v in own.items()})
    x = torch.randn(6, 2, 21)
    assert torch.allclose(net(x, Gates.of(space, arch)), alone(x), atol=1e-5)


def _option(name, arch):
    """`cells.0.operations.edge_0_1.conv.weight` as it is called in the supernet."""
    cells, at, _, edge, *rest = [*name.split("."), *[""] * 4][: max(4, name.count(".") + 1)]
    return ".".join([cells, at, "edges", edge, arch.one(edge), *rest]) if edge in arch else ""


def test_rows_have_two_phases_and_windows_of_one_row():
    x = torch.randn(3, 4, 1, 10).contiguous(memory_format=torch.channels_last)
    split = split_phases(x, rows=True)
    assert split.shape == (6, 4, 1, 5)
    assert torch.equal(join_phases(split, rows=True), x)
    weight = torch.randn(4, 1, 1, 5)
    wanted = F.conv1d(x.squeeze(2), weight.squeeze(2), padding=4, dilation=2, groups=4)
    assert torch.allclose(join_phases(depthwise(split, weight), rows=True)[:, :, 0], wanted,
                          atol=1e-6)  # fmt: skip
    for stride in (1, 2):
        pooled = F.avg_pool1d(x.squeeze(2), 3, stride, 1, count_include_pad=False)
        assert torch.allclose(average_pool(x, stride, rows=True).squeeze(2), pooled, atol=1e-6)


@pytest.mark.parametrize("name", SPEC)
def test_costs_are_those_of_every_layer_by_hand(name):
    space = make(name)
    arch = space.sample(np.random.default_rng(3))
    net = network(space, arch, SPEC[name]).eval()
    macs = 0

    def count(module, inputs, output):
        nonlocal macs
        if isinstance(module, nn.Conv1d):
            taps = module.in_channels // module.groups * module.kernel_size[0]
            macs += output.shape[1] * output.shape[2] * taps
        elif isinstance(module, nn.Linear):
            macs += module.in_features * module.out_features

    for module in net.modules():
        module.register_forward_hook(count)
    net(torch.randn(1, 2, 30))
    cost = of(space, arch, SPEC[name], (2, 30))
    assert cost.macs == macs > 0
    assert cost.params == sum(p.numel() for p in net.parameters())


def test_auxiliary_head_and_drop_path_take_signals():
    space = make("signal-darts")
    spec = NetworkSpec(channels=4, depth=3, in_channels=2, classes=3, auxiliary=True)
    net = network(space, space.sample(np.random.default_rng(0)), spec).train()
    net.drop_path = 0.5
    x = torch.randn(6, 2, 37)
    assert [scores.shape for scores in net(x)] == [(6, 3), (6, 3)]
    assert net.eval()(x).shape == (6, 3)
    dropped = drop_path(torch.ones(200, 3, 5), 0.5)
    assert set(dropped.flatten(1).unique(dim=1).flatten().tolist()) == {0.0, 2.0}
    with pytest.raises(DataError, match="features of size 5; accepted: 8 or more"):
        net.train()(x[..., :20])
