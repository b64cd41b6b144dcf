"""The networks of AnyNet, by hand and by counting."""

import pytest
import torch
import torch.nn.functional as F

from morphogen import cost, spaces
from morphogen.core import CapabilityError
from morphogen.spaces.anynet import DOWNSAMPLES, RESNET, RESNET_9, STEMS
from morphogen.supernets import NetworkSpec, build, network

SPACE = spaces.make("anynet")
SPEC = NetworkSpec(channels=4, classes=5)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def arch(**changed):
    parts = dict(part.split("=") for part in RESNET.split(";"))
    return SPACE.parse(";".join(f"{name}={option}" for name, option in (parts | changed).items()))


def conv(c_in, c_out, size, groups=1):
    """Parameters of a convolution and its batch norm."""
    return c_in // groups * c_out * size**2 + 2 * c_out


def test_the_reference_is_resnet_8_by_its_parameters_and_multiply_adds():
    found = cost.of(SPACE, arch(), NetworkSpec(channels=16), (3, 32, 32))
    pairs = [(16, 16), (16, 32), (32, 64)]
    blocks = sum(conv(a, b, 3) + conv(b, b, 3) + (conv(a, b, 1) if a != b else 0) for a, b in pairs)
    assert found.params == conv(3, 16, 3) + blocks + 64 * 10 + 10 == 78042
    sides = [(16, 16, 32), (16, 32, 16), (32, 64, 8)]
    macs = sum(s * s * (9 * b * (a + b) + (a * b if a != b else 0)) for a, b, s in sides)
    assert found.macs == 32 * 32 * 27 * 16 + macs + 640


def test_resnet_9_by_its_parameters_and_multiply_adds():
    found = cost.of(SPACE, SPACE.parse(RESNET_9), NetworkSpec(channels=128), (3, 32, 32))
    plain = [(3, 64, 32), (64, 128, 32), (128, 256, 16), (256, 512, 8)]
    blocks = [(128, 128, 16)] * 2 + [(512, 512, 4)] * 2
    assert found.params == sum(conv(a, b, 3) for a, b, _ in plain + blocks) + 512 * 10 + 10
    assert found.macs == sum(9 * a * b * s * s for a, b, s in plain + blocks) + 5120


def test_resnet_9_by_hand():
    net = network(SPACE, SPACE.parse(RESNET_9), SPEC).train()
    x = torch.randn(3, 3, 9, 8)

    def normed(conv, norm, x, pools=False):
        y = F.conv2d(x, conv.weight, None, 1, 1)
        y = (
            F.max_pool2d(F.pad(y, (0, y.shape[3] % 2, 0, y.shape[2] % 2), value=-1e9), 2)
            if pools
            else y
        )
        return F.batch_norm(y, None, None, norm.weight, norm.bias, training=True)

    def residual(block, x):
        y = F.relu(normed(*block.before[0], x))
        return F.relu(x + normed(*block.after, y))

    first, _, second = net.stem
    y = F.relu(normed(*first, x))
    y = F.relu(normed(second[0], second[2], y, pools=True))
    one, two, three, four = net.blocks
    y = residual(one, y)
    for pooled in (two, three):
        y = F.relu(normed(pooled[0][0], pooled[0][2], y, pools=True))
    assert y.shape == (3, 16, 2, 1)
    wanted = F.linear(residual(four, y).mean((2, 3)), net.classifier.weight, net.classifier.bias)
    torch.testing.assert_close(net(x), wanted)


@pytest.mark.parametrize(
    ("block", "inside"),
    [
        (
            "bottleneck",
            lambda a, b: conv(a, b // 2, 1) + conv(b // 2, b // 2, 3) + conv(b // 2, b, 1),
        ),
        (
            "inverted",
            lambda a, b: conv(a, 3 * b, 1) + conv(3 * b, 3 * b, 3, 3 * b) + conv(3 * b, b, 1),
        ),
    ],
)
@pytest.mark.parametrize("squeeze", ["none", "1/4"])
def test_blocks_by_their_parameters(block, inside, squeeze):
    found = cost.of(SPACE, arch(block=block, squeeze=squeeze), NetworkSpec(channels=8), (3, 16, 16))
    pairs = [(8, 8), (8, 16), (16, 32)]
    blocks = sum(inside(a, b) + (conv(a, b, 1) if a != b else 0) for a, b in pairs)
    if squeeze != "none":
        ratio = 0.5 if block == "bottleneck" else 3
        wide = [(round(ratio * b), b // 4) for _, b in pairs]
        blocks += sum(2 * w * i + w + i for w, i in wide)
    assert found.params == conv(3, 8, 3) + blocks + 32 * 10 + 10


def test_a_block_by_hand():
    net = network(SPACE, arch(squeeze="1/4"), SPEC).train()
    block, x = net.blocks[1], torch.randn(3, 4, 7, 6)

    def normed(part, x):
        y = F.conv2d(x, part[0].weight, None, part[0].stride, part[0].padding)
        return F.batch_norm(y, None, None, part[1].weight, part[1].bias, training=True)

    y = F.relu(normed(block.before[0], x))
    s = block.squeeze
    inner = F.relu(F.linear(y.mean((2, 3)), s.reduce.weight, s.reduce.bias))
    y = y * torch.sigmoid(F.linear(inner, s.expand.weight, s.expand.bias))[:, :, None, None]
    small = F.avg_pool2d(x, 2, ceil_mode=True)
    wanted = F.relu(normed(block.after, y) + normed(block.shortcut, small))
    assert wanted.shape == (3, 8, 4, 3)
    torch.testing.assert_close(block(x), wanted)


@pytest.mark.parametrize("downsample", DOWNSAMPLES)
@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("side", [32, 17, 4, 1])
def test_every_size_of_image_has_scores(stem, downsample, side):
    net = network(SPACE, arch(stem=stem, downsample=downsample, block="inverted"), SPEC).eval()
    seen = []
    net.blocks[0].register_forward_hook(lambda _, x, y: seen.append(y.shape[2]))
    assert net(torch.randn(2, 3, side, side)).shape == (2, 5)
    assert seen == [side if stem == "conv_3x3" else (side + 1) // 2]


def test_stages_have_their_blocks():
    chosen = {"depth_1": "3", "depth_2": "2", "depth_3": "4", "width_2": "3/2"}
    net = network(SPACE, arch(**chosen), SPEC)
    sizes = [(b.after[0].out_channels, b.stride) for b in net.blocks]
    assert sizes == [(4, 1)] * 3 + [(12, 2), (12, 1)] + [(16, 2)] + [(16, 1)] * 3


def test_a_maximum_halves_instead_of_the_first_block():
    chosen = {"depth_1": "2", "depth_2": "1", "depth_3": "3", "width_2": "3/2"}
    net = network(SPACE, arch(downsample="pool", **chosen), SPEC)
    assert [type(b).__name__ for b in net.blocks] == [
        "Block", "Block", "Sequential", "Sequential", "Block", "Block"
    ]  # fmt: skip
    assert [b.stride for b in net.blocks if not isinstance(b, torch.nn.Sequential)] == [1] * 4


def test_there_is_no_supernet():
    with pytest.raises(
        CapabilityError, match="has no supernet, since its options share no weights"
    ):
        build(SPACE, SPEC)
