"""What a segmenter says of an image: a class for every pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.tasks.labelled.answers import ranked
from morphogen.tasks.segmentation.colours import png


@dataclass(frozen=True, eq=False)
class Mask:
    """What a network says of one image."""

    labels: NDArray[np.uint8]
    """Index of the class of each pixel of the image, `[height, width]`."""
    shares: dict[str, float]
    """Of every class, the share of the pixels, in the order of classes."""

    def line(self, top: int) -> str:
        """The largest classes."""
        return ranked(self.shares, top)

    def plain(self) -> dict[str, Any]:
        """The shares; the mask itself is a file."""
        return {"shares": self.shares}

    def file(self) -> tuple[str, bytes]:
        """The coloured mask, a PNG whose pixels are indexes of classes."""
        return ".png", png(self.labels, len(self.shares))
