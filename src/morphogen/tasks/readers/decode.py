"""Decoding of one PNG or JPEG (or another plain raster file) to a uint8 array."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from morphogen.core.errors import DataError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
"""Rasters only: Pillow also opens formats that start other programs (EPS), which data must not."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
"""Files that the image folder takes for images, in lower case."""

# Modes with one channel of 8 bits or less; every other 8-bit mode becomes RGB.
_GREY = ("L", "LA", "La", "1")
_DEEP = ("I", "F")  # 16 or 32 bits per channel, also as "I;16" and "I;16B"


def pixels_of(image: Image.Image, where: str) -> NDArray[np.uint8]:
    """Pixels of a Pillow image, uint8 `[h, w, 1]` for grey and `[h, w, 3]` for all else.

    Transparency is dropped; palettes, CMYK and YCbCr become RGB.

    Raises:
        DataError: more than 8 bits per channel, or the file breaks off.
    """
    mode = image.mode.split(";")[0]
    if mode in _DEEP:
        raise DataError(
            f"{where} has {image.mode} pixels, more than 8 bits per channel; accepted: 8-bit images"
        )
    try:
        if mode in _GREY:
            grey = image if mode == "L" else image.convert("L")
            return np.asarray(grey, dtype=np.uint8)[:, :, None]
        if mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")  # a direct conversion to RGB warns
        return np.asarray(image if mode == "RGB" else image.convert("RGB"), dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise _corrupt(where, error) from error


def decode(data: bytes | Path, where: str) -> NDArray[np.uint8]:
    """Decode the bytes of a file, or the file at a path, as `pixels_of` does.

    Raises:
        DataError: it is no image of `FORMATS`, is corrupt, or cannot be opened; names `where`.
    """
    try:
        with Image.open(
            io.BytesIO(data) if isinstance(data, bytes) else data, formats=FORMATS
        ) as image:
            return pixels_of(image, where)
    except UnidentifiedImageError as error:
        raise DataError(
            f"{where} is not an image that can be read; accepted: {', '.join(FORMATS)}"
        ) from error
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
        Image.DecompressionBombError,
    ) as error:
        raise _corrupt(where, error) from error


def _corrupt(where: str, error: Exception) -> DataError:
    return DataError(
        f"{where} is corrupt or cannot be read ({error}); accepted: whole {FORMATS[0]} "
        f"or {FORMATS[1]} images; remove it or restore the file"
    )
