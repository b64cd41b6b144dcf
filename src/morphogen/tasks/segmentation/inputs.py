"""Images as a segmenter's inputs, and masks as what it says of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from morphogen.tasks.inputs import Prepared
from morphogen.tasks.pictures.decode import decode
from morphogen.tasks.pictures.inputs import PictureInputs
from morphogen.tasks.pictures.normalising import normalisation, normalise
from morphogen.tasks.segmentation.answers import Mask


class SceneInputs(PictureInputs):
    """Images whose pixels get classes; see `tasks.inputs.Inputs`."""

    word = "IMAGE... --out masks"
    what, labelled, answer = "segmenter", "pixel", "shares"

    def examples(self, task: Any, rows: Tensor, signature: Prepared) -> Tensor:
        """Training images, prepared as the network takes them."""
        scale, shift = normalisation(signature.mean, signature.std)
        return normalise(task.pool.take(rows).pixels, scale, shift).contiguous()

    def outputs(self, signature: Prepared) -> tuple[int, ...]:
        """A score for each class and pixel."""
        return (len(signature.classes), *signature.input_shape[1:])

    def answers(self, scores: Tensor, items: Sequence[Any], signature: Prepared) -> list[Mask]:
        """A mask for each image, as large as the image itself.

        Scores are enlarged linearly before the largest is taken, which gives smoother borders than
        an enlarged mask.
        """
        found = []
        for one, item in zip(scores.float(), items, strict=True):
            large = F.interpolate(one[None], size=_size(item), mode="bilinear", align_corners=False)
            labels = large[0].argmax(0).byte().numpy()
            counts = np.bincount(labels.ravel(), minlength=len(signature.classes)) / labels.size
            each = dict(zip(signature.classes, map(float, counts), strict=False))
            found.append(Mask(labels, each))
        return found


def _size(item: Any) -> tuple[int, int]:
    """Height and width of an image as `prepared` takes it, upright."""
    if isinstance(item, str | os.PathLike):
        item = decode(Path(item), f"file {os.fspath(item)!r}")
    return item.shape[0], item.shape[1]
