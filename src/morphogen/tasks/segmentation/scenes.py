"""Images with masks in memory: two uint8 tensors, and the names of the masks' ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.tasks.labelled.groups import Groups, group_names, joined_groups
from morphogen.tasks.labelled.rows import Rows
from morphogen.tasks.parts import PARTS
from morphogen.tasks.pictures import stacks
from morphogen.tasks.pictures.arrays import first_channels, levels
from morphogen.tasks.pictures.stacking import Side

VOID = 255
"""In a task's masks and targets: a pixel that counts for nothing, in the loss and in the metric."""


@dataclass(frozen=True, eq=False)
class Scenes:
    """Images, and an id for each of their pixels.

    Attributes:
        pixels: uint8 `[n, channels, height, width]`, kept in channels-last memory.
        masks: uint8 `[n, height, width]`, ids as the data have them; of a task's own scenes, whose
            ids have been counted (`legend`), indexes of classes and `VOID`.
        names: of the ids that have one.
        notes: what a user should know of how they were read, a sentence each without full stop.
        groups: the name of each image's group (sequence, patient), if they have any.
    """

    unit: ClassVar[str] = "images"

    pixels: Tensor
    masks: Tensor
    names: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    groups: Groups | None = None

    def __post_init__(self) -> None:
        x, y = self.pixels, self.masks
        if x.dtype != torch.uint8 or x.ndim != 4 or 0 in x.shape:
            raise DataError(
                f"pixels are {list(x.shape)} of {x.dtype}; accepted: a non-empty uint8 tensor "
                "[images, channels, height, width]"
            )
        if y.dtype != torch.uint8 or y.shape != (len(x), *x.shape[2:]):
            raise DataError(
                f"masks are {list(y.shape)} of {y.dtype} for images {list(x.shape)}; accepted: a "
                f"uint8 tensor {[len(x), *x.shape[2:]]}, an id for each pixel"
            )
        if self.groups is not None and self.groups.shape != (len(x),):
            raise DataError(
                f"groups are {list(self.groups.shape)} for {len(x)} images; accepted: one each"
            )
        object.__setattr__(self, "pixels", x.contiguous(memory_format=torch.channels_last))

    @classmethod
    def of(
        cls,
        images: ArrayLike,
        masks: ArrayLike,
        *,
        names: Sequence[str] = (),
        groups: Sequence[Any] | None = None,
    ) -> Self:
        """Scenes of arrays.

        Args:
            images: `[n, h, w]`, `[n, h, w, c]` or `[n, c, h, w]`; whole numbers from 0 to 255, or
                floats from 0 to 1.
            masks: `[n, h, w]`, whole numbers from 0 to 255.
            names: of the ids, from 0.
            groups: of each image.

        Raises:
            DataError: they are something else.
        """
        x, y = np.asarray(images), np.asarray(masks)
        if y.dtype.kind not in "biu" or (y.size and not 0 <= y.min() <= y.max() <= 255):
            raise DataError(
                f"masks are of {y.dtype}, from {y.min() if y.size else 'none'} to "
                f"{y.max() if y.size else 'none'}; accepted: whole numbers from 0 to 255"
            )
        pixels = first_channels(levels(x, "the images"), None, "the images")
        return cls(
            torch.from_numpy(np.require(pixels, requirements=["C", "W"])),
            torch.from_numpy(np.array(y, dtype=np.uint8)),
            dict(enumerate(names)),
            groups=None if groups is None else group_names(groups, len(x), "the images"),
        )

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def channels(self) -> int:
        """Of an image: 1 grey, 3 colour."""
        return self.pixels.shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[2], self.pixels.shape[3]

    def take(self, index: Tensor) -> Scenes:
        """The images at `index` (int64 `[m]`), in that order, copied."""
        return replace(
            self,
            pixels=stacks.take(self.pixels, index),
            masks=self.masks.index_select(0, index),
            groups=None if self.groups is None else self.groups[index.numpy()],
        )

    def with_channels(self, channels: int | None) -> Scenes:
        """The images with so many channels; see `stacks.with_channels`."""
        return replace(self, pixels=stacks.with_channels(self.pixels, channels))

    def as_rows(self) -> Rows:
        """What the cut of the parts sees of them."""
        return Rows.alike(len(self), self.groups)


def joined(train: Scenes, valid: Scenes, name: str) -> Scenes:
    """Both in one.

    Raises:
        DataError: their images are of different shapes.
    """
    require_shape(valid, train, f"the search-validation part of {name!r}")
    return replace(
        train,
        pixels=stacks.concatenated([train.pixels, valid.pixels]),
        masks=torch.cat([train.masks, valid.masks]),
        notes=(*train.notes, *valid.notes),
        groups=joined_groups(train.groups, valid.groups),
    )


def require_shape(scenes: Scenes, as_in: Scenes, where: str) -> None:
    """Refuse images of another shape than the training data's."""
    shape, expected = list(scenes.pixels.shape[1:]), list(as_in.pixels.shape[1:])
    if shape != expected:
        raise DataError(
            f"{where} has images {shape}, the training data {expected}; accepted: one shape "
            "[channels, height, width], or the options height and width"
        )


Preview = tuple[str, tuple[int, int, int] | None]
"""Where an image is, and its channels, height and width."""


@dataclass(frozen=True)
class SceneSource:
    """A data set that was found but not read.

    Attributes:
        name: what the user called it, for messages.
        parts: those it has, of `PARTS`.
        reader: `reader(part, size)` reads one part. A module-level function or a `partial` of one,
            so that a task can be sent to another process.
        notes: what a user should know of what was found, a sentence each without full stop.
        preview: `preview(part)` says where the first image is, in words, and its channels, height
            and width by its header, None if that does not say; a mask that is missing is an error.
    """

    name: str
    parts: tuple[str, ...]
    reader: Callable[[str, Side | None], Scenes] | partial[Scenes]
    notes: tuple[str, ...] = ()
    preview: Callable[[str], Preview] | None = None

    def read(self, part: str, size: Side | None = None) -> Scenes:
        """Read one part, resized if a size is given.

        Raises:
            DataError: there is no such part, or its files cannot be read.
        """
        if part not in self.parts or part not in PARTS:
            raise DataError(
                f"data {self.name!r} has no {part} part, only {' and '.join(self.parts)}; "
                f"accepted: a folder that holds {part} images and masks beside it"
            )
        scenes = self.reader(part, size)
        return replace(scenes, notes=(*self.notes, *scenes.notes)) if part == "train" else scenes
