"""Average pooling as a depthwise convolution, which is several times as fast on a CPU."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from morphogen.supernets.fused.layout import channels_last, full_precision


@lru_cache(maxsize=64)
def _window_sizes(
    channels: int, height: int, width: int, stride: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """A depthwise 3x3 kernel of ones, and 1 / (pixels that the window finds inside the image)."""
    with torch.inference_mode(False), torch.no_grad():
        ones = torch.ones(1, 1, height, width, device=device, dtype=torch.float64)
        kernel = torch.ones(1, 1, 3, 3, device=device, dtype=torch.float64)
        inside = F.conv2d(ones, kernel, stride=stride, padding=1)
        share = channels_last(inside.reciprocal().repeat(1, channels, 1, 1)).to(dtype)
        return torch.ones(channels, 1, 3, 3, device=device, dtype=dtype), share


class _AveragePool(torch.autograd.Function):
    """share * (ones conv x). The convolution is its own adjoint at stride 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        with full_precision(x):
            kernel, share = _window_sizes(*x.shape[1:], 1, x.device, x.dtype)
            return F.conv2d(x, kernel, padding=1, groups=x.shape[1]).mul_(share)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        with full_precision(grad):
            kernel, share = _window_sizes(*grad.shape[1:], 1, grad.device, grad.dtype)
            return F.conv2d(channels_last(grad) * share, kernel, padding=1, groups=grad.shape[1])


def average_pool(x: Tensor, stride: int = 1) -> Tensor:
    """3x3 average pooling, padding 1 and not counted: F.avg_pool2d(count_include_pad=False).

    On the CPU as a depthwise convolution, which is several times as fast as torch's pooling.

    Args:
        x: channels-last [batch, channels, height, width].
        stride: 1 or 2.
    """
    if x.device.type != "cpu" or x.dtype == torch.float64:
        return F.avg_pool2d(x, 3, stride, 1, count_include_pad=False)
    if stride == 1:
        pooled: Tensor = _AveragePool.apply(x)  # type: ignore[no-untyped-call]
        return pooled
    with full_precision(x):
        kernel, share = _window_sizes(*x.shape[1:], stride, x.device, x.dtype)
        return F.conv2d(x, kernel, stride=stride, padding=1, groups=x.shape[1]) * share
