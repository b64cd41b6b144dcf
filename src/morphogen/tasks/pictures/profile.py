"""Colours from the profile that an image embeds to sRGB, which is what every other image is in."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

from PIL import Image, ImageCms

_MODES = ("RGB", "CMYK", "LAB")
_MOST = 4 << 20
"""Bytes of the largest profile that is looked at; those of printing presses reach 2.5 MB."""


def in_srgb(image: Image.Image, profile: object) -> tuple[Image.Image, bool | None]:
    """The image in sRGB, and what came of it.

    Transparency and palettes are the caller's: `image` is colour, and alpha, if it has any, is lost
    with the conversion.

    Returns:
        The image, and whether it was converted: `None` if it is in sRGB already, `False` if the
        profile is damaged or not of this kind of image, which is then as it was.
    """
    if image.mode not in _MODES:
        image = image.convert("RGB")
    if image.mode == "LAB":
        profile = None  # its colours are absolute
    elif not isinstance(profile, bytes) or len(profile) > _MOST:
        return image, False
    transform = _transform(profile, image.mode)
    if transform is None or transform is _SAME:
        return image, None if transform is _SAME else False
    return transform.apply(image), True


_SAME = object()


@lru_cache(maxsize=32)
def _transform(profile: bytes | None, mode: str) -> Any:
    """Pillow's transform to sRGB; `_SAME` if there is nothing to do, `None` if there is none."""
    try:
        srgb = ImageCms.createProfile("sRGB")
        if profile is None:
            source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        else:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" in ImageCms.getProfileDescription(source):
                return _SAME
        return ImageCms.buildTransform(source, srgb, mode, "RGB")
    # A profile that is damaged, or of another kind of colour (grey, a printer's seven inks); or a
    # Pillow that was built without colour management.
    except (ImportError, OSError, ValueError, TypeError, AttributeError, ImageCms.PyCMSError):
        return None
