"""Supernet and stand-alone networks of the mobile space of ProxylessNAS.

Cai, Zhu and Han, ICLR 2019, arXiv 1812.00332; blocks, sizes and initial weights as in the authors'
code. Stem (3x3 convolution, batch norm, ReLU6), an MBConv block without expansion, layers, 1x1
convolution to the head's channels, batch norm, ReLU6, global average pool, dropout, linear. No
convolution has a bias; batch norms (eps 1e-3) have scale and shift, in the supernet, too.

An option's output contains its residual, x + f(x), so that weights with sum 1 keep the scale; an
identity gives x, never zeros.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.core import Architecture
from morphogen.spaces.layered import Layer
from morphogen.spaces.proxylessnas import BLOCKS, IDENTITY, ProxylessNAS
from morphogen.supernets import fused
from morphogen.supernets.base import Layered, NetworkSpec, register
from morphogen.supernets.convolution import Conv2d

EPS = 1e-3
"""Of all batch norms, as in TensorFlow."""


class Convolution(Conv2d):
    """Without bias; weights from N(0, sqrt(2 / (k k c_out))).

    Args:
        c_in: input channels.
        c_out: output channels.
        kernel: side k of the kernel, odd.
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
        if not self.weight.is_meta:  # where there is no content, and drawing takes milliseconds
            deviation = (2 / (self.kernel_size[0] ** 2 * self.out_channels)) ** 0.5
            nn.init.normal_(self.weight, 0.0, deviation)


class ConvNorm(nn.Sequential):
    """A convolution and its batch norm, whose statistics are those of all processes."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1, *, depthwise: bool = False
    ) -> None:
        super().__init__(
            Convolution(c_in, c_out, kernel, stride, depthwise=depthwise),
            fused.BatchNorm(c_out, eps=EPS),
        )


class MBConv(nn.Module):
    """Expansion 1x1 (none at 1), depthwise k x k, projection 1x1; ReLU6 after the first two.

    Args:
        layer: sizes; the input is added where they keep its shape.
        kernel: side k of the depthwise kernel, odd.
        expansion: channels between, as a multiple of the input's.
    """

    def __init__(self, layer: Layer, kernel: int, expansion: int) -> None:
        super().__init__()
        c = layer.c_in * expansion
        self.expand = ConvNorm(layer.c_in, c) if expansion > 1 else None
        self.depthwise = ConvNorm(c, c, kernel, layer.stride, depthwise=True)
        self.project = ConvNorm(c, layer.c_out)
        self.residual = layer.keeps_shape

    def forward(self, x: Tensor) -> Tensor:
        """[n, c_in, h, w] -> [n, c_out, h / stride, w / stride]."""
        between = x if self.expand is None else F.relu6(self.expand(x))
        y: Tensor = self.project(F.relu6(self.depthwise(between)))
        return x + y if self.residual else y


def operation(name: str, layer: Layer, dropout: float = 0.0) -> nn.Module:
    """The module of one option of a layer; `dropout` is that of an identity."""
    if name == IDENTITY:
        return nn.Dropout(dropout) if dropout else nn.Identity()
    return MBConv(layer, *BLOCKS[name])


class _Ends(nn.Module):
    """What comes before and after the layers."""

    def __init__(self, space: ProxylessNAS, spec: NetworkSpec) -> None:
        super().__init__()
        c, layers = spec.channels, space.layers(spec.channels)
        head = space.scaled(space.head, c)
        self.stem = ConvNorm(spec.in_channels, c, 3, space.stem_stride)
        self.first = MBConv(Layer(c, layers[0].c_in, 1), kernel=3, expansion=1)
        self.head = ConvNorm(layers[-1].c_out, head)
        self.dropout = nn.Dropout(space.dropout)
        self.classifier = nn.Linear(head, spec.classes)

    def begin(self, x: Tensor) -> Tensor:
        """The first layer's input."""
        out: Tensor = self.first(F.relu6(self.stem(fused.quick_layout(x))))
        return out

    def scores(self, x: Tensor) -> Tensor:
        """Class scores of the last layer's output."""
        out: Tensor = self.classifier(self.dropout(F.relu6(self.head(x)).mean((2, 3))))
        return out


class ProxylessNASNetwork(nn.Module):
    """The network of one architecture.

    Args:
        space: the space (or a part of it) that the architecture is from, with the sizes.
        arch: the architecture.
        spec: `channels` are those of the stem, all widths of the space in proportion; `depth` is
            not read.

    Raises:
        SpaceError: the space has no networks of so few channels.
    """

    def __init__(self, space: ProxylessNAS, arch: Architecture, spec: NetworkSpec) -> None:
        super().__init__()
        arch = space.check(arch)
        self.ends = _Ends(space, spec)
        self.layers = nn.Sequential(
            *(
                operation(arch.one(choice.name), layer)
                for choice, layer in zip(space.choices, space.layers(spec.channels), strict=True)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Class scores [n, classes] of images [n, in_channels, h, w]."""
        return self.ends.scores(self.layers(self.ends.begin(x)))


class ProxylessNASSupernet(Layered):
    """All networks of the space in one; only live options of a layer are run.

    Args:
        space: the space, or a part of it.
        spec: as for the network; `execution` is not read, there is one way to run it.

    Raises:
        SpaceError: the space has no networks of so few channels.
    """

    space: ProxylessNAS

    def __init__(self, space: ProxylessNAS, spec: NetworkSpec) -> None:
        super().__init__()
        self.space = space
        self.ends = _Ends(space, spec)
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {name: operation(name, layer, space.identity_dropout) for name in choice.options}
            )
            for choice, layer in zip(space.choices, space.layers(spec.channels), strict=True)
        )

    def begin(self, x: Tensor) -> Tensor:
        """The first layer's input."""
        return self.ends.begin(x)

    def scores(self, x: Tensor) -> Tensor:
        """Class scores of the last layer's output."""
        return self.ends.scores(x)


register(ProxylessNAS, supernet=ProxylessNASSupernet, network=ProxylessNASNetwork)
