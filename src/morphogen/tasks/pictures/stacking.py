"""Decoded images as one tensor, and exact resizing."""

from __future__ import annotations

from collections.abc import Iterable
from math import gcd

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.core.memory import too_much
from morphogen.tasks.pictures.pixels import Changes, count_size

Side = int | tuple[int, int]
"""Pixels of height and width: one number for both, or one for each."""

_CHUNK = 1024  # images resized at a time
_WORK = 1 << 28  # bytes of float64 work space while resizing, of which one image may take more


def _weights(n: int, m: int) -> tuple[Tensor, int]:
    """Integer matrix `[m, n]` and its row sum: areas when shrinking, linear when growing."""
    if m <= n:
        g = gcd(n, m)
        n_, m_ = n // g, m // g
        # On a line of n * m_ units output i covers [i n_, (i+1) n_), input j [j m_, (j+1) m_).
        i, j = torch.arange(m)[:, None], torch.arange(n)[None, :]
        overlap = torch.minimum((i + 1) * n_, (j + 1) * m_) - torch.maximum(i * n_, j * m_)
        return overlap.clamp_min(0).double(), n_
    # Centre of output i on the input grid is ((2i + 1) n - m) / 2m: half-pixel centres, edges held.
    centre = ((2 * torch.arange(m) + 1) * n - m).clamp(0, 2 * m * (n - 1))
    left, rest = centre // (2 * m), centre % (2 * m)
    table = torch.zeros(m, n, dtype=torch.float64)
    rows = torch.arange(m)
    table[rows, left] += (2 * m - rest).double()
    table[rows, (left + 1).clamp_max(n - 1)] += rest.double()
    return table, 2 * m


def resize(pixels: Tensor, size: Side) -> Tensor:
    """Resize images to `size`; the aspect ratio is not kept.

    Shrinking averages areas (32 to 16 is the exact mean of 2x2 pixels), growing interpolates
    linearly. Sums are of integers in float64, hence exact, and halves are rounded up: the result
    does not depend on the machine.

    Args:
        pixels: uint8 `[n, c, h, w]`.
        size: pixels, at least 1.

    Returns:
        uint8 `[n, c, *size]`, channels-last.
    """
    high, wide = sides(size)
    n, c, h, w = pixels.shape
    if (h, w) == (high, wide):
        return pixels
    _require_memory(n, (high, wide, c), 8 * (h * wide + w * high))
    rows, row_sum = _weights(h, high)
    columns, column_sum = _weights(w, wide)
    total = row_sum * column_sum
    out = torch.empty(n, high, wide, c, dtype=torch.uint8).permute(0, 3, 1, 2)
    step = max(1, min(_CHUNK, _WORK // (8 * c * max(h, high) * max(w, wide))))
    for start in range(0, n, step):
        chunk = pixels[start : start + step].contiguous().double()  # [k, c, h, w]
        # Two plain matrix products; a batched one of such small matrices is many times slower.
        narrow = (chunk.view(-1, w) @ columns.T).view(-1, c, h, wide)
        small = narrow.transpose(2, 3).reshape(-1, h) @ rows.T
        sums = small.view(-1, c, wide, high).transpose(2, 3)  # [k, c, height, width]
        # All are integers far below 2^53, hence exact, until the division; and a quotient that is
        # no integer lies 1 / (2 total) or more from one, much further than float64 rounds.
        levels = ((2 * sums + total) / (2 * total)).floor_()
        out[start : start + step] = levels.to(torch.uint8)
    return out


def sides(size: Side) -> tuple[int, int]:
    """Height and width in pixels.

    Raises:
        DataError: one is less than 1.
    """
    high, wide = size if isinstance(size, tuple) else (size, size)
    if min(high, wide) < 1:
        raise DataError(f"size is {size}; accepted: a number of pixels, 1 or more")
    return high, wide


def _require_memory(n: int, shape: tuple[int, ...], beside: int = 0) -> None:
    """Refuse `n` images `[h, w, c]` that this machine cannot hold.

    A task holds them twice, whole and in its parts.
    """
    h, w, c = shape
    wrong = too_much(2 * n * h * w * c + beside)
    if wrong:
        raise DataError(
            f"{n:,} images of {w}x{h} pixels and {c} channels take {wrong}; accepted: fewer "
            "images, or a smaller size (the option size=N resizes all to NxN)"
        )


def stacked(
    decoded: Iterable[tuple[str, NDArray[np.uint8]]],
    size: Side | None,
    count: int,
    changes: Changes | None = None,
) -> Tensor:
    """One tensor of many decoded images.

    Args:
        decoded: pairs (where it came from, uint8 array `[h, w, c]`).
        size: resize every image to this many pixels; with `None` all must agree.
        count: how many there are.
        changes: sizes that are changed are counted here, if they are to be told.

    Returns:
        uint8 `[count, c, h, w]`, channels-last.

    Raises:
        DataError: an image differs from the first in channels, or, without `size`, in height or
            width; or this machine's memory does not hold so many.
    """
    shape = None if size is None else sides(size)
    alike: list[NDArray[np.uint8]] = []  # a run of images of one shape, resized together
    first: tuple[str, tuple[int, ...]] | None = None
    out = torch.empty(0)
    filled = 0

    def flush() -> None:
        nonlocal filled
        if filled + len(alike) > count:
            raise DataError(f"more than the {count} images that were announced; accepted: no more")
        if alike:
            batch = torch.from_numpy(np.stack(alike)).permute(0, 3, 1, 2)
            batch = batch if size is None else resize(batch, size)
            out[filled : filled + len(alike)] = batch.permute(0, 2, 3, 1)
            filled += len(alike)
            alike.clear()

    for where, image in decoded:
        if first is None:
            first = where, image.shape
            h, w, c = image.shape if shape is None else (*shape, image.shape[2])
            _require_memory(count, (h, w, c))
            out = torch.empty(count, h, w, c, dtype=torch.uint8)
        if image.shape[2] != first[1][2]:
            raise DataError(
                f"{where} has {image.shape[2]} channels and {first[0]} has {first[1][2]}; "
                "accepted: one number of channels (convert the images to all grey or all colour)"
            )
        if size is None and image.shape != first[1]:
            raise DataError(
                f"{where} is {image.shape[1]}x{image.shape[0]} pixels and {first[0]} is "
                f"{first[1][1]}x{first[1][0]}; accepted: images of one size, "
                "or the option size=N to resize all to NxN"
            )
        if changes is not None and shape not in (None, image.shape[:2]):
            count_size(changes, *image.shape[:2])
        most = max(1, min(_CHUNK, _WORK // (8 * image.size)))
        if alike and (alike[-1].shape != image.shape or len(alike) >= most):
            flush()
        alike.append(image)
    flush()
    if first is None:
        raise DataError("no images were found; accepted: at least two images of two classes")
    if filled < count:
        raise DataError(
            f"{first[0]} is the first of {filled} images, where {count} were announced; "
            "accepted: all of them"
        )
    return out.permute(0, 3, 1, 2)
