"""Supernet and stand-alone networks of the single-path space of SPOS.

Guo et al., ECCV 2020, arXiv 1904.00420; blocks, sizes and initial weights as in the authors' code.
Stem (3x3 convolution, batch norm, ReLU), layers, 1x1 convolution to the head's channels, batch
norm, ReLU, global average pool, dropout, a linear classifier without bias. No convolution has a
bias. Batch norms are not affine in the supernet and affine in a stand-alone network; both track
running statistics.

A layer of stride 1 passes every second channel (0, 2, 4, ...) on and sends the others through its
operation; one of stride 2 sends all through its operation and, halved, through a projection. Both
halves are concatenated: the even and odd channels of the next layer are the shuffle.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from morphogen.core import Architecture
from morphogen.spaces.layered import Layer
from morphogen.spaces.shufflenet import ShuffleNet
from morphogen.supernets import fused
from morphogen.supernets.base import Layered, NetworkSpec, register
from morphogen.supernets.convolution import Conv2d

Norm = Callable[[int], nn.Module]
"""A batch norm of so many channels."""

_KERNELS = {"shuffle_3x3": 3, "shuffle_5x5": 5, "shuffle_7x7": 7, "xception_3x3": 3}

# -- layers with their initial weights -------------------------------------------------------------


def _draw(weight: Tensor, deviation: float) -> None:
    """From N(0, deviation); on meta, where torch would take milliseconds, there is no content."""
    if not weight.is_meta:
        nn.init.normal_(weight, 0.0, deviation)


class Convolution(Conv2d):
    """Without bias; weights from N(0, 1 / channels that each output sees).

    Args:
        c_in: input channels.
        c_out: output channels.
        kernel: side of the kernel, odd.
        stride: 1 or 2; the image keeps its size, or is halved.
        depthwise: each channel by itself.
    """

    def __init__(
        self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1, *, depthwise: bool = False
    ) -> None:
        groups = c_in if depthwise else 1
        super().__init__(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        _draw(self.weight, 1 / self.weight.shape[1])


class FirstConvolution(Convolution):
    """The stem's: weights from N(0, 0.01)."""

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        _draw(self.weight, 0.01)


class Classifier(nn.Linear):
    """Without bias; weights from N(0, 0.01)."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(features, classes, bias=False)

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        _draw(self.weight, 0.01)


class AffineNorm(nn.BatchNorm2d):
    """A batch norm whose scale begins at 1 and whose shift begins at 1e-4."""

    def reset_parameters(self) -> None:
        """Statistics, scale and shift as at the beginning."""
        super().reset_parameters()
        nn.init.constant_(self.bias, 1e-4)


def fixed_norm(channels: int) -> nn.Module:
    """The supernet's batch norm: no scale, no shift; statistics over all processes."""
    return fused.BatchNorm(channels, affine=False)


# -- a layer ---------------------------------------------------------------------------------------


class Block(nn.Module):
    """One option of a layer.

    Args:
        operation: which of the four.
        layer: sizes of the layer.
        norm: makes batch norms.
    """

    def __init__(self, operation: str, layer: Layer, norm: Norm) -> None:
        super().__init__()
        stride, kernel = layer.stride, _KERNELS[operation]
        c = layer.c_in if stride == 2 else layer.c_in // 2
        build = _xception if operation.startswith("xception") else _shuffle
        self.main = build(c, layer.c_out // 2, layer.c_out - c, kernel, stride, norm)
        self.projection = (
            nn.Sequential(*_depthwise(c, kernel, stride, norm), *_pointwise(c, c, norm))
            if stride == 2
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """[n, c_in, h, w] -> [n, c_out, h / stride, w / stride]."""
        if self.projection is None:
            passed, x = x[:, 0::2], x[:, 1::2]
        else:
            passed = self.projection(x)
        return torch.cat([passed, self.main(x)], 1)


def _shuffle(c_in: int, mid: int, c_out: int, kernel: int, stride: int, norm: Norm) -> nn.Module:
    return nn.Sequential(
        *_pointwise(c_in, mid, norm),
        *_depthwise(mid, kernel, stride, norm),
        *_pointwise(mid, c_out, norm),
    )


def _xception(c_in: int, mid: int, c_out: int, kernel: int, stride: int, norm: Norm) -> nn.Module:
    return nn.Sequential(
        *_depthwise(c_in, kernel, stride, norm),
        *_pointwise(c_in, mid, norm),
        *_depthwise(mid, kernel, 1, norm),
        *_pointwise(mid, mid, norm),
        *_depthwise(mid, kernel, 1, norm),
        *_pointwise(mid, c_out, norm),
    )


def _pointwise(c_in: int, c_out: int, norm: Norm) -> tuple[nn.Module, ...]:
    return Convolution(c_in, c_out), norm(c_out), nn.ReLU(inplace=True)


def _depthwise(channels: int, kernel: int, stride: int, norm: Norm) -> tuple[nn.Module, ...]:
    """No ReLU after it."""
    return Convolution(channels, channels, kernel, stride, depthwise=True), norm(channels)


# -- the networks ----------------------------------------------------------------------------------


class _Ends(nn.Module):
    """What comes before and after the layers."""

    def __init__(self, space: ShuffleNet, spec: NetworkSpec, norm: Norm) -> None:
        super().__init__()
        c = spec.channels
        last, head = space.layers(c)[-1].c_out, space.scaled(space.head, c)
        relu = nn.ReLU6 if space.relu6 else nn.ReLU
        self.stem = nn.Sequential(
            FirstConvolution(spec.in_channels, c, 3, space.stem_stride), norm(c), relu(inplace=True)
        )
        self.head = nn.Sequential(Convolution(last, head), norm(head), relu(inplace=True))
        self.dropout = nn.Dropout(space.dropout)
        self.classifier = Classifier(head, spec.classes)

    def begin(self, x: Tensor) -> Tensor:
        """The first layer's input."""
        out: Tensor = self.stem(fused.quick_layout(x))
        return out

    def scores(self, x: Tensor) -> Tensor:
        """Class scores of the last layer's output."""
        out: Tensor = self.classifier(self.dropout(self.head(x).mean((2, 3))))
        return out


class ShuffleNetNetwork(nn.Module):
    """The network of one architecture.

    Args:
        space: the space (or a part of it) that the architecture is from, with the sizes.
        arch: the architecture.
        spec: `channels` are those of the stem, even, with all widths of the space in proportion;
            `depth` is not read.

    Raises:
        SpaceError: the space has no networks of so few or so many channels.
    """

    def __init__(self, space: ShuffleNet, arch: Architecture, spec: NetworkSpec) -> None:
        super().__init__()
        arch = space.check(arch)
        self.ends = _Ends(space, spec, AffineNorm)
        self.layers = nn.Sequential(
            *(
                Block(arch.one(choice.name), layer, AffineNorm)
                for choice, layer in zip(space.choices, space.layers(spec.channels), strict=True)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Class scores [n, classes] of images [n, in_channels, h, w]."""
        return self.ends.scores(self.layers(self.ends.begin(x)))


class ShuffleNetSupernet(Layered):
    """All networks of the space in one.

    Args:
        space: the space, or a part of it.
        spec: as for the network; `execution` is not read, there is one way to run it.

    Raises:
        SpaceError: the space has no networks of so few or so many channels.
    """

    space: ShuffleNet

    def __init__(self, space: ShuffleNet, spec: NetworkSpec) -> None:
        super().__init__()
        self.space = space
        self.ends = _Ends(space, spec, fixed_norm)
        self.layers = nn.ModuleList(
            nn.ModuleDict({name: Block(name, layer, fixed_norm) for name in choice.options})
            for choice, layer in zip(space.choices, space.layers(spec.channels), strict=True)
        )

    def begin(self, x: Tensor) -> Tensor:
        """The first layer's input."""
        out: Tensor = self.ends.begin(x)
        return out

    def scores(self, x: Tensor) -> Tensor:
        """Class scores of the last layer's output."""
        return self.ends.scores(x)


register(ShuffleNet, supernet=ShuffleNetSupernet, network=ShuffleNetNetwork)
