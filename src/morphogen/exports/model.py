"""A trained network with all that is needed to use it: preprocessing, class names."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from morphogen.core import DataError
from morphogen.engine.weights import Signature
from morphogen.tasks.augment import normalisation, normalise
from morphogen.tasks.images import resize
from morphogen.tasks.readers.decode import decode

Picture = str | os.PathLike[str] | NDArray[np.uint8]
"""The path of an image file, or its pixels: uint8 `[h, w]`, or `[h, w, channels]`."""

BATCH = 64
"""Images that go through the network at once."""


@dataclass(frozen=True)
class Prediction:
    """What a network says of one image."""

    label: str
    """The class of the highest probability."""
    probability: float
    """Its probability by the network's own account, which may be too sure of itself."""
    probabilities: dict[str, float]
    """Of every class, in the order of classes."""


class Model:
    """A network as `load` returns it.

    Args:
        run: from normalised float32 images `[n, channels, size, size]` to scores `[n, classes]`.
        signature: what the network takes and gives, and where it is from.
        path: the file.
    """

    def __init__(self, run: Callable[[Tensor], Tensor], signature: Signature, path: Path) -> None:
        self._run, self.signature, self.path = run, signature, path

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the scores."""
        return self.signature.classes

    def __call__(self, x: Tensor) -> Tensor:
        """Scores `[n, classes]` of images as `preprocess` gives them."""
        with torch.no_grad():
            return self._run(x)

    def preprocess(self, images: Sequence[Picture]) -> Tensor:
        """Float32 `[n, channels, size, size]`, made as in the training.

        Colour becomes grey, or grey colour, where the network needs it; every image is resized to
        the network's size, its aspect ratio not kept.

        Raises:
            DataError: a file is no image, or an array is not of uint8.
        """
        s = self.signature
        scale, shift = normalisation(s.mean, s.std)
        ready = [resize(torch.from_numpy(_pixels(i, s.channels))[None], s.size) for i in images]
        if not ready:
            return torch.empty(0, s.channels, s.size, s.size)
        return normalise(torch.cat(ready), scale, shift).contiguous()

    def predict(self, images: Sequence[Picture]) -> list[Prediction]:
        """Class and probabilities of each image: file names, or arrays of uint8 pixels.

        Raises:
            DataError: see `preprocess`.
        """
        if isinstance(images, str | os.PathLike | np.ndarray):
            raise DataError("images is one image; accepted: a list of images, such as [image]")
        found = []
        for start in range(0, len(images), BATCH):
            scores = self(self.preprocess(images[start : start + BATCH]))
            if not bool(scores.isfinite().all()):
                raise DataError(
                    f"{self.path} gives scores that are not finite; accepted: a network whose "
                    "weights are numbers"
                )
            for row in scores.double().softmax(1).tolist():
                best = max(range(len(row)), key=row.__getitem__)
                found.append(
                    Prediction(
                        self.classes[best], row[best], dict(zip(self.classes, row, strict=True))
                    )
                )
        return found

    def __repr__(self) -> str:
        s = self.signature
        return (
            f"<Model {self.path}: {s.architecture} of {s.space}, {s.size}x{s.size} pixels, "
            f"{s.channels} channel{'s'[: s.channels != 1]}, {len(s.classes)} classes>"
        )


def _pixels(image: Picture, channels: int) -> NDArray[np.uint8]:
    """uint8 `[channels, h, w]` of a file or an array."""
    if isinstance(image, str | os.PathLike):
        where = f"file {os.fspath(image)!r}"
        if not Path(image).is_file():
            raise DataError(f"{where}: no such file; accepted: the path of an image")
        array = decode(Path(image), where)
    else:
        where, array = "an image", _checked(image)
    if array.shape[2] == 3 and channels == 1:
        array = np.asarray(Image.fromarray(array).convert("L"))[:, :, None]
    elif array.shape[2] == 1 and channels == 3:
        array = array.repeat(3, axis=2)
    if array.shape[2] != channels:
        raise DataError(
            f"{where} has {array.shape[2]} channels; accepted by this network: {channels}"
        )
    return np.array(array.transpose(2, 0, 1), order="C")  # a copy: Pillow's memory is read-only


def _checked(image: Any) -> NDArray[np.uint8]:
    array = image[:, :, None] if isinstance(image, np.ndarray) and image.ndim == 2 else image
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim != 3:
        found = (
            f"{array.dtype} {list(array.shape)}"
            if isinstance(array, np.ndarray)
            else type(image).__name__
        )
        raise DataError(
            f"an image is {found}; accepted: the path of a file, or a uint8 array [height, width] "
            "or [height, width, channels]"
        )
    return array
