"""Stacks of images `[n, channels, height, width]`, whose channels lie last in memory."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from morphogen.core.errors import DataError


def take(pixels: Tensor, index: Tensor) -> Tensor:
    """The images at `index` (int64 `[m]`), in that order, copied."""
    return pixels.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)


def concatenated(several: Iterable[Tensor]) -> Tensor:
    """Several stacks of images of one shape as one."""
    return torch.cat([pixels.permute(0, 2, 3, 1) for pixels in several]).permute(0, 3, 1, 2)


def with_channels(pixels: Tensor, channels: int | None) -> Tensor:
    """The images with so many channels: grey ones can become red, green and blue alike.

    Raises:
        DataError: they have others.
    """
    n = pixels.shape[1]
    if channels in (None, n):
        return pixels
    if n != 1:
        raise DataError(f"the images have {n} channels; accepted: {channels}, or grey images")
    return pixels.expand(-1, channels, -1, -1).contiguous()
