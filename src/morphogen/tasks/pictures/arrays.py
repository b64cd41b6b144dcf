"""Pixels from numpy arrays: of any order of axes, of any type of numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import DataError
from morphogen.tasks.labelled import archive
from morphogen.tasks.labelled.names import few
from morphogen.tasks.readers import npz

Layout = Literal["nchw", "nhwc"]
_CHANNELS = (1, 3)
_WITH_ALPHA = (*_CHANNELS, 4)


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
    return first_channels(levels(x, where), layout, where)


def levels(x: NDArray[Any], where: str) -> NDArray[np.uint8]:
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


def first_channels(x: NDArray[np.uint8], layout: Layout | None, where: str) -> NDArray[np.uint8]:
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
