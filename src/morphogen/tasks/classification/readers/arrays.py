"""Images from numpy arrays: in memory, or in an .npz file."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from morphogen.core.errors import DataError
from morphogen.tasks.classification.images import Images, Preview, Source, checked
from morphogen.tasks.labelled import archive
from morphogen.tasks.labelled.archive import Archive
from morphogen.tasks.labelled.labels import Labels, labelled
from morphogen.tasks.pictures.arrays import Layout, first_channels, levels
from morphogen.tasks.readers import npz


def from_arrays(
    x: ArrayLike,
    y: ArrayLike,
    *,
    classes: tuple[str, ...] | None = None,
    size: int | None = None,
    layout: Layout | None = None,
) -> Images:
    """Images from arrays.

    Args:
        x: `[n, h, w]` grey, `[n, h, w, c]` or `[n, c, h, w]`; whole numbers from 0 to 255, floats
            from 0 to 1, which are rounded to 256 levels, or booleans, of which true is white.
        y: labels as `tasks.labels.labelled` takes them: indexes, names, or one-hot rows.
        classes: names of the classes, in the order of the indexes.
        size: resize to `size` x `size` pixels.
        layout: which of the two orders of axes `x` has, where its shape does not tell.

    Raises:
        DataError: shapes, types, values or labels are none of these.
    """
    return _images(_given("x", x), _given("y", y), classes, size, layout, "the arrays")


def _given(name: str, values: ArrayLike) -> NDArray[Any]:
    if isinstance(values, torch.Tensor):
        return values.detach().cpu().numpy()
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:  # rows of different lengths
        reason = " ".join(str(error).split())
        raise DataError(
            f"{name} is no array ({reason}); accepted: a numpy array, or what makes one"
        ) from error


def find(path: Path) -> Source | None:
    """An .npz file with images and labels, under the names of `archive`, by parts or as a whole."""
    suffix = path.suffix.lower()
    if suffix == ".npy" and path.is_file():
        raise DataError(
            f"file {str(path)!r} holds a single array; accepted: an .npz file of images and labels "
            "together, as numpy.savez(file, x=images, y=labels) writes it"
        )
    if suffix != ".npz" or not path.is_file():
        return None
    held = archive.opened(path)
    parts = tuple(held.parts)
    return Source(str(path), parts, partial(_read, held), held.notes, partial(_preview, held))


def _read(held: Archive, part: str, size: int | None) -> Images:
    names = held.parts[part]
    x, y = npz.read(held.path, names.x), npz.read(held.path, names.y)
    several = part == "train"
    where = held.where(part)
    images = _images(x, y, held.class_names(), size, None, where, several=several)
    return replace(images, groups=held.groups(part, len(images)))


def _preview(held: Archive, part: str, open: bool) -> Preview | None:
    """Labels, and the shape of the images as the header says."""
    if not open:
        return None
    where, names = held.where(part), held.parts[part]
    labels = labelled(npz.read(held.path, names.y), where, held.class_names())
    shape, _ = npz.header_of(held.path, names.x)
    if len(shape) not in (3, 4) or 0 in shape:
        return Preview(labels)  # which is said when they are read
    _require_as_many(shape[0], labels, where)
    like = first_channels(np.broadcast_to(np.uint8(0), shape), None, where).shape
    return Preview(labels, ((where, like[1:]),))


def _images(
    x: NDArray[Any],
    y: NDArray[Any],
    classes: tuple[str, ...] | None,
    size: int | None,
    layout: Layout | None,
    where: str,
    *,
    several: bool = True,
) -> Images:
    pixels = first_channels(levels(x, where), layout, where)
    labels = labelled(y, where, classes)
    _require_as_many(len(pixels), labels, where)
    tensor = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
    images = Images(tensor, *labels)
    return checked(images.resized(size), where, several=several)


def _require_as_many(images: int, labels: Labels, where: str) -> None:
    if len(labels.indexes) != images:
        raise DataError(
            f"{where}: {images} images and {len(labels.indexes)} labels; accepted: as many labels "
            "as images"
        )
