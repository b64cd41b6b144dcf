"""The IMPALA-CNN, and all of its depths in one supernet.

Espeholt et al., ICML 2018, arXiv 1802.01561; layers as in `encoders`. With w_k the weight of k
residual blocks, a stage of the supernet gives the sum over k of w_k times what k blocks give.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.core import Architecture
from morphogen.spaces.impala_cnn import BLOCKS, ImpalaCNN
from morphogen.supernets import fused
from morphogen.supernets.base import NetworkSpec, Supernet, register
from morphogen.supernets.encoders import Head, SameConv2d, halved, max_pool
from morphogen.supernets.gates import Gates, weighted


class ResidualBlock(nn.Module):
    """The input, and beside it twice ReLU and a 3x3 convolution.

    Args:
        channels: input and output channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = SameConv2d(channels, channels, 3)
        self.second = SameConv2d(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] -> the same shape."""
        out: Tensor = x + self.second(F.relu(self.first(F.relu(x))))
        return out


class Stage(nn.Module):
    """3x3 convolution, max pool of stride 2, residual blocks.

    Args:
        c_in: input channels.
        channels: output channels.
        blocks: how many.
    """

    def __init__(self, c_in: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.conv = SameConv2d(c_in, channels, 3)
        self.blocks = nn.ModuleList(ResidualBlock(channels) for _ in range(blocks))

    def begin(self, x: Tensor) -> Tensor:
        """[n, c_in, h, w] -> [n, channels, ceil(h / 2), ceil(w / 2)], the first block's input."""
        return max_pool(self.conv(x))

    def forward(self, x: Tensor) -> Tensor:
        """[n, c_in, h, w] -> [n, channels, ceil(h / 2), ceil(w / 2)]."""
        x = self.begin(x)
        for block in self.blocks:
            x = block(x)
        return x


def _stages(space: ImpalaCNN, spec: NetworkSpec, blocks: int) -> nn.ModuleList:
    widths = [spec.in_channels, *(spec.channels * multiple for multiple in space.stages)]
    pairs = pairwise(widths)
    return nn.ModuleList(Stage(c_in, c_out, blocks) for c_in, c_out in pairs)


def _head(space: ImpalaCNN, spec: NetworkSpec) -> Head:
    grid = halved(space.side, len(space.stages))
    return Head(spec.channels * space.stages[-1], grid, spec.classes)


class ImpalaCNNSupernet(Supernet):
    """All depths in one: each runs the blocks of the smaller ones.

    Args:
        space: the space, or a part of it.
        spec: `channels` is C; `depth` is the space's.
    """

    space: ImpalaCNN
    additive: ClassVar[bool] = False

    def __init__(self, space: ImpalaCNN, spec: NetworkSpec) -> None:
        super().__init__()
        self.space = space
        self.depths = [int(option) for option in space.choice(BLOCKS).options]
        self.stages = _stages(space, spec, max(self.depths))
        self.head = _head(space, spec)

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        """[n, outputs] of images [n, in_channels, h, w]."""
        live, weights = gates.row(BLOCKS, 0)
        gate_of = {self.depths[i]: None if gates.unit else weights[i] for i in live}
        x = fused.quick_layout(x)
        for stage in self.stages:
            x = self._stage(stage, x, gate_of)  # type: ignore[arg-type]
        out: Tensor = self.head(x)
        return out

    def _stage(self, stage: Stage, x: Tensor, gate_of: dict[int, Tensor | None]) -> Tensor:
        x, terms = stage.begin(x), []
        for number, block in enumerate(stage.blocks, start=1):
            if number > max(gate_of):
                break
            x = block(x)
            if number in gate_of:
                gate = gate_of[number]
                terms.append(x if gate is None else weighted(x, gate))
        return sum(terms[1:], terms[0])

    def _options(self, choice: str, option: str) -> list[nn.Module]:
        return [b for stage in self.stages for b in stage.blocks[: int(option)]]  # type: ignore[index]


class ImpalaCNNNetwork(nn.Module):
    """The network of one depth.

    Args:
        space: the space.
        arch: the architecture.
        spec: `channels` is C; `depth` is the space's.
    """

    def __init__(self, space: ImpalaCNN, arch: Architecture, spec: NetworkSpec) -> None:
        super().__init__()
        self.stages = _stages(space, spec, int(space.check(arch).one(BLOCKS)))
        self.head = _head(space, spec)

    def forward(self, x: Tensor) -> Tensor:
        """[n, outputs] of images [n, in_channels, h, w]."""
        x = fused.quick_layout(x)
        for stage in self.stages:
            x = stage(x)
        out: Tensor = self.head(x)
        return out


register(ImpalaCNN, supernet=ImpalaCNNSupernet, network=ImpalaCNNNetwork)
