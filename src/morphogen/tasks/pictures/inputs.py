"""What a prediction can be made of: image files, folders of them, arrays of pixels in files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from morphogen.core import DataError, ranges
from morphogen.tasks.inputs import Failed, Named, Prepared
from morphogen.tasks.pictures import arrays
from morphogen.tasks.pictures.decode import SUFFIXES, decode
from morphogen.tasks.pictures.listing import images_in, unread
from morphogen.tasks.pictures.normalising import normalisation, normalise
from morphogen.tasks.pictures.pixels import Changes, pixels_of
from morphogen.tasks.pictures.stacking import resize

Picture = str | os.PathLike[str] | NDArray[np.uint8]
"""The path of an image file, or its pixels: uint8 `[h, w]`, or `[h, w, channels]`."""

ARRAYS = (".npy", ".npz")


class PictureInputs:
    """Pictures as inputs of a network, for whatever it says of them; see `tasks.inputs.Inputs`."""

    one = "image"
    axes, array = 3, "[n, height, width, channels]"
    accepted = "image files, folders of them, .npy and .npz files"
    sizes, unit = ranges.SIDE, "pixels"
    word, python = "IMAGE...", ("", "['image.png']")

    def expanded(
        self, word: str, signature: Prepared, passed: list[str], failed: list[Failed]
    ) -> Iterator[Named]:
        """The pictures of a file or a folder."""
        return expanded(word, passed, failed)

    def several(self, given: Any, signature: Prepared) -> Sequence[Any]:
        """An array `[n, height, width, channels]` as a list of images; a list as it is."""
        return [given] if isinstance(given, np.ndarray) and given.ndim < 4 else list(given)

    def prepared(self, item: Any, signature: Prepared) -> Tensor:
        """Float32 `[1, channels, size, size]`, made as in the training.

        Colour becomes grey, or grey colour, where the network needs it; every image is resized to
        the network's size, its aspect ratio not kept.

        Raises:
            DataError: a file is no image, or an array is not of uint8.
        """
        ready = torch.from_numpy(pixels(item, signature.channels))[None]
        scale, shift = normalisation(signature.mean, signature.std)
        _, high, wide = signature.input_shape
        return normalise(resize(ready, (high, wide)), scale, shift).contiguous()

    def shape(self, signature: Prepared) -> str:
        """Height and width."""
        _, high, wide = signature.input_shape
        return f"{wide}x{high} pixels"

    def described(self, signature: Prepared) -> str:
        """How inputs are prepared, for the model card."""
        mean, std = (", ".join(f"{v:.4f}" for v in f) for f in (signature.mean, signature.std))
        _, high, wide = signature.input_shape
        kind = {1: "grey", 3: "RGB"}.get(signature.channels, f"{signature.channels} channels")
        return (
            f"float32 `[batch, {signature.channels}, {high}, {wide}]`, {kind}: "
            f"`(pixel / 255 - mean) / std` with mean {mean} and std {std} per channel. Images of "
            f"other sizes are resized to {wide} x {high} (areas averaged when "
            "shrinking, linear when growing). `morphogen predict` and `morphogen.load` do all "
            "this: the figures are stored in the file."
        )


def expanded(word: str, passed: list[str], failed: list[Failed]) -> Iterator[Named]:
    """The pictures that a word stands for.

    Args:
        word: an image file; a folder, whose image files are taken as the readers of data sets list
            them; or an .npy or .npz file of images.
        passed: a sentence is added on what is not read, if anything.
        failed: what should be read and cannot is added here.
    """
    try:
        yield from _expanded(word, passed, failed)
    except DataError as error:
        failed.append((word, error))


def _expanded(word: str, passed: list[str], failed: list[Failed]) -> Iterator[Named]:
    path = Path(word)
    if os.path.isdir(path):  # unlike pathlib's, False for a name that is too long
        others: Counter[str] = Counter()
        before = len(failed)
        files = images_in(path, others, lambda at, error: failed.append((str(at), error)))
        if not files and len(failed) == before:
            raise DataError(
                f"folder {word!r} holds no images; accepted: files ending in {', '.join(SUFFIXES)}"
            )
        passed += unread(others, repr(word))
        for file in files:
            yield Named(str(file), file)
    elif path.suffix.lower() in ARRAYS and os.path.isfile(path):
        for row, image in enumerate(arrays.unlabelled(path)):
            yield Named(f"{word}[{row}]", image.transpose(1, 2, 0))
    else:
        yield Named(word, path)


def pixels(picture: Picture, channels: int) -> NDArray[np.uint8]:
    """The pixels of one picture, as the readers of data sets give them.

    Args:
        picture: a file or an array.
        channels: of a network. Colour becomes grey, grey becomes colour, and what is transparent
            in an array of four channels is laid on white.

    Returns:
        uint8 `[channels, h, w]`.

    Raises:
        DataError: it is no image, or one of other channels.
    """
    if isinstance(picture, str | os.PathLike):
        where = f"file {os.fspath(picture)!r}"
        array = decode(Path(picture), where)
    else:
        where, array = "an image", _checked(picture)
    if array.shape[2] == 4 and channels in (1, 3):
        array = pixels_of(Image.fromarray(np.ascontiguousarray(array)), where, Changes())
    if array.shape[2] == 3 and channels == 1:
        grey = Image.fromarray(np.ascontiguousarray(array)).convert("L")
        array = np.asarray(grey)[:, :, None]
    elif array.shape[2] == 1 and channels == 3:
        array = array.repeat(3, axis=2)
    if array.shape[2] != channels:
        raise DataError(
            f"{where} has {array.shape[2]} channels; accepted by this network: {channels}"
        )
    return np.array(array.transpose(2, 0, 1), order="C")  # a copy: Pillow's memory is read-only


def _checked(image: object) -> NDArray[np.uint8]:
    array = image[:, :, None] if isinstance(image, np.ndarray) and image.ndim == 2 else image
    if (
        not isinstance(array, np.ndarray)
        or array.dtype != np.uint8
        or array.ndim != 3
        or not array.size
    ):
        found = (
            f"{array.dtype} {list(array.shape)}"
            if isinstance(array, np.ndarray)
            else type(image).__name__
        )
        raise DataError(
            f"an image is {found}; accepted: the path of a file, or a uint8 array [height, width] "
            "or [height, width, channels], of one pixel at least"
        )
    return array
