"""A trained network with all that is needed to use it: preprocessing, class names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from morphogen.core import DataError
from morphogen.core.names import shown
from morphogen.exports.pictures import Picture, pixels
from morphogen.runs.weights import Signature
from morphogen.tasks.classification.augment import normalisation, normalise
from morphogen.tasks.classification.images import resize

BATCH, VALUES = 64, 2**26
"""Images that go through the network at once, at most, and numbers in them."""


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
        ready = [resize(torch.from_numpy(pixels(i, s.channels))[None], s.size) for i in images]
        if not ready:
            return torch.empty(0, s.channels, s.size, s.size)
        scale, shift = normalisation(s.mean, s.std)
        return normalise(torch.cat(ready), scale, shift).contiguous()

    def predict(self, images: Sequence[Picture]) -> list[Prediction]:
        """Class and probabilities of each image: file names, or arrays of uint8 pixels.

        Args:
            images: a list of them, or an array `[n, h, w, channels]` of n images.

        Raises:
            DataError: see `preprocess`.
        """
        found = []
        for answer in self.answers(images):
            if isinstance(answer, DataError):
                raise answer
            found.append(answer)
        return found

    def answers(self, images: Iterable[Picture]) -> Iterator[Prediction | DataError]:
        """For each image, in their order, what `predict` says of it, or why nothing can be said.

        Only a batch of images is held at a time.

        Raises:
            DataError: `images` is not several images, or the network itself is damaged.
        """
        if isinstance(images, np.ndarray) and images.ndim != 4:
            raise DataError(
                f"images is an array {list(images.shape)}; accepted: a list of images, such as "
                "[image], or one array [n, height, width, channels]"
            )
        if isinstance(images, str | os.PathLike) or not isinstance(images, Iterable):
            raise DataError(f"images is {images!r}; accepted: a list of images, such as [image]")
        rest = iter(images)
        size = self.signature.channels * self.signature.size**2
        while batch := list(islice(rest, max(1, min(BATCH, VALUES // size)))):
            ready = [self._ready(image) for image in batch]
            images_read = [x for x in ready if isinstance(x, Tensor)]
            said = iter(self._said(torch.cat(images_read)) if images_read else ())
            for x in ready:
                yield x if isinstance(x, DataError) else next(said)

    def _ready(self, image: Picture) -> Tensor | DataError:
        try:
            return self.preprocess([image])
        except DataError as error:
            return error

    def _said(self, x: Tensor) -> list[Prediction]:
        scores = self(x)
        if not bool(scores.isfinite().all()):
            raise DataError(
                f"{self.path} gives scores that are not finite; accepted: a network whose weights "
                "are numbers"
            )
        found = []
        for row in scores.double().softmax(1).tolist():
            best = max(range(len(row)), key=row.__getitem__)
            each = dict(zip(self.classes, row, strict=True))
            found.append(Prediction(self.classes[best], row[best], each))
        return found

    def __repr__(self) -> str:
        s = self.signature
        return shown(
            f"<Model {self.path}: {s.architecture} of {s.space_name}, {s.size}x{s.size} pixels, "
            f"{s.channels} channel{'s'[: s.channels != 1]}, {len(s.classes)} classes>"
        )
