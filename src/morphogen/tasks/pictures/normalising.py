"""Pixels as networks take them: normalised by channel, and mirrored.

Images are `[b, c, h, w]` in channels-last memory, and so are all results: the work is done on
`[b, h, w * c]` rows, because a copy of long rows is several times faster than one of pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def statistics(pixels: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel on the scale of 0 to 1, exact from histograms.

    A channel of one single value has the deviation 1, so that it can be divided by.

    Args:
        pixels: uint8 `[n, c, h, w]`.
    """
    means, stds = [], []
    for channel in pixels.unbind(1):
        counts = np.zeros(256, dtype=np.int64)
        for chunk in torch.split(channel, 4096):  # bincount works on a copy in int64
            counts += torch.bincount(chunk.flatten(), minlength=256).numpy()
        total = int(counts.sum())
        value = np.arange(256, dtype=np.int64)
        first, second = int((counts * value).sum()), int((counts * value**2).sum())
        means.append(first / total / 255)
        spread = total * second - first * first  # Python integers: no cancellation
        stds.append(float(np.sqrt(spread)) / total / 255 if spread else 1.0)
    return tuple(means), tuple(stds)


def flip(x: Tensor, flipped: Tensor) -> Tensor:
    """The images marked in `flipped` (bool `[b]`) mirrored left to right."""
    # Both versions, then one copy per image: torch.where over pixels takes three times as long.
    both = torch.cat([x.permute(0, 2, 3, 1), x.flip(-1).permute(0, 2, 3, 1)])
    index = torch.arange(len(x), device=x.device) + len(x) * flipped
    return both.index_select(0, index).permute(0, 3, 1, 2)


def normalisation(
    mean: Sequence[float], std: Sequence[float], device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """`scale` and `shift`, float32 `[c]`: `x * scale + shift` is `(x / 255 - mean) / std`.

    Args:
        mean: per channel, on the scale of 0 to 1.
        std: likewise.
        device: where the images are.
    """
    m = torch.tensor(mean, dtype=torch.float64)
    s = torch.tensor(std, dtype=torch.float64)
    return (1 / (255 * s)).float().to(device), (-m / s).float().to(device)


def normalise(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """`x * scale + shift` per channel: float32 `[b, c, h, w]` of uint8 images, channels-last."""
    b, c, h, w = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(b * h, w * c).float()
    return rows.mul_(scale.repeat(w)).add_(shift.repeat(w)).view(b, h, w, c).permute(0, 3, 1, 2)
