"""Images from numpy arrays: in memory, or in an .npz file."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from morphogen.core.errors import DataError
from morphogen.tasks.classification.images import Images, Preview, Source, checked
from morphogen.tasks.labelled import archive
from morphogen.tasks.labelled.archive import Archive
from morphogen.tasks.labelled.labels import Labels, labelled
from morphogen.tasks.labelled.names import few
from morphogen.tasks.readers import npz

Layout = Literal["nchw", "nhwc"]
_CHANNELS = (1, 3)
_WITH_ALPHA = (*_CHANNELS, 4)


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


def unlabelled(path: Path) -> NDArray[np.uint8]:
    """The images of an .npy file, or of the one array in an .npz file that is called images.

    Returns:
        uint8 `[n, c, h, w]`.

    Raises:
        DataError: the file is damaged, has several such arrays or none, or holds no images.
    """
    where = f"file {str(path)!r}"
    if path.suffix.lower() == ".npy":
        x = npz.read_single(path)
    else:
        names = npz.names_in(path)
        called = [name for name in names if archive.says(name, archive.EXAMPLES)]
        usual = [name for name in called if archive.letters(name) == "x"]
        chosen = names if len(names) == 1 else usual or called
        if len(chosen) != 1:
            raise DataError(
                f"{where} holds {few(names) or 'no arrays'}; accepted: one array of images, called "
                "x if there are others"
            )
        x = npz.read(path, chosen[0])
    if x.ndim == 3 and x.shape[2] in _WITH_ALPHA and x.shape[0] not in _WITH_ALPHA:
        raise DataError(
            f"{where} holds an array {list(x.shape)}, by its shape one image in colour; accepted: "
            "[n, h, w], [n, h, w, c] or [n, c, h, w], with n = 1 for one image"
        )
    layout: Layout | None = None
    if x.ndim == 4 and (x.shape[1] in _WITH_ALPHA) != (x.shape[3] in _WITH_ALPHA):
        layout = "nchw" if x.shape[1] in _WITH_ALPHA else "nhwc"
    return _first_channels(_bytes(x, where), layout, where)


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
    like = _first_channels(np.broadcast_to(np.uint8(0), shape), None, where).shape
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
    pixels = _first_channels(_bytes(x, where), layout, where)
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


def _bytes(x: NDArray[Any], where: str) -> NDArray[np.uint8]:
    """`x` on the scale of 0 to 255."""
    if x.size == 0 or x.ndim not in (3, 4):
        raise DataError(
            f"{where}: images of shape {list(x.shape)}; accepted: [n, h, w], [n, h, w, c] "
            "or [n, c, h, w]"
        )
    if x.dtype.kind not in "biuf":
        raise DataError(f"{where}: images of type {x.dtype}; accepted: integers or floats")
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind == "b":
        return np.where(x, np.uint8(255), np.uint8(0))
    low, high = x.min(), x.max()
    if low >= 0 and high <= 255 and (x.dtype.kind != "f" or high > 1):
        whole = x.astype(np.uint8)
        if x.dtype.kind != "f" or bool((whole == x).all()):
            return whole
    if x.dtype.kind == "f" and low >= 0 and high <= 1:  # false for NaN too
        out = np.empty(x.shape, np.uint8)
        for row, image in enumerate(x):  # one at a time: floats take 4 or 8 times the memory
            out[row] = np.floor(image * 255 + 0.5)
        return out
    raise DataError(
        f"{where}: images of type {x.dtype} from {low} to {high}; accepted: whole numbers from 0 "
        "to 255, or floats from 0 to 1"
    )


def _first_channels(x: NDArray[np.uint8], layout: Layout | None, where: str) -> NDArray[np.uint8]:
    """`[n, c, h, w]` from any of the accepted orders of axes."""
    if x.ndim == 3:
        return x[:, None]
    if layout is None:
        _, a, b, c = x.shape
        first = a in _CHANNELS and c not in _CHANNELS
        last = c in _CHANNELS and a not in _CHANNELS
        if not first and not last:  # not told by 1 or 3 channels: images are mostly square
            first, last = b == c != a, a == b != c
        if first == last:
            raise DataError(
                f"{where}: the order of axes of shape {list(x.shape)} is not clear; "
                "accepted: the option layout='nchw' or 'nhwc'"
            )
        layout = "nchw" if first else "nhwc"
    if layout not in ("nchw", "nhwc"):
        raise DataError(f"layout is {layout!r}; accepted: 'nchw' or 'nhwc'")
    return x if layout == "nchw" else x.transpose(0, 3, 1, 2)
