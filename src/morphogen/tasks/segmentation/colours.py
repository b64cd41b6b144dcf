"""Colours of classes, in masks that are drawn."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from morphogen.tasks.segmentation.scenes import VOID

_GOLDEN = 0.61803398875
"""Share of the circle of hues from one class to the next: none comes near an earlier one."""
COVER = 0.55
"""How much of an image a mask that is drawn over it hides."""


def palette(classes: int) -> NDArray[np.uint8]:
    """Red, green and blue of each class, uint8 `[256, 3]`; void and what is no class is black."""
    colours = np.zeros((256, 3), dtype=np.uint8)
    for i in range(min(classes, VOID)):
        # Three levels of light in turn, so that hues that come close differ in it.
        light = (1.0, 0.72, 0.5)[i % 3]
        hue = (i * _GOLDEN + 0.55) % 1
        colours[i] = [round(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.75, light)]
    return colours


def png(mask: NDArray[np.uint8], classes: int) -> bytes:
    """A mask `[h, w]` as a PNG of a palette: its pixels are the ids, a viewer shows the colours."""
    image = Image.fromarray(np.ascontiguousarray(mask))
    image.putpalette(palette(classes).tobytes())
    return _encoded(image)


def overlaid(image: NDArray[np.uint8], mask: NDArray[np.uint8], classes: int) -> NDArray[np.uint8]:
    """A mask drawn over an image, through which it shows.

    Args:
        image: `[h, w, 1 or 3]`.
        mask: `[h, w]`; what is void stays as it is.
        classes: how many there are.
    """
    colour = image.repeat(3, axis=2) if image.shape[2] == 1 else image[:, :, :3]
    mixed = (1 - COVER) * colour + COVER * palette(classes)[mask]
    return np.where((mask < classes)[:, :, None], np.round(mixed), colour).astype(np.uint8)


def side_by_side(images: Sequence[NDArray[np.uint8]], gap: int = 4) -> bytes:
    """Images `[h, w, 3]` of one size in a row, white between them, as a PNG."""
    high = images[0].shape[0]
    white = np.full((high, gap, 3), 255, dtype=np.uint8)
    row = [part for image in images for part in (white, image)][1:]
    return _encoded(Image.fromarray(np.concatenate(row, axis=1)))


def _encoded(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, format="PNG", optimize=True)
    return out.getvalue()


def swatches(classes: Sequence[str]) -> list[tuple[str, str]]:
    """Names of the classes and their colours as `#rrggbb`."""
    colours = palette(len(classes))
    return [(name, "#" + bytes(colours[i]).hex()) for i, name in enumerate(classes)]
