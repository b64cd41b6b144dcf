"""Small images with masks, in memory and on disk; nothing here is a test."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

Pairs = tuple[NDArray[np.uint8], NDArray[np.uint8]]

NAMES = ("ground", "box", "ball")


def scenes(count: int, high: int = 12, wide: int = 16, seed: int = 0) -> Pairs:
    """Images `[n, h, w, 3]` of a box and a ball on the ground, and masks of 0, 1, 2; 255 around."""
    draw = np.random.default_rng(seed)
    rows, columns = np.mgrid[:high, :wide]
    masks = np.zeros((count, high, wide), dtype=np.uint8)
    for mask in masks:
        top, left = draw.integers(1, high - 5), draw.integers(1, wide - 6)
        mask[top : top + 4, left : left + 5] = 1
        y, x = draw.integers(2, high - 2), draw.integers(2, wide - 2)
        mask[(rows - y) ** 2 + (columns - x) ** 2 <= 5] = 2
        mask[0] = 255
    colour = np.array([[90, 90, 90], [200, 60, 60], [60, 60, 200]])[masks % 255]
    noise = draw.integers(-30, 31, (*masks.shape, 3))
    return np.clip(colour + noise, 0, 255).astype(np.uint8), masks


def png(array: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, format="PNG")
    return out.getvalue()


def folder(root: Path, pairs: Pairs, images: str, masks: str, ending: str = "") -> Path:
    """Files `0.png`, ... in two folders under `root`."""
    for name in (images, masks):
        (root / name).mkdir(parents=True)
    for i, (image, mask) in enumerate(zip(*pairs, strict=True)):
        (root / images / f"{i}.png").write_bytes(png(image))
        (root / masks / f"{i}{ending}.png").write_bytes(png(mask))
    return root


def parquet(path: Path, pairs: Pairs, groups: list[str] | None = None) -> Path:
    """A file with columns `image` and `label`."""
    columns = {
        name: [png(a) for a in arrays]
        for name, arrays in zip(("image", "label"), pairs, strict=True)
    }
    table = pa.table(columns | ({"group": groups} if groups else {}))
    pq.write_table(table, path)
    return path


def written(root: Path, sizes: dict[str, int], **size: int) -> Path:
    """Parts in folders `images/PART` and `masks/PART`, with a table of names."""
    for seed, (part, count) in enumerate(sizes.items()):
        folder(root, scenes(count, seed=seed, **size), f"images/{part}", f"masks/{part}")
    (root / "classes.txt").write_text("\n".join(NAMES) + "\n")
    return root
