"""Decoding of one PNG or JPEG (or another plain raster file) to a uint8 array."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from morphogen.core.errors import DataError
from morphogen.core.reading import trouble
from morphogen.tasks.pictures.pixels import Changes, channels_of, pixels_of

FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "PPM", "TIFF", "WEBP")
"""Rasters only: Pillow also opens formats that start other programs (EPS), which data must not."""

SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tif", ".tiff", ".webp"),
)
"""Files that the image folder takes for images, in lower case: all that `FORMATS` are called."""

BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""How Pillow fails on a file that is damaged: in whatever way its arithmetic happens to end."""


def header(data: bytes | Path) -> tuple[int, int, int] | None:
    """Channels, height and width as an image's first bytes state them; None if they do not."""
    source = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        if isinstance(source, Path) and trouble(source):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(source, formats=FORMATS) as image:
                return channels_of(image), image.height, image.width
    except (Image.DecompressionBombError, *BROKEN):
        return None  # which is said when it is read


def decode(data: bytes | Path, where: str, changes: Changes | None = None) -> NDArray[np.uint8]:
    """Decode the bytes of a file, or the file at a path, to what a viewer shows.

    Args:
        data: encoded.
        where: what a message calls it.
        changes: what is done to the image is counted here, see `pixels`.

    Returns:
        uint8 `[h, w, 1]` for grey and `[h, w, 3]` for all else.

    Raises:
        DataError: it is no image of `FORMATS`, is corrupt, has more than 16 bits per channel, or
            cannot be opened; names `where`.
    """
    if isinstance(data, bytes):
        wrong, length = None, len(data)
    else:
        wrong = trouble(data)
        length = 0 if wrong else data.stat().st_size
    if wrong or not length:
        raise DataError(
            f"{where} cannot be read ({wrong or 'it is empty'}); accepted: whole images; "
            "remove it or restore the file"
        )
    source = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on oddities that do no harm
            with Image.open(source, formats=FORMATS) as image:
                return pixels_of(image, where, Changes() if changes is None else changes)
    except UnidentifiedImageError as error:
        raise DataError(
            f"{where} is not an image that can be read; accepted: {', '.join(FORMATS)}"
        ) from error
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{where} has too many pixels ({error}); accepted: up to "
            f"{2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; make it smaller"
        ) from error
    except BROKEN as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise DataError(
            f"{where} is corrupt or cannot be read ({reason or type(error).__name__}); accepted: "
            f"whole {FORMATS[0]} or {FORMATS[1]} images; remove it or restore the file"
        ) from error
