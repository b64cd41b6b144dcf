"""Batch statistics of channels-last images on the CPU, as exact as those of channels-first ones.

torch's kernel adds up a channel's rows one after the other in the images' own type: in float32, of
65,536 rows, mean and variance are off by some 1e-6 to 1e-5, and a supernet's gradients by up to a
percent (for channels-first images it adds up in float64). Several rows side by side are one row of
as many times the channels, without a copy; so the same kernel gives several shorter sums, which
take no longer and are put together as statistics of equal parts.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from morphogen.supernets.fused.layout import as_matrix

WIDE = 2048
"""Channels side by side at most: sums of few enough terms, and a row of them fits in a core's first
cache."""


def statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and population variance per channel, both [channels], without a graph.

    Args:
        images: channels-last [batch, channels, height, width], at least float32.
    """
    if images.device.type != "cpu" or images.dtype != torch.float32:
        mean, variance = torch.batch_norm_update_stats(images, None, None, 0.0)
        return mean, variance
    matrix = as_matrix(images)
    rows, channels = matrix.shape
    parts = _largest_divisor(rows, max(WIDE // channels, 1))
    side_by_side = matrix.view(1, rows // parts, 1, parts * channels).permute(0, 3, 1, 2)
    means, variances = torch.batch_norm_update_stats(side_by_side, None, None, 0.0)
    means, variances = means.view(parts, channels), variances.view(parts, channels)
    mean = means.mean(0)
    return mean, variances.mean(0) + (means - mean).square_().mean(0)


@lru_cache(maxsize=1024)
def _largest_divisor(number: int, most: int) -> int:
    return next(k for k in range(min(number, most), 0, -1) if number % k == 0)


def served(x: Tensor) -> bool:
    """Whether `normalised` is for images like `x`: where torch's own norm is less exact."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.is_contiguous(memory_format=torch.channels_last)
        and not x.is_contiguous()
    )


def normalised(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch norm of channels-last `x` by its own statistics; the result, mean and variance."""
    found: tuple[Tensor, Tensor, Tensor] = _Normalised.apply(x, weight, bias, eps)  # type: ignore[no-untyped-call]
    return found


class _Normalised(torch.autograd.Function):
    """torch's kernels for the result and its gradient, with statistics of `statistics`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = statistics(x)
        ctx.eps = eps
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt())
        ctx.mark_non_differentiable(mean, variance)
        ctx.set_materialize_grads(False)
        return F.batch_norm(x, mean, variance, weight, bias, eps=eps), mean, variance

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale = ctx.saved_tensors
        if grad is None:
            return None, None, None, None
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.needs_input_grad[2]]
        found = torch.ops.aten.native_batch_norm_backward(
            grad, x, weight, None, None, mean, scale, True, ctx.eps, wanted
        )
        dx, dweight, dbias = (g if w else None for g, w in zip(found, wanted, strict=True))
        return dx, dweight, dbias, None
