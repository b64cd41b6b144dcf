"""Supernet and stand-alone networks of NAS-Bench-Macro.

Su et al., CVPR 2021, arXiv 2103.11922. Stem (3x3 convolution to C channels, C = 32 in the
benchmark), eight layers in stages of 2C, 4C and 8C channels that halve the image at layers 1, 3
and 6, then a 1x1 convolution to 40C channels, global average pool and a linear classifier. A layer
is an inverted residual block of MobileNetV2 (expansion, depthwise convolution, projection; batch
norms; ReLU6; added to its input where shapes allow) or an identity, which in the halving layers is
a strided 1x1 convolution with batch norm. The sizes are those that give the parameters and
multiply-adds of the published table, for all of its architectures.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.core import Architecture
from morphogen.spaces.layered import layer_name
from morphogen.spaces.nasbench_macro import LAYERS, NASBenchMacro
from morphogen.supernets import fused
from morphogen.supernets.base import Layered, NetworkSpec, register
from morphogen.supernets.convolution import Conv2d

STRIDED = (1, 3, 6)
"""Layers, from 1, that halve the image and double the channels."""

HEAD = 40
"""Channels before the classifier, as a multiple of C."""

_BLOCKS = {"MB3_K3": (3, 3), "MB6_K5": (6, 5)}
"""Expansion and kernel size."""


class InvertedResidual(nn.Module):
    """Expansion 1x1, depthwise k x k, projection 1x1; batch norm after each, ReLU6 after two.

    Args:
        c_in: input channels.
        c_out: output channels.
        stride: 1 or 2; with 1 and equal channels the input is added.
        expansion: channels between, as a multiple of `c_in`.
        kernel: side of the depthwise kernel, odd.
    """

    def __init__(self, c_in: int, c_out: int, stride: int, expansion: int, kernel: int) -> None:
        super().__init__()
        c = c_in * expansion
        self.expand = nn.Sequential(Conv2d(c_in, c, 1, bias=False), nn.BatchNorm2d(c))
        self.depthwise = nn.Sequential(
            Conv2d(c, c, kernel, stride, kernel // 2, groups=c, bias=False), nn.BatchNorm2d(c)
        )
        self.project = nn.Sequential(Conv2d(c, c_out, 1, bias=False), nn.BatchNorm2d(c_out))
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        """[n, c_in, h, w] -> [n, c_out, h / stride, w / stride]."""
        y: Tensor = self.project(F.relu6(self.depthwise(F.relu6(self.expand(x)))))
        return x + y if self.residual else y


def operation(name: str, c_in: int, c_out: int, stride: int) -> nn.Module:
    """The module of one option of a layer."""
    if name in _BLOCKS:
        return InvertedResidual(c_in, c_out, stride, *_BLOCKS[name])
    if stride == 1:
        return nn.Identity()
    return nn.Sequential(Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))


def _widths(spec: NetworkSpec) -> list[tuple[int, int, int]]:
    """Input channels, output channels and stride of the layers."""
    width, out = spec.channels, []
    for layer in range(1, LAYERS + 1):
        wider = width * 2 if layer in STRIDED else width
        out.append((width, wider, 2 if layer in STRIDED else 1))
        width = wider
    return out


class _Ends(nn.Module):
    """What comes before and after the layers."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        c, last, head = spec.channels, _widths(spec)[-1][1], HEAD * spec.channels
        self.stem = nn.Sequential(
            Conv2d(spec.in_channels, c, 3, padding=1, bias=False), nn.BatchNorm2d(c), nn.ReLU6()
        )
        self.head = nn.Sequential(
            Conv2d(last, head, 1, bias=False), nn.BatchNorm2d(head), nn.ReLU6()
        )
        self.classifier = nn.Linear(head, spec.classes)

    def begin(self, x: Tensor) -> Tensor:
        """The first layer's input."""
        out: Tensor = self.stem(fused.quick_layout(x))
        return out

    def scores(self, x: Tensor) -> Tensor:
        """Class scores of the last layer's output."""
        out: Tensor = self.classifier(self.head(x).mean((2, 3)))
        return out


class NASBenchMacroNetwork(nn.Module):
    """The network of one architecture.

    Args:
        space: the space (or a part of it) that the architecture is from.
        arch: the architecture.
        spec: `channels` is C (the benchmark: 32); `depth` is not read.
    """

    def __init__(self, space: NASBenchMacro, arch: Architecture, spec: NetworkSpec) -> None:
        super().__init__()
        arch = space.check(arch)
        self.ends = _Ends(spec)
        self.layers = nn.Sequential(
            *(
                operation(arch.one(layer_name(i)), *sizes)
                for i, sizes in enumerate(_widths(spec), start=1)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Class scores [n, classes] of images [n, in_channels, h, w]."""
        return self.ends.scores(self.layers(self.ends.begin(x)))


class NASBenchMacroSupernet(Layered):
    """All networks of the space in one: three options in each layer.

    Args:
        space: the space, or a part of it.
        spec: as for the network; `execution` is not read, there is one way to run it.
    """

    space: NASBenchMacro

    def __init__(self, space: NASBenchMacro, spec: NetworkSpec) -> None:
        super().__init__()
        self.space = space
        self.ends = _Ends(spec)
        self.layers = nn.ModuleList(
            nn.ModuleDict({name: operation(name, *sizes) for name in choice.options})
            for choice, sizes in zip(space.choices, _widths(spec), strict=True)
        )

    def begin(self, x: Tensor) -> Tensor:
        """The first layer's input."""
        return self.ends.begin(x)

    def scores(self, x: Tensor) -> Tensor:
        """Class scores of the last layer's output."""
        return self.ends.scores(x)


register(NASBenchMacro, supernet=NASBenchMacroSupernet, network=NASBenchMacroNetwork)
