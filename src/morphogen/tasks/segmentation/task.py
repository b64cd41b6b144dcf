"""Segmentation: images and masks in two search parts and a closed test part, loss and mIoU."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from morphogen.core.errors import DataError, SpaceError
from morphogen.supernets.nested import length_of, shapes
from morphogen.tasks.batches import Batch, Examples
from morphogen.tasks.cut import Cut, Parts
from morphogen.tasks.digests import digest, raw
from morphogen.tasks.labelled.groups import shared_groups
from morphogen.tasks.labelled.split import parts_of
from morphogen.tasks.labelled.weighting import ClassWeights, class_weights
from morphogen.tasks.metric import Compare, Metric, Sums
from morphogen.tasks.pictures.normalising import normalisation, normalise, statistics
from morphogen.tasks.pictures.stacking import Side
from morphogen.tasks.pooled import PooledTask
from morphogen.tasks.segmentation.augment import PLAIN, SceneAugment
from morphogen.tasks.segmentation.colours import overlaid, side_by_side, swatches
from morphogen.tasks.segmentation.legend import Legend, legend, pixels_of
from morphogen.tasks.segmentation.readers import find
from morphogen.tasks.segmentation.scenes import VOID, Scenes, SceneSource, joined, require_shape
from morphogen.tasks.shown import Picture, Shown

Data = str | os.PathLike[str] | Scenes
"""What images with masks can be given as: a path, or scenes in memory."""

_PIXELS = 2**21
"""Of the images of a pass without gradients, at most: their scores take 4 bytes for each class."""

_SHOWN = 6
"""Images in a report."""


class SceneExamples(Examples):
    """Images and masks on a device, of which augmented and normalised batches are made.

    Batches are float32 `[b, channels, height, width]`, channels-last; targets int64
    `[b, height, width]`, indexes of classes and `VOID`. A batch's size is its pixels that count.

    Args:
        scenes: the part, its ids counted.
        mean: per channel, on the scale of 0 to 1.
        std: likewise.
        augment: what is done to them where there is a generator to draw from.
        device: where they lie and batches are made.
        notes: beside those of the scenes.
    """

    def __init__(
        self,
        scenes: Scenes,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        augment: SceneAugment = PLAIN,
        device: torch.device | str = "cpu",
        notes: tuple[str, ...] = (),
    ) -> None:
        self.scenes, self.augment, self.notes = scenes, augment, (*scenes.notes, *notes)
        self._scale, self._shift = normalisation(mean, std, device)
        self._pixels = scenes.pixels.permute(0, 2, 3, 1).to(device)
        self._masks = scenes.masks.to(device)

    def __len__(self) -> int:
        return len(self.scenes)

    def batch(
        self,
        rows: Tensor,
        *,
        mine: slice = slice(None),
        generator: torch.Generator | None = None,
    ) -> Batch:
        """The images of `rows[mine]`, augmented with their masks if there is a generator."""
        index = rows[mine].to(self._masks.device, non_blocking=True)
        x = self._pixels.index_select(0, index).permute(0, 3, 1, 2)
        y = self._masks.index_select(0, index)
        if generator is not None:
            x, y = self.augment.apply(x, y, mine, len(rows), generator)
        return Batch(normalise(x, self._scale, self._shift), y.long(), int((y != VOID).sum()))


class SegmentationTask(PooledTask[Scenes]):
    """A class for every pixel; made by `SegmentationTask.of`.

    Attributes:
        whole: all images of a search, their ids counted, of which `train` and `valid` are cut.
        legend: which ids are the classes.
        mean: per channel of the train part, on the scale of 0 to 1.
        std: likewise.
        augment: what training batches undergo.
    """

    kind = "segmentation"
    unit = "images"
    metric = Metric("miou", "%", bounds=(0.0, 100.0))
    changes: ClassVar[Mapping[str, str]] = {
        "images": "{} images then, {} now",
        "shape": "images {} then, {} now",
        "classes": "{} classes then, {} now",
        "names": "other names of classes",
        "masks": "other masks",
        "pixels": "other pixels",
        "split": "other rows in the search parts",
    }
    resizing = ("shape", "split")
    shaping = ("masks", "pixels")

    def __init__(
        self,
        name: str,
        whole: Scenes,
        legend: Legend,
        parts: Parts,
        *,
        test: Scenes | SceneSource | None = None,
        size: Side | None = None,
        channels: int | None = None,
        augment: SceneAugment = PLAIN,
        weights: ClassWeights = "none",
    ) -> None:
        super().__init__(name, whole, parts, test=test)
        self.legend, self.augment = legend, augment
        self._size, self._channels = size, channels
        self._asked_weights = weights
        self._measure(self.train)

    @classmethod
    def of(
        cls,
        data: Data,
        *,
        train_images: int | float | None = None,
        valid_images: int | float | None = None,
        at_most: Collection[str] = (),
        held_out: float | None = None,
        size: Side | None = None,
        channels: int | None = None,
        seed: int = 0,
        void: str = "255",
        names: Sequence[str] = (),
        augment: SceneAugment | None = None,
        class_weights: ClassWeights = "none",
    ) -> SegmentationTask:
        """Read the training images with their masks and cut the search parts from them.

        Args:
            data: a path (see `readers`), or scenes in memory.
            train_images: size of the train part, a count or a fraction (a float below 1); see
                `ImageTask.of` of this and the next five.
            valid_images: of the search-validation part.
            at_most: which of the two sizes shrink to what the data have.
            held_out: a share of all images for the second part, instead of the two sizes.
            size: height and width to which images and masks are resized, or one number for both.
            channels: 3 gives grey images three equal channels.
            seed: of the split.
            void: ids or names of mask pixels that count for nothing, with commas; or `none`.
            names: of the ids, from 0, instead of those that the data give.
            augment: default `SceneAugment()`: mirrored at random.
            class_weights: of the loss that trains weights, see `labelled.weighting`.

        Raises:
            DataError: the data are missing, damaged, too few, or cannot be split.
            ConfigError: an option is out of range.
        """
        name, source = ("scenes", data) if isinstance(data, Scenes) else _located(data)
        parts = () if isinstance(source, Scenes) else source.parts
        pool = source if isinstance(source, Scenes) else source.read("train", size)
        first = None
        if isinstance(source, SceneSource) and "valid" in parts:
            first = len(pool)
            pool = joined(pool, source.read("valid", size), name)
        pool = pool.with_channels(channels)
        pool = replace(pool, names=dict(enumerate(names))) if names else pool
        known = legend(pool, void, f"data {name!r}")
        pool = known.counted(pool, f"data {name!r}")
        cut = Cut(train_images, valid_images, at_most, held_out, seed=seed)
        return cls(
            name,
            pool,
            known,
            parts_of(pool.as_rows(), cut, first),
            test=source if isinstance(source, SceneSource) and "test" in parts else None,
            size=size,
            channels=channels,
            augment=augment or SceneAugment(),
            weights=class_weights,
        )

    # -- data --------------------------------------------------------------------------------

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.legend.classes

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return self.pool.channels

    def outputs(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def at_once(self) -> int:
        """Images of a pass without gradients, so that their scores fit into memory."""
        high, wide = self.pool.size
        return max(1, min(super().at_once, _PIXELS // (high * wide)))

    def examples(
        self, part: str, *, device: torch.device | str = "cpu", augmented: bool = False
    ) -> SceneExamples:
        """A part, from which batches can be made; see `Task.examples`."""
        return self._examples(self.part(part), device, self.augment if augmented else PLAIN)

    def _examples(
        self,
        scenes: Scenes,
        device: torch.device | str,
        augment: SceneAugment = PLAIN,
        notes: tuple[str, ...] = (),
    ) -> SceneExamples:
        return SceneExamples(
            scenes, mean=self.mean, std=self.std, augment=augment, device=device, notes=notes
        )

    def inputs(self) -> dict[str, Any]:
        """Channels, height and width of an image, and how its pixels are normalised."""
        return {
            "kind": self.kind,
            "channels": self.in_channels,
            "size": self.pool.size,
            "mean": self.mean,
            "std": self.std,
        }

    def train_on_all(self) -> None:
        """Take channel statistics and class weights from all images, not from the train part."""
        self._measure(self.pool)

    def _measure(self, scenes: Scenes) -> None:
        self.mean, self.std = statistics(scenes.pixels)
        counts = pixels_of(scenes.masks, len(self.classes))
        self._weights = class_weights(self._asked_weights, counts, self.classes)

    # -- the test part -----------------------------------------------------------------------

    def _test_examples(self, held: Scenes | SceneSource, device: torch.device) -> SceneExamples:
        where = f"the test part of {self.name!r}"
        if isinstance(held, SceneSource):
            held = held.read("test", self._size)
        held = held.with_channels(self._channels)
        require_shape(held, self.pool, where)
        shared = shared_groups(self.pool.groups, held.groups, "the test part")
        return self._examples(self.legend.counted(held, where), device, notes=tuple(shared))

    def check_test(self, *, open: bool) -> None:
        """Compare the first image of the test part with the training data; see `Task.check_test`.

        Raises:
            DataError: it has another shape, or an image has no mask.
        """
        held = self._test
        if not isinstance(held, SceneSource) or held.preview is None or not open:
            return
        which, shape = held.preview("test")
        if shape is None:
            return  # which is said when it is read
        high, wide = self.pool.size
        channels = self._channels if shape[0] == 1 and self._channels else shape[0]
        found = (channels, *((high, wide) if self._size is not None else shape[1:]))
        if found != (self.in_channels, high, wide):
            raise DataError(
                f"{which} has {shape[0]} channels and {shape[2]}x{shape[1]} pixels, the training "
                f"data {self.in_channels} and {wide}x{high}; accepted: test images like those of "
                "the training, or the options height and width"
            )

    # -- loss and metric ---------------------------------------------------------------------

    def loss(self, output: Tensor, y: Tensor, *, train: bool = False, each: bool = False) -> Tensor:
        """Cross entropy in nats of logits `[b, classes, h, w]` and targets `[b, h, w]`.

        The mean over all pixels of the batch that are not void, so that an image with much void
        weighs less than one without. With class weights each pixel's loss is multiplied by its
        class's and the mean is divided by the number of pixels, as in `LabelledTask.loss`.

        Args:
            output: of the network.
            y: targets.
            train: with class weights.
            each: the mean over the pixels of each image, `[b]`.
        """
        weights = self._weights if train else None
        if weights is not None and weights.device != output.device:
            weights = self._weights = weights.to(output.device)
        values = F.cross_entropy(output, y, weight=weights, ignore_index=VOID, reduction="none")
        counted = y != VOID
        if each:
            return values.sum((1, 2)) / counted.sum((1, 2)).clamp_min(1)
        return values.sum() / counted.sum().clamp_min(1)

    @property
    def criterion(self) -> Compare:
        """Cross entropy of all pixels that are not void."""
        return partial(F.cross_entropy, ignore_index=VOID)

    def units(self, y: Tensor) -> int:
        """Pixels that count."""
        return int((y != VOID).sum())

    def check_output(self, output: Any, batch: Batch, *, whose: str) -> tuple[str, ...]:
        """Refuse what is no map of scores for each image; see `Task.check_output`."""
        shape = list(output.shape) if isinstance(output, Tensor) else []
        wanted = [length_of(batch.x), len(self.classes), *batch.y.shape[1:]]
        more = shape[1] - wanted[1] if len(shape) == 4 else -1
        if more < 0 or [shape[0], *shape[2:]] != [wanted[0], *wanted[2:]]:
            raise SpaceError(
                f"{whose} gives {shapes(output)} for inputs {shapes(batch.x)}; accepted: "
                f"{self.accepted_output(batch)}"
            )
        if not more:
            return ()
        return (
            f"{whose} gives {shape[1]} scores for {wanted[1]} classes: {more} of them are for no "
            "class of the data, and wrong wherever they are largest",
        )

    def accepted_output(self, batch: Batch) -> str:
        """In words, what a network has to give for a batch."""
        wanted = [length_of(batch.x), len(self.classes), *batch.y.shape[1:]]
        return f"scores {wanted}, one for each example, class and pixel"

    def counts(self, output: Tensor, y: Tensor) -> Sums:
        """`confusion`: pixels by true class and largest logit, `[classes, classes + 1]`.

        Void is not counted. The last column is of pixels for which there is no class: their logits
        are not finite, or the largest is of a score beyond the classes.
        """
        k = len(self.classes)
        said = output.argmax(1).clamp_max(k)
        said = torch.where(output.isfinite().all(1), said, k)
        counted = y != VOID
        cells = torch.bincount((y * (k + 1) + said)[counted], minlength=k * (k + 1))
        return {"confusion": cells.view(k, k + 1).double()}

    def value(self, sums: Mapping[str, Tensor]) -> float:
        """The mean intersection over union in percent: over classes, of all pixels together.

        A class of which there is no pixel, neither true nor said, does not count.
        """
        confusion = sums["confusion"]
        hits = confusion[:, : len(confusion)].diagonal()
        union = confusion.sum(1) + confusion[:, : len(confusion)].sum(0) - hits
        present = union > 0
        return float(100.0 * (hits[present] / union[present]).mean()) if present.any() else 0.0

    def shown(
        self, forward: Callable[[Any], Any], part: str, *, device: torch.device | str = "cpu"
    ) -> Shown:
        """A few images, their masks over them, and over them again what the network says."""
        n, k = self.length(part), len(self.classes)
        rows = torch.linspace(0, n - 1, min(_SHOWN, n)).round().long()
        where = {"valid": "validation", "pool": "training", "train": "training"}[part]
        scenes = self.pool.take(self.rows(part)[rows])
        pictures = []
        for i, row in enumerate(rows.tolist()):
            batch = self.batch(part, rows[i : i + 1], device=device)
            with torch.no_grad():
                said = forward(batch.x).argmax(1)[0].cpu().numpy()
            image = scenes.pixels[i].permute(1, 2, 0).numpy()
            true = scenes.masks[i].numpy()
            right = (said == true)[true != VOID].mean() if (true != VOID).any() else 1.0
            row_of = [overlaid(image, mask, k) for mask in (np.full_like(true, VOID), true, said)]
            caption = f"{where} image {row}: {100 * right:.0f} % of the pixels are right"
            pictures.append(Picture(caption, side_by_side(row_of)))
        text = (
            f"{_SHOWN if n > _SHOWN else n} {where} images: as they are, with their masks, and "
            "with what the network says. Void stays without colour."
        )
        return Shown(text, tuple(pictures), tuple(swatches(self.classes)))

    # -- the record --------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """All that a report knows of the task: also its classes and the shape of an image."""
        return super().describe() | {
            "classes": list(self.classes),
            "in_channels": self.in_channels,
            "image_size": list(self.pool.size),
        }

    def prepared(self) -> list[str]:
        """What is done to images before a network sees them, a phrase each."""
        flip, crop = self.augment.flip, self.augment.crop
        said = [f"where they are trained on, up to {100 * crop:g} % of height and width cut away"]
        mirrored = ["where they are trained on, mirrored left to right at random"]
        return said * bool(crop) + mirrored * flip

    def remarks(self) -> list[str]:
        """What a user should know of the data, a sentence each."""
        said = [f"{note}" for note in self.pool.notes]
        counts = pixels_of(self.pool.masks, len(self.classes)).double()
        total = self.pool.masks.numel()
        void = 1 - float(counts.sum()) / total
        if void:
            said.append(f"{100 * void:.2g} % of the pixels are void and count for nothing")
        empty = [self.classes[i] for i in (counts == 0).nonzero().flatten().tolist()]
        if empty:
            said.append(f"there is no training pixel of the classes {', '.join(empty[:10])}")
        share = counts / counts.sum().clamp_min(1)
        first = int(share.argmax())
        alone = 100 * float(share[first]) / max(int((counts > 0).sum()), 1)
        said.append(
            f"{100 * float(share[first]):.3g} % of the other pixels are {self.classes[first]!r}: "
            f"a network that says nothing else has a mIoU of {alone:.2g} %"
        )
        return said + self.overlap()

    def contents(self) -> dict[str, Any]:
        """Numbers and digests of the images and masks as they were read; the test part closed."""
        whole = self.whole
        return {
            "images": len(whole),
            "shape": list(whole.pixels.shape[1:]),
            "classes": len(self.classes),
            "names": digest(name.encode() + b"\0" for name in self.classes),
            "masks": digest([raw(whole.masks)]),
            "pixels": digest([raw(whole.pixels)]),
            "split": self.split,
        }


def _located(data: str | os.PathLike[str]) -> tuple[str, SceneSource]:
    found = find(data)
    if found is None:
        raise DataError(
            f"data {os.fspath(data)!r} hold no images with masks; accepted: a folder `images` "
            "beside a folder `masks`, or parquet files with columns of images and of masks"
        )
    return found.name, found
