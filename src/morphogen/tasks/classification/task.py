"""Image classification: data in two search parts and a closed test part, loss and metric."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from morphogen.core.errors import ConfigError, DataError
from morphogen.tasks.batches import Batch, Examples
from morphogen.tasks.classification.augment import PLAIN, Augment
from morphogen.tasks.classification.images import Images, Source, checked, joined, require_shape
from morphogen.tasks.classification.load import locate
from morphogen.tasks.classification.readers.dataset import MapDataset, from_dataset
from morphogen.tasks.cut import Cut, Parts
from morphogen.tasks.digests import digest, raw
from morphogen.tasks.labelled.groups import shared_groups
from morphogen.tasks.labelled.names import places
from morphogen.tasks.labelled.split import parts_of
from morphogen.tasks.labelled.task import LabelledTask
from morphogen.tasks.labelled.weighting import ClassWeights
from morphogen.tasks.pictures.normalising import normalisation, statistics

Data = str | os.PathLike[str] | Images | MapDataset
"""What images can be given as: a name or path (`locate`), images, or a map-style data set."""


class ImageExamples(Examples):
    """Images on a device, of which augmented and normalised batches are made.

    Batches are float32 `[b, channels, height, width]`, channels-last; labels int64 `[b]`.

    Args:
        images: the part.
        augment: what is done to them where there is a generator to draw from.
        mean: per channel, on the scale of 0 to 1.
        std: likewise.
        device: where the images lie and batches are made.
        placed: the images' tensors if they are there already, of `placed`.
    """

    def __init__(
        self,
        images: Images,
        *,
        augment: Augment = PLAIN,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device | str = "cpu",
        placed: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self.images, self.augment, self.notes = images, augment, images.notes
        self._scale, self._shift = normalisation(mean, std, device)
        self.placed = placed or (
            images.pixels.permute(0, 2, 3, 1).to(device),
            images.labels.to(device),
        )
        """Pixels uint8 `[n, height, width, channels]` and labels, on the device."""
        self._pixels, self._labels = self.placed

    def __len__(self) -> int:
        return len(self.images)

    def batch(
        self,
        rows: Tensor,
        *,
        mine: slice = slice(None),
        generator: torch.Generator | None = None,
    ) -> Batch:
        """The images of `rows[mine]`, augmented if there is a generator."""
        augment = PLAIN if generator is None else self.augment
        size = self._pixels.shape[1]
        draws = augment.draw(len(rows), size, generator or torch.Generator())
        device = self._pixels.device
        index = rows[mine].to(device, non_blocking=True)
        x = self._pixels.index_select(0, index).permute(0, 3, 1, 2)
        x = augment.apply(x, draws.part(mine, device), self._scale, self._shift)
        return Batch(x, self._labels.index_select(0, index), len(index))


class ImageTask(LabelledTask[Images]):
    """A classification task, made by `ImageTask.of`.

    The training images are cut into two disjoint search parts, by class and seed.

    Attributes:
        name: of the data, for reports.
        whole: all training images.
        pool: those of them that are in `train` or `valid`.
        train_rows: int64, the rows of `pool` in `train`, ascending.
        valid_rows: int64, the rows of `pool` in `valid`, ascending.
        mean: per channel of the train part, on the scale of 0 to 1.
        std: likewise.
        augment: what training batches undergo.
        seed: of the split.
        own_valid: whether the data came with a search-validation part; `valid` is of it then.
        label_smoothing: of the loss that trains weights.
    """

    kind = "images"
    changes: ClassVar[Mapping[str, str]] = {
        "images": "{} images then, {} now",
        "shape": "images {} then, {} now",
        "classes": "{} classes then, {} now",
        "names": "other names of classes",
        "labels": "other labels",
        "pixels": "other pixels",
        "split": "other rows in the search parts",
    }
    resizing = ("shape", "split")
    shaping = ("pixels",)

    def __init__(
        self,
        name: str,
        whole: Images,
        parts: Parts,
        *,
        test: Images | Source | None,
        size: int | None,
        channels: int | None,
        augment: Augment,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        class_weights: ClassWeights = "none",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(
            name,
            whole,
            parts,
            test=test,
            class_weights=class_weights,
            label_smoothing=label_smoothing,
        )
        self.augment = augment
        self._size, self._channels = size, channels
        self._placed: dict[tuple[str, torch.device], tuple[Tensor, Tensor]] = {}
        own_mean, own_std = (
            statistics(self.train.pixels) if mean is None or std is None else ((), ())
        )
        self.mean = _per_channel("mean", mean, whole.channels, own_mean)
        self.std = _per_channel("std", std, whole.channels, own_std)
        if min(self.std) <= 0:
            raise ConfigError(f"std is {self.std}; accepted: a number above 0 per channel")

    @classmethod
    def of(
        cls,
        data: Data,
        *,
        test: Data | None = None,
        train_images: int | float | None = None,
        valid_images: int | float | None = None,
        at_most: Collection[str] = (),
        held_out: float | None = None,
        size: int | None = None,
        channels: int | None = None,
        seed: int = 0,
        augment: Augment | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        class_weights: ClassWeights = "none",
        label_smoothing: float = 0.0,
    ) -> ImageTask:
        """Read the training images and cut the search parts from them.

        Data that come with a search-validation part of their own are not cut: that is `valid`, and
        `train` is of their train part; the two sizes limit them.

        Args:
            data: a name or path (see `load.locate`), `Images`, or a map-style data set.
            test: test images where `data` has none; a name or path is only read when opened.
            train_images: size of the train part, a count or a fraction (a float below 1). One
                of the two sizes alone leaves the rest to the other; neither means half and half.
            valid_images: size of the search-validation part, likewise.
            at_most: which of the two sizes shrink to what the data have; the others are refused if
                the data have less.
            held_out: a share of all images for the search-validation part, instead of the two
                sizes; of data with a part of their own, that part, whole.
            size: resize all images to `size` x `size` pixels.
            channels: 3 gives grey images three equal channels, for a network that takes colours.
            seed: of the split: the same seed and data give the same parts on any machine.
            augment: default `Augment()`: random crop and flip.
            mean: per channel on the scale of 0 to 1; else measured on the train part alone.
            std: likewise.
            class_weights: of the loss that trains weights, see `weighting`.
            label_smoothing: of the same: the share of a label that goes to all classes alike.

        Raises:
            DataError: the data are missing, corrupt, too few, or cannot be split by class.
            ConfigError: an option is out of range.
        """
        name, source = _source(data, size)
        pool = source.read("train", size) if isinstance(source, Source) else source
        pool = pool.with_channels(channels)
        if isinstance(source, Source) and "test" in source.parts and test is None:
            held: Images | Source | None = source
        else:
            held = None if test is None else _source(test, size)[1]
        first = None
        if isinstance(source, Source) and "valid" in source.parts:
            pool, first = joined(pool, source.read("valid", size).with_channels(channels), name)
        cut = Cut(train_images, valid_images, at_most, held_out, seed=seed)
        return cls(
            name,
            pool,
            parts_of(pool, cut, first),
            test=held,
            size=size,
            channels=channels,
            augment=augment or Augment(),
            mean=mean,
            std=std,
            class_weights=class_weights,
            label_smoothing=label_smoothing,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Without what lies on a device: another process places its own."""
        return {**self.__dict__, "_placed": {}}

    def with_parts(self, train: Tensor, valid: Tensor) -> Self:
        """A copy with other rows in its search parts; see `Task.with_parts`."""
        other = super().with_parts(train, valid)
        other._placed = {}  # what lies on a device is of the old parts
        return other

    # -- data --------------------------------------------------------------------------------

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return self.pool.channels

    @property
    def image_size(self) -> int:
        """Height and width of an image in pixels."""
        return self.pool.pixels.shape[-1]

    def examples(
        self, part: str, *, device: torch.device | str = "cpu", augmented: bool = False
    ) -> ImageExamples:
        """A part, from which batches can be made; see `Task.examples`."""
        images = self.part(part)
        augment, place = self.augment if augmented else PLAIN, (part, torch.device(device))
        made = ImageExamples(
            images,
            augment=augment,
            mean=self.mean,
            std=self.std,
            device=device,
            placed=self._placed.get(place),
        )
        self._placed[place] = made.placed  # streams and passes share one copy on an accelerator
        return made

    def inputs(self) -> dict[str, Any]:
        """Channels and size of an image, and how its pixels are normalised."""
        return {
            "kind": self.kind,
            "channels": self.in_channels,
            "size": self.image_size,
            "mean": self.mean,
            "std": self.std,
        }

    def _test_examples(self, held: Images | Source, device: torch.device) -> ImageExamples:
        if isinstance(held, Source):
            part = "test" if "test" in held.parts else "train"  # a lone file of test images
            held = held.read(part, self._size)
        shared = shared_groups(self.pool.groups, held.groups, "the test part")
        held = replace(held, notes=(*held.notes, *shared))
        images = self._fitting(held, f"the test part of {self.name!r}")
        return ImageExamples(images, mean=self.mean, std=self.std, device=device)

    def check_test(self, *, open: bool) -> None:
        """Compare what is known of the test part without its images with the training data.

        So that a test part that does not fit is refused before hours of training, not after.

        Args:
            open: read labels and a few headers too; in a search only names of folders are seen.

        Raises:
            DataError: it has a class that the training data has not, or images of another shape.
        """
        held, where = self._test, f"the test part of {self.name!r}"
        if isinstance(held, Images):
            self._fitting(held, where)
        if not isinstance(held, Source) or held.preview is None:
            return
        preview = held.preview("test" if "test" in held.parts else "train", open)
        if preview is None:
            return
        if preview.labels is None:
            note = f"{where} has no labels and is not read"
            self._test, self.pool = None, replace(self.pool, notes=(*self.pool.notes, note))
            return
        indexes, names, named = preview.labels
        present = torch.unique(indexes).tolist()
        places(
            names,
            self.classes,
            named=named,
            by_name=self.pool.named,
            present=present,
            where=where,
        )
        expected = (self.in_channels, self.image_size, self.image_size)
        for which, (channels, height, width) in preview.shapes:
            found = (
                expected[0] if channels == 1 and self._channels else channels,
                *((height, width) if self._size is None else expected[1:]),
            )
            if found != expected:
                raise DataError(
                    f"{which} has {channels} channels and {width}x{height} pixels, the training "
                    f"data {expected[0]} and {expected[2]}x{expected[1]}; accepted: test images "
                    "like those of the training"
                    + ("" if found[0] != expected[0] else ", or the option size=N")
                )

    def _fitting(self, held: Images, where: str) -> Images:
        """Test images as the network takes them, their labels counted in the training's classes."""
        held = held.with_channels(self._channels)
        require_shape(held, self.pool, where)
        return held.aligned(self.pool, where)

    def train_on_all(self) -> None:
        """Take channel statistics and class weights from all images, not from the train part."""
        super().train_on_all()
        self.mean, self.std = statistics(self.pool.pixels)

    def describe(self) -> dict[str, Any]:
        """All that a report knows of the task: also the shape of an image."""
        return super().describe() | {
            "in_channels": self.in_channels,
            "image_size": self.image_size,
        }

    def prepared(self) -> list[str]:
        """What is done to images before a network sees them, a phrase each."""
        size = self.image_size
        said: list[str] = []
        if self.pool.was:
            said.append(f"brought from {self.pool.was} to {size}x{size} pixels")
        training = self.augment.phrases(size)
        return said + [f"where they are trained on, {phrase}" for phrase in training]

    def contents(self) -> dict[str, Any]:
        """Numbers and digests of the images as they were read; the test part stays closed."""
        whole = self.whole
        return {
            "images": len(whole),
            "classes": len(whole.classes),
            "shape": list(whole.pixels.shape[1:]),
            "names": digest(name.encode() + b"\0" for name in whole.classes),
            "labels": digest([raw(whole.labels)]),
            "pixels": digest([raw(whole.pixels)]),
            "split": self.split,
        }


# --- statistics ----------------------------------------------------------------------------------


def _per_channel(
    field: str, given: Sequence[float] | None, channels: int, measured: tuple[float, ...]
) -> tuple[float, ...]:
    if given is None:
        return measured
    values = tuple(float(v) for v in given)
    if len(values) != channels or not all(np.isfinite(values)):
        raise ConfigError(
            f"{field} is {values}; accepted: {channels} finite numbers, one for each channel"
        )
    return values


def _source(data: Data, size: int | None) -> tuple[str, Images | Source]:
    """The name of the data, and the data: images, or a source that has not been read."""
    if isinstance(data, str | os.PathLike):
        found = locate(data)
        return found.name, found
    if isinstance(data, Images):
        return "images", checked(data.resized(size), "the images")
    return type(data).__name__, from_dataset(data, size=size)
