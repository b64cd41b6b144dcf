"""Images in memory: one uint8 tensor, one label tensor, the class names; and exact resizing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import gcd
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.core.memory import too_much
from morphogen.tasks.labelled.data import Labelled
from morphogen.tasks.labelled.groups import Groups, joined_groups
from morphogen.tasks.labelled.labels import Labels
from morphogen.tasks.parts import PARTS

_CHUNK = 1024  # images resized at a time
_WORK = 1 << 28  # bytes of float64 work space while resizing, of which one image may take more


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
    """

    unit: ClassVar[str] = "images"

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    named: bool = True
    notes: tuple[str, ...] = ()
    groups: Groups | None = None

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
        rows = self.pixels.permute(0, 2, 3, 1).index_select(0, index)
        return replace(self, pixels=rows.permute(0, 3, 1, 2), **self.rows_of(index))

    def resized(self, size: int | None) -> Images:
        """The same images at `size` x `size` pixels; `None` changes nothing."""
        if size is None:
            return self
        return replace(self, pixels=resize(self.pixels, size))

    def with_channels(self, channels: int | None) -> Images:
        """The images with so many channels: grey ones can become red, green and blue alike.

        Raises:
            DataError: they have others.
        """
        if channels is None or channels == self.channels:
            return self
        if self.channels != 1:
            raise DataError(
                f"the images have {self.channels} channels; accepted: {channels}, or grey images"
            )
        pixels = self.pixels.expand(-1, channels, -1, -1)
        return replace(self, pixels=pixels.contiguous())


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
    rows = torch.cat([part.pixels.permute(0, 2, 3, 1) for part in (train, valid)])
    labels = torch.cat([train.labels, valid.labels])
    notes = (*train.notes, *valid.notes)
    pixels = rows.permute(0, 3, 1, 2)
    return replace(train, pixels=pixels, labels=labels, notes=notes, groups=groups), len(train)


def require_shape(images: Images, as_in: Images, where: str) -> None:
    """Refuse images of another shape than the training data's."""
    shape, expected = tuple(images.pixels.shape[1:]), tuple(as_in.pixels.shape[1:])
    if shape != expected:
        raise DataError(
            f"{where} has images {list(shape)}, the training data {list(expected)}; "
            "accepted: one shape [channels, height, width], or the option size=N"
        )


# --- resizing ------------------------------------------------------------------------------------


def _weights(n: int, m: int) -> tuple[Tensor, int]:
    """Integer matrix `[m, n]` and its row sum: areas when shrinking, linear when growing."""
    if m <= n:
        g = gcd(n, m)
        n_, m_ = n // g, m // g
        # On a line of n * m_ units output i covers [i n_, (i+1) n_), input j [j m_, (j+1) m_).
        i, j = torch.arange(m)[:, None], torch.arange(n)[None, :]
        overlap = torch.minimum((i + 1) * n_, (j + 1) * m_) - torch.maximum(i * n_, j * m_)
        return overlap.clamp_min(0).double(), n_
    # Centre of output i on the input grid is ((2i + 1) n - m) / 2m: half-pixel centres, edges held.
    centre = ((2 * torch.arange(m) + 1) * n - m).clamp(0, 2 * m * (n - 1))
    left, rest = centre // (2 * m), centre % (2 * m)
    table = torch.zeros(m, n, dtype=torch.float64)
    rows = torch.arange(m)
    table[rows, left] += (2 * m - rest).double()
    table[rows, (left + 1).clamp_max(n - 1)] += rest.double()
    return table, 2 * m


def resize(pixels: Tensor, size: int) -> Tensor:
    """Resize images to `size` x `size`; the aspect ratio is not kept.

    Shrinking averages areas (32 to 16 is the exact mean of 2x2 pixels), growing interpolates
    linearly. Sums are of integers in float64, hence exact, and halves are rounded up: the result
    does not depend on the machine.

    Args:
        pixels: uint8 `[n, c, h, w]`.
        size: pixels, at least 1.

    Returns:
        uint8 `[n, c, size, size]`, channels-last.
    """
    _require_size(size)
    n, c, h, w = pixels.shape
    if (h, w) == (size, size):
        return pixels
    _require_memory(n, (size, size, c), 8 * size * (h + w))
    rows, row_sum = _weights(h, size)
    columns, column_sum = _weights(w, size)
    total = row_sum * column_sum
    out = torch.empty(n, size, size, c, dtype=torch.uint8).permute(0, 3, 1, 2)
    step = max(1, min(_CHUNK, _WORK // (8 * c * max(h, size) * max(w, size))))
    for start in range(0, n, step):
        chunk = pixels[start : start + step].contiguous().double()  # [k, c, h, w]
        # Two plain matrix products; a batched one of such small matrices is many times slower.
        narrow = (chunk.view(-1, w) @ columns.T).view(-1, c, h, size)
        small = narrow.transpose(2, 3).reshape(-1, h) @ rows.T
        sums = small.view(-1, c, size, size).transpose(2, 3)  # [k, c, height, width]
        # All are integers far below 2^53, hence exact, until the division; and a quotient that is
        # no integer lies 1 / (2 total) or more from one, much further than float64 rounds.
        levels = ((2 * sums + total) / (2 * total)).floor_()
        out[start : start + step] = levels.to(torch.uint8)
    return out


def _require_size(size: int | None) -> None:
    if size is not None and size < 1:
        raise DataError(f"size is {size}; accepted: a number of pixels, 1 or more")


def _require_memory(n: int, shape: tuple[int, ...], beside: int = 0) -> None:
    """Refuse `n` images `[h, w, c]` that this machine cannot hold.

    A task holds them twice, whole and in its parts.
    """
    h, w, c = shape
    wrong = too_much(2 * n * h * w * c + beside)
    if wrong:
        raise DataError(
            f"{n:,} images of {w}x{h} pixels and {c} channels take {wrong}; accepted: fewer "
            "images, or a smaller size (the option size=N resizes all to NxN)"
        )


def stacked(
    decoded: Iterable[tuple[str, NDArray[np.uint8]]], size: int | None, count: int
) -> Tensor:
    """One tensor of many decoded images.

    Args:
        decoded: pairs (where it came from, uint8 array `[h, w, c]`).
        size: resize every image to this many pixels; with `None` all must agree.
        count: how many there are.

    Returns:
        uint8 `[count, c, h, w]`, channels-last.

    Raises:
        DataError: an image differs from the first in channels, or, without `size`, in height or
            width; or this machine's memory does not hold so many.
    """
    _require_size(size)
    alike: list[NDArray[np.uint8]] = []  # a run of images of one shape, resized together
    first: tuple[str, tuple[int, ...]] | None = None
    out = torch.empty(0)
    filled = 0

    def flush() -> None:
        nonlocal filled
        if filled + len(alike) > count:
            raise DataError(f"more than the {count} images that were announced; accepted: no more")
        if alike:
            batch = torch.from_numpy(np.stack(alike)).permute(0, 3, 1, 2)
            batch = batch if size is None else resize(batch, size)
            out[filled : filled + len(alike)] = batch.permute(0, 2, 3, 1)
            filled += len(alike)
            alike.clear()

    for where, image in decoded:
        if first is None:
            first = where, image.shape
            h, w, c = image.shape if size is None else (size, size, image.shape[2])
            _require_memory(count, (h, w, c))
            out = torch.empty(count, h, w, c, dtype=torch.uint8)
        if image.shape[2] != first[1][2]:
            raise DataError(
                f"{where} has {image.shape[2]} channels and {first[0]} has {first[1][2]}; "
                "accepted: one number of channels (convert the images to all grey or all colour)"
            )
        if size is None and image.shape != first[1]:
            raise DataError(
                f"{where} is {image.shape[1]}x{image.shape[0]} pixels and {first[0]} is "
                f"{first[1][1]}x{first[1][0]}; accepted: images of one size, "
                "or the option size=N to resize all to NxN"
            )
        most = max(1, min(_CHUNK, _WORK // (8 * image.size)))
        if alike and (alike[-1].shape != image.shape or len(alike) >= most):
            flush()
        alike.append(image)
    flush()
    if first is None:
        raise DataError("no images were found; accepted: at least two images of two classes")
    if filled < count:
        raise DataError(
            f"{first[0]} is the first of {filled} images, where {count} were announced; "
            "accepted: all of them"
        )
    return out.permute(0, 3, 1, 2)


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
