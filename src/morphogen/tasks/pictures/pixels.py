"""The pixels of a Pillow image as a viewer shows them, in 8 bits.

A viewer turns a photograph as its EXIF orientation says, lays what is transparent on the page, and
shows the first frame of several in the colours of its profile. So does this, and writes down what
it did to how many images, so that it can be said.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from morphogen.core.errors import DataError
from morphogen.tasks.pictures.profile import in_srgb

Changes = Counter[str]
"""How many images underwent what, by the phrase that says it."""

_TURNED = "turned as the EXIF orientation says"
_LAID = "transparent parts laid on white"
_CUT = "16 bits per channel, of which the upper 8 are kept"
_FIRST = "several frames or pages, of which the first is read"
_CONVERTED = "colours converted to sRGB from those of the embedded profile"
_UNUSABLE = "an embedded colour profile that cannot be used, passed over"

_SIZE = re.compile(r"\d+x\d+")
"""How a size is counted that is changed, see `count_size`."""

_DAMAGED = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError),
    *(TypeError, AttributeError, ArithmeticError, struct.error),
)
"""How Pillow fails on what is said beside the pixels."""

_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXIF = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
"""Where Pillow keeps an orientation that a file states."""

# Modes with one channel of 8 bits or less; every other 8-bit mode becomes RGB.
_GREY = ("L", "LA", "La", "1")
_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")
_PHOTOMETRIC = 262  # the TIFF tag; 0 says that white is zero


def said(changes: Changes, total: int, where: str) -> tuple[str, ...]:
    """A sentence for each change, without its full stop: what was done to how many of `total`."""
    images = "image" if total == 1 else "images"
    return tuple(
        f"{what}: {count:,} of {total:,} {images} of {where}"
        for what, count in sorted(changes.items())
        if not _SIZE.fullmatch(what)
    )


def count_size(changes: Changes, high: int, wide: int, images: int = 1) -> None:
    """Images of this many pixels are brought to another size."""
    changes[f"{wide}x{high}"] += images


def sizes(changes: Changes) -> str:
    """Which sizes images had before they were brought to one: `40x40`; empty if they had it."""
    had = sorted(
        (tuple(map(int, what.split("x"))) for what in changes if _SIZE.fullmatch(what)),
        key=lambda size: size[0] * size[1],
    )
    if len(had) < 2:
        return "".join(f"{w}x{h}" for w, h in had)
    (w, h), (wide, high) = had[0], had[-1]
    return f"{len(had)} sizes between {w}x{h} and {wide}x{high}"


def pixels_of(image: Image.Image, where: str, changes: Changes) -> NDArray[np.uint8]:
    """Pixels of a Pillow image, uint8 `[h, w, 1]` for grey and `[h, w, 3]` for all else.

    Palettes, CMYK, YCbCr and LAB become RGB. Of 16 bits the upper 8 are kept, as Pillow does with
    colour and most viewers with both.

    Args:
        image: of any mode; turned in memory only.
        where: what a message calls it.
        changes: what is done to the image is counted here.

    Raises:
        DataError: pixels of 32 bits or fractions, of which no file says which value is white.
    """
    raw = _raw(image)
    if _has_more(image):
        changes[_FIRST] += 1
    image = _turned(image, changes)
    if ";16" in raw or image.mode.startswith("I;16") or (image.mode == "I" and _is_16(image)):
        changes[_CUT] += 1
    if image.mode == "F" or (image.mode.startswith("I") and not _is_16(image)):
        what = "fractions" if image.mode == "F" else "whole numbers of 32 bits"
        raise DataError(
            f"{where} has {what} as pixels, and which of them is white is not stated; accepted: "
            "images of 8 or 16 bits per channel"
        )
    if image.mode.startswith("I"):
        return _deep(image, raw, changes)
    alpha = _alpha(image, raw)
    array = _opaque(image, raw, changes)
    return array if alpha is None else _on_white(array, alpha, changes)


def channels_of(image: Image.Image) -> int:
    """1 or 3: how many channels `pixels_of` gives, by what is known before loading."""
    grey = image.mode in _GREY or image.mode.startswith("I") or _raw(image) == "LA;16B"
    return 1 if grey else 3


def _raw(image: Image.Image) -> str:
    """How the samples lie in the file, in Pillow's words, such as `RGB;16B`; before loading."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return image.mode
    arguments: Any = tiles[0][3]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else image.mode


def _has_more(image: Image.Image) -> bool:
    """Whether other frames follow; those of an MPO are previews and depth maps of the first."""
    with contextlib.suppress(*_DAMAGED):  # of a frame that is not asked for
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    return False


def _is_16(image: Image.Image) -> bool:
    """Whether whole numbers are 16 bits wide: a PPM or PNG has no more, and Pillow may say `I`."""
    return image.mode.startswith("I;16") or image.format in ("PPM", "PNG")


# --- orientation ---------------------------------------------------------------------------------


def _turned(image: Image.Image, changes: Changes) -> Image.Image:
    """The image loaded, and turned as it asks."""
    tags = getattr(image, "tag_v2", None)
    stated = tags.get(ExifTags.Base.Orientation, 1) if tags is not None else 1
    image.load()  # a TIFF turns itself here; a PNG may state its orientation after its pixels
    found = _orientation(image) if any(key in image.info for key in _EXIF) else 1
    if stated in _TURN or found in _TURN:
        changes[_TURNED] += 1
    return image.transpose(_TURN[found]) if found in _TURN else image


def _orientation(image: Image.Image) -> int:
    """1 to 8; 1, which is upright, where nothing that can be read says otherwise."""
    # A damaged EXIF block says nothing of the pixels: viewers show them as they lie.
    with contextlib.suppress(*_DAMAGED):
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
        return value if isinstance(value, int) else 1
    return 1


# --- depth, colour and transparency --------------------------------------------------------------


def _deep(image: Image.Image, raw: str, changes: Changes) -> NDArray[np.uint8]:
    """Grey of 16 bits, or of the 12 that scanners write: `[h, w, 1]`."""
    values = np.asarray(image)
    grey = (values >> (4 if raw == "I;12" else 8)).astype(np.uint8)
    tags = getattr(image, "tag_v2", None)
    if tags is not None and tags.get(_PHOTOMETRIC) == 0:
        grey = 255 - grey
    key = image.info.get("transparency")
    if isinstance(key, int):
        alpha = np.where(values == key, 0, 255).astype(np.uint8)
        return _on_white(grey[:, :, None], alpha, changes)
    return grey[:, :, None]


def _alpha(image: Image.Image, raw: str) -> NDArray[np.uint8] | None:
    """How opaque each pixel is, uint8 `[h, w]`; `None` if nothing is transparent."""
    key = image.info.get("transparency")
    if image.mode in _ALPHA:
        return np.asarray(image.convert("RGBA").getchannel("A"))
    if image.mode == "P" and key is not None:
        return np.asarray(image.convert("RGBA").getchannel("A"))
    if image.mode in ("L", "1") and isinstance(key, int):
        # The key of a PNG is a sample as it lies in the file, where 2 or 4 bits may make a pixel.
        key *= {"L;2": 85, "L;4": 17}.get(raw, 1)
        return np.where(np.asarray(image.convert("L")) == key, 0, 255).astype(np.uint8)
    if image.mode == "RGB" and isinstance(key, tuple) and len(key) == 3:
        sought = np.array([v >> 8 for v in key] if ";16" in raw else key)
        seen = (np.asarray(image) == sought).all(2)
        return np.where(seen, 0, 255).astype(np.uint8)
    return None


def _opaque(image: Image.Image, raw: str, changes: Changes) -> NDArray[np.uint8]:
    """The pixels without regard to transparency, `[h, w, 1]` or `[h, w, 3]`."""
    if image.mode in _GREY:
        if image.mode == "La":
            image = image.convert("LA")
        grey = image if image.mode == "L" else image.convert("L")
        return np.asarray(grey, dtype=np.uint8)[:, :, None]
    if raw == "LA;16B":  # grey all the same: Pillow has no mode for it
        return np.asarray(image.getchannel(0), dtype=np.uint8)[:, :, None]
    if image.mode in ("P", "PA", "RGBa"):
        image = image.convert("RGBA")  # a direct conversion of a palette with transparency warns
    profile = image.info.get("icc_profile")
    if profile or image.mode == "LAB":
        image, done = in_srgb(image, profile)
        if done is not None:
            changes[_CONVERTED if done else _UNUSABLE] += 1
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"), dtype=np.uint8)


def _on_white(
    array: NDArray[np.uint8], alpha: NDArray[np.uint8], changes: Changes
) -> NDArray[np.uint8]:
    """`array` `[h, w, c]` over white, rounded to the nearest level."""
    if alpha.size and alpha.min() == 255:
        return array
    changes[_LAID] += 1
    cover = alpha[:, :, None].astype(np.uint16)
    # At most 255 x 255 + 127, which 16 bits hold.
    mixed = array * cover + np.uint16(255) * (255 - cover) + np.uint16(127)
    return (mixed // 255).astype(np.uint8)
