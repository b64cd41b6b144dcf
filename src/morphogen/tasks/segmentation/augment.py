"""Paired augmentation: an image and its mask are cut and mirrored alike.

All numbers of a joint batch are drawn from one CPU generator, so that every process draws the same
and uses its share.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from morphogen.core.errors import ConfigError
from morphogen.tasks.pictures.normalising import flip


@dataclass(frozen=True)
class SceneAugment:
    """What is done to training images and their masks: a cut that is enlarged, then mirrored."""

    crop: float = 0.0
    """Largest share of height and width that is cut away: a share is drawn from 0 to it, then the
    place of what is left, which is enlarged to the whole size; 0 is off."""
    flip: bool = True
    """Mirror left to right with probability 1/2."""

    def __post_init__(self) -> None:
        if not 0 <= self.crop < 1:
            raise ConfigError(f"crop is {self.crop}; accepted: 0, which is off, to below 1")

    def apply(
        self, x: Tensor, y: Tensor, rows: slice, joint: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Augmented images and masks.

        Args:
            x: uint8 `[b, channels, h, w]`, those of `rows` of the joint batch.
            y: uint8 `[b, h, w]`.
            rows: this process's share.
            joint: images of the joint batch.
            generator: on the CPU.

        Returns:
            The same types and shapes.
        """
        if self.crop:
            drawn = torch.rand(3, joint, generator=generator)[:, rows].to(x.device)
            x, y = crop(x, y, 1 - self.crop * drawn[0], drawn[1], drawn[2])
        if self.flip:
            mirrored = torch.randint(0, 2, (joint,), generator=generator).bool()[rows].to(x.device)
            x, y = flip(x, mirrored), flip(y[:, None], mirrored)[:, 0]
        return x, y


PLAIN = SceneAugment(flip=False)
"""No augmentation."""


def crop(x: Tensor, y: Tensor, scale: Tensor, top: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
    """A window of each image and mask, enlarged to their size: linear, masks by nearest pixel.

    Args:
        x: uint8 `[b, c, h, w]`.
        y: uint8 `[b, h, w]`.
        scale: height and width of the window as a share of the image's, `[b]`, above 0 to 1.
        top: where it lies, from 0, at the top, to 1, `[b]`.
        left: likewise.
    """
    # From -1 to 1: a window of a share `scale` has its middle at -(1 - scale) to 1 - scale.
    free = 1 - scale
    zero = torch.zeros_like(scale)
    rows = (scale, zero, (2 * left - 1) * free, zero, scale, (2 * top - 1) * free)
    grid = F.affine_grid(
        torch.stack(rows, dim=1).view(-1, 2, 3), [len(x), 1, *y.shape[1:]], align_corners=False
    )
    image = F.grid_sample(x.float(), grid, "bilinear", "border", align_corners=False)
    mask = F.grid_sample(y[:, None].float(), grid, "nearest", "border", align_corners=False)
    return image.round().to(torch.uint8), mask[:, 0].to(torch.uint8)
