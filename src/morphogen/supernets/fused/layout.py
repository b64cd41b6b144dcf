"""Layouts, data types and small helpers of the fused kernels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor


def channels_last(x: Tensor) -> Tensor:
    """`x` [batch, channels, height, width] laid out with channels innermost."""
    if x.shape[1] == 1:
        # Which is the same memory; torch goes by the strides, and they are those of the other.
        return x.contiguous().squeeze(1).unsqueeze(-1).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)


def quick_layout(x: Tensor) -> Tensor:
    """Images [n, c, h, w] channels-last on a CPU, with which convolutions are quicker there.

    Not while torch exports or compiles, which has a layout of its own.
    """
    fit = x.device.type == "cpu" and x.ndim == 4 and not torch.compiler.is_compiling()
    return channels_last(x) if fit else x


def as_matrix(x: Tensor) -> Tensor:
    """View of a channels-last `x` [n, c, h, w] as a matrix [n * h * w, c]; never a copy."""
    return x.permute(0, 2, 3, 1).view(-1, x.shape[1])


def as_images(matrix: Tensor, like: Tensor) -> Tensor:
    """Inverse of `as_matrix`: [n * h * w, c] as channels-last [n, c, h, w], n, h, w of `like`."""
    n, _, h, w = like.shape
    return matrix.view(n, h, w, -1).permute(0, 3, 1, 2)


def room(like: Tensor, channels: int) -> Tensor:
    """Channels-last [n, channels, h, w], n, h, w of `like`, at least float32, not filled.

    Results are written into it through `as_matrix`, not viewed from a matrix: autograd adds to a
    gradient in place only if it owns it alone, and a view shares it.
    """
    return torch.empty(
        (like.shape[0], channels, *like.shape[2:]),
        dtype=torch.promote_types(like.dtype, torch.float32),
        device=like.device,
        memory_format=torch.channels_last,
    )


def full_precision(x: Tensor) -> AbstractContextManager[Any]:
    """Context without autocast: statistics and sums stay in float32 (or float64)."""
    return torch.autocast(x.device.type, enabled=False)


def at_least_float32(x: Tensor) -> Tensor:
    """`x` itself, or in float32 if it has fewer bits."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def there(tensor: Tensor | None) -> Tensor:
    """The tensor, which must be one."""
    if tensor is None:
        raise ValueError("a sum to which nothing is added has no value; give it a term")
    return tensor


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """One tensor after the other along the first dimension; a single one as it is."""
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))
