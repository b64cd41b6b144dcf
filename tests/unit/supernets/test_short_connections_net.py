"""Networks of the grid: sizes of any parity, paths by hand, and what is dead is not there."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from morphogen import cost, spaces
from morphogen.spaces.short_connections import MOBILE, ShortConnections, operation_choice
from morphogen.supernets import Gates, NetworkSpec, build, frozen_statistics, network, take_weights

SPACE = spaces.make("short-connections")
SPEC = NetworkSpec(channels=4, depth=4, classes=3)


@pytest.fixture(scope="module")
def supernet():
    torch.manual_seed(0)
    return build(SPACE, SPEC).eval()


def uniform():
    weights = {g: torch.from_numpy(m / m.sum(1, keepdims=True)) for g, m in SPACE.masks.items()}
    return Gates.dense(SPACE, {g: w.float() for g, w in weights.items()})


@pytest.mark.parametrize("size", [(88, 120), (45, 61), (32, 33), (8, 8)])
def test_scores_have_the_size_of_the_image(supernet, size):
    with torch.no_grad():
        assert supernet(torch.randn(1, 3, *size), uniform()).shape == (1, 3, *size)


def test_its_weights_are_as_many_as_were_counted():
    """95.7 thousand of the grid of 4 layers with C = 8, 3 channels and 11 classes; by hand."""
    net = build(SPACE, NetworkSpec(channels=8, depth=4, classes=11))
    channels = [8, 16, 8, 16, 32, 8, 16, 32, 64, 8, 16, 32, 64]
    operations = sum(9 * c + 25 * c + 9 * c + 4 * c * c for c in channels)
    level = {8: 8, 16: 16, 32: 32, 64: 64}
    before = [[8], [8], [8, 16], [8, 16], [16], [8, 16], [8, 16, 32], [16, 32], [32]]
    before += [[8, 16], [8, 16, 32], [16, 32, 64], [32, 64]]
    paths = sum(level[a] * c for c, own in zip(channels, before, strict=True) for a in own)
    stem = 9 * (3 * 8 + 8 * 8 + 8 * 8) + 3 * 16
    head = 32 * (8 + 16 + 32 + 64) + 64 + 9 * 32 * 32 + 64 + 32 * 11 + 11
    counted = sum(p.numel() for p in net.parameters())
    assert counted == operations + paths + stem + head == 95_667


def test_a_network_is_the_path_of_the_supernet_without_its_dead_nodes(supernet):
    rng = np.random.default_rng(1)
    x = torch.randn(2, 3, 24, 40)
    for _ in range(12):
        arch = SPACE.sample(rng)
        alone = network(SPACE, arch, SPEC).train()
        held = supernet.state_dict()
        own = alone.state_dict()
        taken = {k: held[k] for k in own if k.startswith("grid.")}
        alone.load_state_dict(own | taken)
        with torch.no_grad(), frozen_statistics(supernet):
            path = supernet.train()(x, Gates.of(SPACE, arch))
            assert path.std() > 0.1
            assert torch.allclose(alone(x), path, atol=1e-4)
        assert set(alone.grid.cells) == {operation_choice(n) for n in SPACE.live(arch)}
        used = [p for p in alone.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(alone(x).square().sum(), used, allow_unused=True)
        assert all(g is not None for g in gradients)  # nothing in it is dead


def test_one_node_by_hand():
    """Of one layer: the level 8 alone, whose path halves the stem's output."""
    space = ShortConnections("one", layers=1)
    arch = space.parse("l1s4=skip_connect;l1s8=conv_1x1+skip_connect;head=8")
    net = network(space, arch, NetworkSpec(channels=4, depth=1, classes=3)).eval()
    x = torch.randn(1, 3, 18, 22)
    grid = net.grid
    with torch.no_grad():
        for weight in (p for p in net.parameters() if p.ndim == 4):
            weight.mul_(4)
        a = grid.stem(x)
        assert a.shape == (1, 4, 5, 6)
        path = grid.cells["l1s8"].paths["4"]
        halved = F.conv2d(F.relu(a), path.conv.weight)[:, :, ::2, ::2] / np.sqrt(1 + 1e-5)
        op = grid.cells["l1s8"].operations["conv_1x1"]
        node = halved + F.conv2d(F.relu(halved), op.conv.weight) / np.sqrt(1 + 1e-5)
        top = F.conv2d(node, grid.levels["8"].weight)
        top = F.interpolate(top, size=(5, 6), mode="bilinear", align_corners=False)
        expected = F.interpolate(grid.last(top), size=(18, 22), mode="bilinear")
        assert expected.std() > 0.1
        assert torch.allclose(net(x), expected, atol=1e-5)


def test_factors_weigh_what_is_kept():
    arch = SPACE.parse(spaces.info("short-connections").reference)
    net = network(SPACE, arch, SPEC).train()
    assert {name for name, _ in net.named_buffers() if name.startswith("shares.")} == {
        f"shares.{c.name}" for c in SPACE.choices
    }
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad(), frozen_statistics(net):
        whole = net(x)
        net.shares.head.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        fine = net(x)
        alone = network(SPACE, arch.replace(head=("4",)), SPEC).train()
        held = net.state_dict()
        own = {name: held[name] for name in alone.state_dict()}
        alone.load_state_dict(own | {"shares.head": held["shares.head"][:1]})
        assert torch.allclose(alone(x), fine, atol=1e-5)
        assert (whole - fine).abs().max() > 0.1


def test_another_supernet_begins_with_its_weights_and_scores_of_its_own(supernet):
    other = build(SPACE, replace(SPEC, classes=5))
    before = {name: value.clone() for name, value in other.state_dict().items()}
    left = take_weights(other, supernet.state_dict(), classes=3)
    assert left == ("grid.last.3.weight", "grid.last.3.bias")
    for name, value in other.state_dict().items():
        expected = before if name in left else supernet.state_dict()
        assert torch.equal(value, expected[name])


def test_mobile_blocks_are_searched_likewise_and_costs_are_counted():
    space = ShortConnections("mobile", layers=2, operations=MOBILE)
    spec = NetworkSpec(channels=4, depth=2, classes=3)
    arch = space.sample(np.random.default_rng(0))
    net = network(space, arch, spec)
    assert net(torch.randn(2, 3, 16, 16)).shape == (2, 3, 16, 16)
    counted = cost.of(space, arch, spec, torch.zeros(1, 3, 16, 16))
    assert counted.params == sum(p.numel() for p in net.parameters())
    kernels = {getattr(module, "kernel_size", None) for module in build(space, spec).modules()}
    assert {(3, 3), (5, 5), (7, 7)} <= kernels
