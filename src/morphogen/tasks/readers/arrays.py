"""Images from numpy arrays: in memory, or in an .npz file."""

from __future__ import annotations

import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from morphogen.core.errors import DataError
from morphogen.tasks.images import Images, Source, checked
from morphogen.tasks.labels import labelled
from morphogen.tasks.names import few

Layout = Literal["nchw", "nhwc"]
_CHANNELS = (1, 3)


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
        x: `[n, h, w]` grey, `[n, h, w, c]` or `[n, c, h, w]`; integers from 0 to 255, or floats
            from 0 to 1, which are rounded to 256 levels.
        y: labels as `tasks.labels.labelled` takes them: indexes, names, or one-hot rows.
        classes: names of the classes, in the order of the indexes.
        size: resize to `size` x `size` pixels.
        layout: which of the two orders of axes `x` has, where its shape does not tell.

    Raises:
        DataError: shapes, types, values or labels are none of these.
    """
    return _images(np.asarray(x), np.asarray(y), classes, size, layout, "the arrays")


def find(path: Path) -> Source | None:
    """An .npz file with `x` and `y`, or with `x_train`, `y_train`, `x_test`, `y_test`."""
    if path.suffix != ".npz" or not path.is_file():
        return None
    names = _names(path)
    keys = {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")}
    if {"x", "y"} <= names:
        keys = {"train": ("x", "y")}
    present = {part: pair for part, pair in keys.items() if set(pair) <= names}
    if "train" not in present:
        raise DataError(
            f"file {str(path)!r} holds {few(sorted(names)) or 'no arrays'}; "
            "accepted: arrays x and y, or x_train, y_train, x_test and y_test"
        )
    return Source(str(path), tuple(present), partial(_read, path, present))


def _names(path: Path) -> set[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error


def _read(path: Path, keys: dict[str, tuple[str, str]], part: str, size: int | None) -> Images:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            x, y = (arrays[key] for key in keys[part])
            if not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray):
                raise ValueError("it holds other files than arrays")
            named = tuple(str(c) for c in arrays["classes"]) if "classes" in arrays else None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from error
    return _images(x, y, named, size, None, f"the {part} part of {str(path)!r}")


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())
    return DataError(
        f"file {str(path)!r} cannot be read as .npz ({reason}); accepted: numpy arrays of numbers "
        "as numpy.savez writes them, without objects"
    )


def _images(
    x: NDArray[Any],
    y: NDArray[Any],
    classes: tuple[str, ...] | None,
    size: int | None,
    layout: Layout | None,
    where: str,
) -> Images:
    pixels = _first_channels(_bytes(x, where), layout, where)
    labels = labelled(y, where, classes)
    if len(labels.indexes) != len(pixels):
        raise DataError(
            f"{where}: {len(pixels)} images and {len(labels.indexes)} labels; accepted: as many "
            "labels as images"
        )
    tensor = torch.from_numpy(np.ascontiguousarray(pixels))
    images = Images(tensor, *labels)
    return checked(images.resized(size), where)


def _bytes(x: NDArray[Any], where: str) -> NDArray[np.uint8]:
    """`x` on the scale of 0 to 255."""
    if x.size == 0 or x.ndim not in (3, 4):
        raise DataError(
            f"{where}: images of shape {list(x.shape)}; accepted: [n, h, w], [n, h, w, c] "
            "or [n, c, h, w]"
        )
    if x.dtype == np.uint8:
        return x
    low, high = x.min(), x.max()
    if x.dtype.kind in "iu" and low >= 0 and high <= 255:
        return x.astype(np.uint8)
    if x.dtype.kind == "f" and low >= 0 and high <= 1:  # false for NaN too
        return np.floor(x * 255 + 0.5).astype(np.uint8)
    raise DataError(
        f"{where}: images of type {x.dtype} from {low} to {high}; accepted: integers from 0 to "
        "255, or floats from 0 to 1"
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
