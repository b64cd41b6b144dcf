"""The networks of AnyNet: stem, three stages of residual blocks, average, linear classifier.

Radosavovic et al., CVPR 2020, arXiv 2003.13678, section 3.2. Batch norm after every convolution.
The first block of a stage changes size and width; its shortcut averages pairs and is a convolution
of 1x1, where it cannot be the input itself. Where stages halve by a maximum, a convolution before
it does that instead.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.core import Architecture
from morphogen.spaces.anynet import STAGES, AnyNet, width
from morphogen.supernets import fused
from morphogen.supernets.base import NetworkSpec, no_supernet, register
from morphogen.supernets.dimensions import IMAGES

INSIDE = {"basic": 1.0, "bottleneck": 0.5, "inverted": 3.0}
"""Channels inside a block, in its width."""


def _normed(c_in: int, c_out: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution and its batch norm."""
    conv = IMAGES.conv(c_in, c_out, size, stride=stride, groups=groups)
    return nn.Sequential(conv, IMAGES.norm(c_out))


def _pooled(c_in: int, c_out: int) -> nn.Sequential:
    """A convolution, the maxima of 2x2 of its outputs, and their batch norm."""
    # Odd sizes are rounded up, as by a convolution of stride 2.
    halved = nn.MaxPool2d(2, ceil_mode=True)
    return nn.Sequential(IMAGES.conv(c_in, c_out, 3), halved, IMAGES.norm(c_out))


class Squeeze(nn.Module):
    """Every channel times a factor that the means of all channels decide.

    Args:
        channels: of input and output.
        inner: between them.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Linear(channels, inner), nn.Linear(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] -> the same shape."""
        factors = self.expand(F.relu(self.reduce(x.mean((2, 3))))).sigmoid()
        out: Tensor = x * factors[:, :, None, None]
        return out


class Block(nn.Module):
    """A residual block.

    Args:
        kind: one of `spaces.anynet.BLOCKS`.
        c_in: input channels.
        c_out: output channels.
        stride: 1 or 2.
        squeeze: whether squeeze and excitation, of a fourth of the output's width, is in it.
    """

    def __init__(self, kind: str, c_in: int, c_out: int, stride: int, *, squeeze: bool) -> None:
        super().__init__()
        inside = max(2, round(c_out * INSIDE[kind]))
        if kind == "basic":
            before = [_normed(c_in, c_out, 3, stride)]
            after = _normed(c_out, c_out, 3)
        else:
            groups = inside if kind == "inverted" else 1
            before = [_normed(c_in, inside, 1), _normed(inside, inside, 3, stride, groups)]
            after = _normed(inside, c_out, 1)
        self.before = nn.ModuleList(before)
        self.squeeze = Squeeze(inside, max(1, c_out // 4)) if squeeze else nn.Identity()
        self.after = after
        self.stride = stride
        self.shortcut = nn.Identity() if stride == 1 and c_in == c_out else _normed(c_in, c_out, 1)
        # An inverted block's output is narrow: a ReLU would lose what it carries (MobileNetV2).
        self.linear = kind == "inverted"

    def forward(self, x: Tensor) -> Tensor:
        """[n, c_in, h, w] -> [n, c_out, ceil(h / stride), ceil(w / stride)]."""
        y = x
        for part in self.before:
            y = F.relu(part(y))
        y = self.after(self.squeeze(y))
        y = y + self.shortcut(IMAGES.halved(x) if self.stride == 2 else x)
        return y if self.linear else F.relu(y)


def _stem(kind: str, c_in: int, c_out: int) -> nn.Module:
    if kind == "patches_2x2":
        # Odd sizes are rounded up, as by a convolution of stride 2.
        return nn.Sequential(
            _EvenSides(), IMAGES.conv(c_in, c_out, 2, stride=2, padding=0), IMAGES.norm(c_out)
        )
    if kind == "conv_3x3_pool":
        half = c_out // 2
        return nn.Sequential(_normed(c_in, half, 3), nn.ReLU(), _pooled(half, c_out))
    return _normed(c_in, c_out, 3, 2 if kind == "conv_3x3_stride_2" else 1)


class _EvenSides(nn.Module):
    """A row and a column of zeros more where their number is odd."""

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))


class AnyNetNetwork(nn.Module):
    """The network of one architecture.

    Args:
        space: the space (or a part of it) that the architecture is from.
        arch: the architecture.
        spec: `channels` is C, those of the stem as of the first stage; `depth` is not read.
    """

    def __init__(self, space: AnyNet, arch: Architecture, spec: NetworkSpec) -> None:
        super().__init__()
        arch = space.check(arch)
        c = width(arch, 1, spec.channels)
        self.stem = _stem(arch.one("stem"), spec.in_channels, c)
        blocks = list[nn.Module]()
        squeeze, pools = arch.one("squeeze") != "none", arch.one("downsample") == "pool"
        for stage in STAGES:
            wide = width(arch, stage, spec.channels)
            for place in range(int(arch.one(f"depth_{stage}"))):
                halves = place == 0 and stage > 1
                if halves and pools:
                    blocks.append(nn.Sequential(_pooled(c, wide), nn.ReLU()))
                else:
                    stride = 2 if halves else 1
                    blocks.append(Block(arch.one("block"), c, wide, stride, squeeze=squeeze))
                c = wide
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(c, spec.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores [n, classes] of images [n, in_channels, h, w]."""
        x = self.blocks(F.relu(self.stem(fused.quick_layout(x))))
        scores: Tensor = self.classifier(x.mean((2, 3)))
        return scores


register(AnyNet, supernet=no_supernet, network=AnyNetNetwork)
