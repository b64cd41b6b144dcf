"""Layers of the image encoders of agents: TensorFlow's SAME padding, and the head.

As in google/brain_autorl (rl_darts), whose layers are TensorFlow's and Sonnet's: a layer of stride
s gives ceil(n / s) pixels of n, padded by one more at the right and at the bottom where the padding
is odd; weights are drawn from a normal of standard deviation 1 / sqrt(fan in), cut off at two of
them; biases begin at 0. There are no norms.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN = 256
"""Units between the features and the outputs."""

SMALL = 0.03
"""Weights of the last layer are drawn uniformly between this and its negative."""


class SameConv2d(nn.Conv2d):
    """A convolution with bias and SAME padding.

    Args:
        c_in: input channels.
        c_out: output channels.
        size: of the kernel, odd.
        stride: 1 or 2.
        dilation: of the kernel.
    """

    def __init__(
        self, c_in: int, c_out: int, size: int, *, stride: int = 1, dilation: int = 1
    ) -> None:
        self.reach = dilation * (size - 1) // 2
        """Pixels that it sees on either side."""
        super().__init__(c_in, c_out, size, stride, self.reach, dilation)

    def reset_parameters(self) -> None:
        """Draw the weights, and set the bias to 0."""
        _drawn(self)

    def forward(self, x: Tensor) -> Tensor:
        """[n, c_in, h, w] -> [n, c_out, ceil(h / stride), ceil(w / stride)]."""
        return self.convolve(x, self.weight, self.bias)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The same with other weights [c_out, c_in, size, size], of any number of outputs."""
        stride, dilation, reach = self.stride, self.dilation, self.reach
        if stride[0] > 1 and reach:
            # Of an even number of pixels one less is padded, at the left and at the top.
            high, wide = (reach - (1 - n % 2) for n in x.shape[2:])
            x, reach = F.pad(x, (wide, self.reach, high, self.reach)), 0
        return F.conv2d(x, weight, bias, stride, reach, dilation)


def _drawn(layer: nn.Conv2d | nn.Linear) -> None:
    """Sonnet's weights."""
    deviation = 1 / math.sqrt(layer.weight[0].numel())
    nn.init.trunc_normal_(layer.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _around(x: Tensor) -> tuple[int, int]:
    """SAME padding of a 3x3 window of stride 2, left and top, along height and width."""
    return int(x.shape[2]) % 2, int(x.shape[3]) % 2


def average_pool(x: Tensor) -> Tensor:
    """[n, c, h, w] -> [n, c, ceil(h / 2), ceil(w / 2)]: means of 3x3, padding not counted."""
    # What reaches over the right and lower border, as ceil_mode allows, is not counted either.
    return F.avg_pool2d(x, 3, 2, _around(x), ceil_mode=True, count_include_pad=False)


def max_pool(x: Tensor) -> Tensor:
    """Likewise the largest of 3x3."""
    return F.max_pool2d(x, 3, 2, _around(x), ceil_mode=True)


class AveragePool(nn.Module):
    """Stands before an operation that has no stride of its own."""

    def forward(self, x: Tensor) -> Tensor:
        """See `average_pool`."""
        return average_pool(x)


class Hidden(nn.Linear):
    """The layer of hidden units."""

    def reset_parameters(self) -> None:
        """Draw the weights, and set the bias to 0."""
        _drawn(self)


class Outputs(nn.Linear):
    """The last layer: logits of actions and the value of a state, or class scores."""

    def reset_parameters(self) -> None:
        """Draw small weights, so that an agent begins nearly at random, and set the bias to 0."""
        nn.init.uniform_(self.weight, -SMALL, SMALL)
        nn.init.zeros_(self.bias)


class Head(nn.Module):
    """Flatten, ReLU, hidden units, ReLU, outputs.

    Args:
        channels: of the features.
        grid: pixels of the features along each side; other features are averaged to as many.
        outputs: numbers that it gives.
    """

    def __init__(self, channels: int, grid: int, outputs: int) -> None:
        super().__init__()
        self.grid = grid
        self.hidden = Hidden(channels * grid * grid, HIDDEN)
        self.outputs = Outputs(HIDDEN, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] -> [n, outputs]."""
        if tuple(x.shape[2:]) != (self.grid, self.grid):
            x = F.adaptive_avg_pool2d(x, self.grid)
        hidden = F.relu(self.hidden(F.relu(x.flatten(1))))
        out: Tensor = self.outputs(hidden)
        return out


def halved(side: int, times: int) -> int:
    """Pixels along a side after so many layers of stride 2."""
    for _ in range(times):
        side = (side + 1) // 2
    return side
