"""The layers that networks are made of, by what they are for: images, or signals.

A signal [n, channels, time] has one axis where an image has two. Stand-alone networks of signals
are made of `nn.Conv1d` and its kin (`SIGNALS`). In supernets a signal is an image of one row
[n, channels, 1, time] and a kernel of k is 1 x k (`ROWS`): torch computes a `Conv1d` in this way,
too, so the fused execution of images serves signals as it is. Weights are drawn alike in both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from morphogen.spaces import SearchSpace
from morphogen.supernets import fused
from morphogen.supernets.convolution import Conv1d, Conv2d

Sides = int | tuple[int, int]
"""What torch takes for a kernel's size, stride, padding or dilation."""


@dataclass(frozen=True)
class Dimensions:
    """Makers of layers of one kind; every convolution is without bias."""

    spatial: int
    """Axes of a sample beside its channels: 2 of an image, 1 of a signal."""
    norm: Callable[..., _BatchNorm]
    """Batch norm class: called with the channels and `affine`."""
    rows: bool = False
    """Signals as images of one row."""

    @property
    def heights(self) -> int:
        """1 where kernels have one row, else 2: how many grids of every second row there are."""
        return 1 if self.spatial == 1 else 2

    def sides(self, along: int, across: int) -> Sides:
        """`along` in every axis; for images of one row `across` from top to bottom."""
        return (across, along) if self.rows else along

    def conv(
        self,
        c_in: int,
        c_out: int,
        size: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        dilation: int = 1,
        groups: int = 1,
    ) -> nn.Conv1d | nn.Conv2d:
        """A convolution; by default padded so that at stride 1 the sample keeps its size."""
        padding = dilation * (size - 1) // 2 if padding is None else padding
        kind: Any = Conv1d if self._flat else Conv2d
        made: nn.Conv1d | nn.Conv2d = kind(
            c_in,
            c_out,
            self.sides(size, 1),
            stride=self.sides(stride, 1),
            padding=self.sides(padding, 0),
            dilation=self.sides(dilation, 1),
            groups=groups,
            bias=False,
        )
        return made

    def max_pool(self, size: int, stride: int, padding: int) -> nn.Module:
        """Maximum pooling."""
        kind: Any = nn.MaxPool1d if self._flat else nn.MaxPool2d
        made: nn.Module = kind(self.sides(size, 1), self.sides(stride, 1), self.sides(padding, 0))
        return made

    def avg_pool(self, size: int, stride: int, padding: int) -> nn.Module:
        """Average pooling; padding is not counted."""
        kind: Any = nn.AvgPool1d if self._flat else nn.AvgPool2d
        made: nn.Module = kind(
            self.sides(size, 1),
            self.sides(stride, 1),
            self.sides(padding, 0),
            count_include_pad=False,
        )
        return made

    def halved(self, x: Tensor) -> Tensor:
        """The means of pairs, of images of 2 x 2; of a signal of odd length the last is alone."""
        if self._flat:
            return F.avg_pool1d(x, 2, ceil_mode=True)
        if self.rows:
            return F.avg_pool2d(x, (1, 2), ceil_mode=True)
        # Convolutions of stride 2 round an odd size up, and so must this.
        odd = bool(x.shape[-1] % 2 or x.shape[-2] % 2)
        return F.avg_pool2d(x, 2, ceil_mode=odd)

    def mean(self, x: Tensor) -> Tensor:
        """Global average pooling: [n, channels, ...] -> [n, channels]."""
        return x.mean(2) if self._flat else x.mean((2, 3))

    def enter(self, x: Tensor) -> Tensor:
        """What the user gives, as these layers take it: a signal becomes an image of one row."""
        return x.unsqueeze(2) if self.rows else x

    @property
    def _flat(self) -> bool:
        return self.spatial == 1 and not self.rows


IMAGES = Dimensions(2, nn.BatchNorm2d)
"""[n, channels, height, width]"""
SIGNALS = Dimensions(1, nn.BatchNorm1d)
"""[n, channels, time]"""
ROWS = Dimensions(1, nn.BatchNorm2d, rows=True)
"""[n, channels, 1, time]"""


def of_network(space: SearchSpace) -> Dimensions:
    """The layers of the stand-alone networks of a space."""
    return SIGNALS if space.spatial_dims == 1 else IMAGES


def of_supernet(space: SearchSpace) -> Dimensions:
    """The layers of the supernet of a space: those whose sums `fused` knows."""
    return replace(ROWS if space.spatial_dims == 1 else IMAGES, norm=fused.BatchNorm)
