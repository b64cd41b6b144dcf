"""Images in memory: one uint8 tensor, one label tensor, the class names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.tasks.labelled.data import Labelled
from morphogen.tasks.labelled.groups import Groups, joined_groups
from morphogen.tasks.labelled.labels import Labels
from morphogen.tasks.parts import PARTS
from morphogen.tasks.pictures import stacks
from morphogen.tasks.pictures.stacking import resize


@dataclass(frozen=True, eq=False)
class Images(Labelled):
    """Labelled images, decoded.

    Attributes:
        pixels: uint8 `[n, channels, height, width]`, kept in channels-last memory.
        labels: int64 `[n]`, indexes into `classes`.
        classes: the name of every class; its number where the data set has no names.
        named: whether `classes` are names that the data set gives.
        notes: what a user should know of how they were read, a sentence each without full stop:
            what was done to pixels, which files were not read.
        groups: the name of each image's group (subject, recording), if they have any.
        was: sizes that they had before they were brought to one; empty: they are as given.
    """

    unit: ClassVar[str] = "images"

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    named: bool = True
    notes: tuple[str, ...] = ()
    groups: Groups | None = None
    was: str = ""

    def __post_init__(self) -> None:
        x = self.pixels
        if x.dtype != torch.uint8 or x.ndim != 4 or 0 in x.shape:
            raise DataError(
                f"pixels are {_shape(x)} of {x.dtype}; accepted: a non-empty uint8 tensor "
                "[images, channels, height, width]"
            )
        self.require_labels(len(x))
        object.__setattr__(self, "pixels", x.contiguous(memory_format=torch.channels_last))

    @property
    def channels(self) -> int:
        """Number of channels: 1 grey, 3 colour."""
        return self.pixels.shape[1]

    def take(self, index: Tensor) -> Images:
        """The images at `index` (int64 `[m]`), in that order, copied."""
        return replace(self, pixels=stacks.take(self.pixels, index), **self.rows_of(index))

    def resized(self, size: int | None) -> Images:
        """The same images at `size` x `size` pixels; `None` changes nothing."""
        if size is None:
            return self
        h, w = self.pixels.shape[2:]
        was = self.was if (h, w) == (size, size) else self.was or f"{w}x{h}"
        return replace(self, pixels=resize(self.pixels, size), was=was)

    def with_channels(self, channels: int | None) -> Images:
        """The images with so many channels; see `stacks.with_channels`."""
        return replace(self, pixels=stacks.with_channels(self.pixels, channels))


def checked(images: Images, where: str, *, several: bool = True) -> Images:
    """`images`, if a classification task can be made of them.

    Raises:
        DataError: the images are not square, or all of one class where `several` are needed.
    """
    h, w = images.pixels.shape[2:]
    if h != w:
        raise DataError(
            f"{where} has images of {w}x{h} pixels; accepted: square images, "
            "or the option size=N to resize all to NxN"
        )
    present = torch.unique(images.labels)
    if several and len(present) < 2:
        raise DataError(
            f"{where} has images of one class only, {images.classes[int(present[0])]!r}; "
            "accepted: two classes or more"
        )
    return images


def joined(train: Images, valid: Images, name: str) -> tuple[Images, int]:
    """Both in one, counted in the classes of the first, and how many are of the first."""
    where = f"the search-validation part of {name!r}"
    require_shape(valid, train, where)
    valid = valid.aligned(train, where)
    groups = joined_groups(train.groups, valid.groups)
    pixels = stacks.concatenated([train.pixels, valid.pixels])
    labels = torch.cat([train.labels, valid.labels])
    notes = (*train.notes, *valid.notes)
    return replace(train, pixels=pixels, labels=labels, notes=notes, groups=groups), len(train)


def require_shape(images: Images, as_in: Images, where: str) -> None:
    """Refuse images of another shape than the training data's."""
    shape, expected = tuple(images.pixels.shape[1:]), tuple(as_in.pixels.shape[1:])
    if shape != expected:
        raise DataError(
            f"{where} has images {list(shape)}, the training data {list(expected)}; "
            "accepted: one shape [channels, height, width], or the option size=N"
        )


def _shape(tensor: Tensor) -> str:
    return "x".join(str(length) for length in tensor.shape) or "a scalar"


class Preview(NamedTuple):
    """What is known of a part without its images."""

    labels: Labels | None
    """Its labels; of a folder one for each class. None: it has none, so that it is no test part."""
    shapes: tuple[tuple[str, tuple[int, int, int]], ...] = ()
    """Of a few images by their headers: which, and channels, height, width as they lie there."""


@dataclass(frozen=True)
class Source:
    """A data set that was found but not read: its parts are known, no pixel is.

    Attributes:
        name: what the user called it, for messages.
        parts: those it has, of `PARTS`.
        reader: `reader(part, size)` reads one part. A module-level function or a `partial` of one,
            so that a task can be sent to another process.
        notes: what a user should know of what was found, a sentence each without full stop.
        preview: `preview(part, open)` says what is known of a part without decoding an image: from
            names of folders alone, or, with `open`, also from labels and headers of files. None
            where nothing is.
    """

    name: str
    parts: tuple[str, ...]
    reader: Callable[[str, int | None], Images]
    notes: tuple[str, ...] = ()
    preview: Callable[[str, bool], Preview | None] | None = None

    def read(self, part: str, size: int | None = None) -> Images:
        """Read one part, resized to `size` x `size` if given.

        Raises:
            DataError: there is no such part, or its files cannot be read.
        """
        if part not in PARTS:
            raise DataError(f"part is {part!r}; accepted: {', '.join(PARTS)}")
        if part not in self.parts:
            raise DataError(
                f"data {self.name!r} has no {part} part, only {' and '.join(self.parts)}; "
                f"accepted: a folder that holds {part} data beside it"
            )
        images = self.reader(part, size).resized(size)
        if part == "train":
            images = replace(images, notes=(*self.notes, *images.notes))
        return checked(images, f"the {part} part of {self.name!r}", several=part == "train")
