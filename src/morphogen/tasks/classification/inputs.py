"""Images as a classifier's inputs."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from morphogen.tasks.inputs import Prepared
from morphogen.tasks.labelled.answers import Classified
from morphogen.tasks.pictures.inputs import PictureInputs
from morphogen.tasks.pictures.normalising import normalisation, normalise


class ImageInputs(Classified, PictureInputs):
    """Images as inputs of a network; see `tasks.inputs.Inputs`."""

    def examples(self, task: Any, rows: Tensor, signature: Prepared) -> Tensor:
        """Training images, prepared as the network takes them."""
        scale, shift = normalisation(signature.mean, signature.std)
        return normalise(task.pool.take(rows).pixels, scale, shift).contiguous()
