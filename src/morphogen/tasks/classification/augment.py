"""Batched augmentation of uint8 images: no loop over images, and draws apart from their use.

A `draw_*` takes numbers from a CPU generator for a whole batch; `crop`, `flip` and `cutout` are
pure functions of (batch, draws). Kept apart, two processes can draw for their joint batch and each
use its slice, so that they see the pixels one process would see.

Images are `[b, c, h, w]` in channels-last memory, and so are all results: the work is done on
`[b, h, w * c]` rows, because a copy of long rows is several times faster than one of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from morphogen.core.errors import ConfigError
from morphogen.tasks.classification import policies
from morphogen.tasks.classification.policies import Drawn, Policy
from morphogen.tasks.pictures.normalising import flip, normalise


@dataclass(frozen=True)
class Draws:
    """The random numbers of one batch; `None` for an augmentation that is off."""

    top: Tensor | None = None
    """int64 `[b]`, rows to move the crop down in the padded image, 0 to 2 padding."""
    left: Tensor | None = None
    """int64 `[b]`, columns to move it right."""
    flipped: Tensor | None = None
    """bool `[b]`."""
    operations: Drawn | None = None
    """Of the policy."""
    row: Tensor | None = None
    """int64 `[b]`, centre of the cutout."""
    column: Tensor | None = None

    def part(self, which: slice, device: torch.device) -> Draws:
        """The draws of some images of the batch, on `device`."""

        def some(drawn: Tensor | None) -> Tensor | None:
            return None if drawn is None else drawn[which].to(device, non_blocking=True)

        return Draws(
            some(self.top),
            some(self.left),
            some(self.flipped),
            None if self.operations is None else self.operations.part(which),
            some(self.row),
            some(self.column),
        )


@dataclass(frozen=True)
class Augment:
    """What is done to training images: crop, flip, a policy's operations, normalise, cutout."""

    padding: int | None = None
    """Black pixels around the image before the random crop; by default an eighth of its size,
    the usual 4 at 32 pixels and 2 at 16. 0 switches the crop off."""
    flip: bool = True
    """Mirror left to right with probability 1/2; off for digits and letters."""
    policy: Policy = "none"
    """Whose operations are drawn for each image, see `policies`."""
    cutout: int = 0
    """Length in pixels of the square set to the mean colour; 0 is off, the DARTS papers use 16
    at 32 pixels, in evaluation only."""

    def __post_init__(self) -> None:
        if self.padding is not None and self.padding < 0:
            raise ConfigError(
                f"augment.padding is {self.padding}; accepted: pixels, 0 or more, or none for an "
                "eighth of the image"
            )
        if self.cutout < 0:
            raise ConfigError(f"augment.cutout is {self.cutout}; accepted: pixels, 0 or more")

    def padding_at(self, size: int) -> int:
        """Pixels of padding for images of `size` pixels."""
        return size // 8 if self.padding is None else self.padding

    def phrases(self, size: int) -> list[str]:
        """What training images of `size` pixels undergo, in words."""
        padding = self.padding_at(size)
        said = [
            f"moved at random by up to {padding} pixel{'s'[: padding > 1]}, with black beside them"
        ] * bool(padding)
        said += ["mirrored left to right at random"] * self.flip
        said += {
            "none": [],
            "cifar10": ["changed at random as AutoAugment does on CIFAR-10"],
            "trivial": ["changed by one operation at random (TrivialAugment)"],
        }[self.policy]
        said += [f"a square of {self.cutout} pixels blanked at random"] * bool(self.cutout)
        return said

    def draw(self, batch: int, size: int, generator: torch.Generator) -> Draws:
        """The numbers for `batch` images of `size` x `size`, from a CPU generator."""
        top = left = flipped = operations = row = column = None
        padding = self.padding_at(size)
        if padding:
            top, left = draw_crop(batch, padding, generator)
        if self.flip:
            flipped = draw_flip(batch, generator)
        if self.policy != "none":
            operations = policies.draw(self.policy, batch, generator)
        if self.cutout:
            row, column = draw_cutout(batch, size, generator)
        return Draws(top, left, flipped, operations, row, column)

    def apply(self, x: Tensor, draws: Draws, scale: Tensor, shift: Tensor) -> Tensor:
        """Float images for the network from uint8 images `[b, c, h, w]`.

        Args:
            x: uint8 images.
            draws: of `draw`, for these images, on their device.
            scale: see `normalisation`.
            shift: see `normalisation`.
        """
        if draws.top is not None and draws.left is not None:
            x = crop(x, draws.top, draws.left, self.padding_at(x.shape[-1]))
        if draws.flipped is not None:
            x = flip(x, draws.flipped)
        if draws.operations is not None:
            mean = (-shift / scale).round().clamp(0, 255).to(torch.uint8)
            x = policies.apply(x, draws.operations, mean)
        out = normalise(x, scale, shift)
        if draws.row is not None and draws.column is not None:
            out = cutout(out, draws.row, draws.column, self.cutout)
        return out


PLAIN = Augment(padding=0, flip=False)
"""No augmentation: normalisation only."""


def draw_crop(batch: int, padding: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Offsets (top, left) of crops, int64 `[batch]` each, uniform from 0 to `2 * padding`."""
    both = torch.randint(0, 2 * padding + 1, (2, batch), generator=generator)
    return both[0], both[1]


def draw_flip(batch: int, generator: torch.Generator) -> Tensor:
    """Which images are mirrored: bool `[batch]`, each with probability 1/2."""
    return torch.randint(0, 2, (batch,), generator=generator).bool()


def draw_cutout(batch: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Centres (row, column) of cutouts, int64 `[batch]` each, uniform over the image."""
    both = torch.randint(0, size, (2, batch), generator=generator)
    return both[0], both[1]


def crop(x: Tensor, top: Tensor, left: Tensor, padding: int) -> Tensor:
    """Each image padded with zeros on all sides and cut back to its size at its own offset.

    Args:
        x: uint8 or float `[b, c, h, w]`.
        top: int64 `[b]`, 0 to `2 * padding`; `padding` leaves the image where it was.
        left: int64 `[b]`, likewise.
        padding: pixels.
    """
    b, c, h, w = x.shape
    high, wide = h + 2 * padding, w + 2 * padding
    # One window of h padded rows, starting at the crop's first pixel, holds the whole crop: each
    # image is one copy of consecutive memory. The tail lets the last window run over the end.
    window = h * wide * c
    memory = x.new_zeros(b * high * wide * c + window)
    padded = memory[: b * high * wide * c].view(b, high, wide, c)
    padded[:, padding : padding + h, padding : padding + w] = x.permute(0, 2, 3, 1)
    start = (torch.arange(b, device=x.device) * high + top) * wide + left
    windows = memory.as_strided((b * high * wide, window), (c, 1)).index_select(0, start)
    return windows.view(b, h, wide, c)[:, :, :w].contiguous().permute(0, 3, 1, 2)


def cutout(x: Tensor, row: Tensor, column: Tensor, length: int) -> Tensor:
    """A square of each image set to 0, which after normalisation is the mean colour.

    As in the authors' code of Cutout and DARTS the square reaches `length // 2` pixels to either
    side of its centre and is cut off at the border.

    Args:
        x: float `[b, c, h, w]`, normalised.
        row: int64 `[b]`, centre of the square.
        column: int64 `[b]`.
        length: pixels.
    """
    b, c, h, w = x.shape
    half = length // 2
    i = torch.arange(h, device=x.device)
    j = torch.arange(w, device=x.device).repeat_interleave(c)  # column of each value of a row
    above = ((i < (row - half)[:, None]) | (i >= (row + half)[:, None])).float()  # [b, h]
    beside = (
        (j < (column - half)[:, None]) | (j >= (column + half)[:, None])
    ).float()  # [b, w * c]
    # `beside` is [b, w * c]. The product with a float mask takes a quarter of the time of
    # masked_fill with a bool mask.
    keep = torch.maximum(above[:, :, None], beside[:, None, :])
    values = x.permute(0, 2, 3, 1).reshape(b, h, w * c)
    return (values * keep).view(b, h, w, c).permute(0, 3, 1, 2)
