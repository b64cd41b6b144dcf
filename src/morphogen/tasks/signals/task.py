"""Classification of signals: data in two search parts and a closed test part."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.tasks.batches import Batch, Examples
from morphogen.tasks.cut import Cut, Parts
from morphogen.tasks.digests import digest, raw
from morphogen.tasks.labelled.groups import joined_groups, shared_groups
from morphogen.tasks.labelled.names import places
from morphogen.tasks.labelled.split import parts_of
from morphogen.tasks.labelled.task import LabelledTask
from morphogen.tasks.labelled.weighting import ClassWeights
from morphogen.tasks.signals.augment import PLAIN, SignalAugment
from morphogen.tasks.signals.data import Signals, SignalSource, normalised, statistics
from morphogen.tasks.signals.readers import find

Data = str | os.PathLike[str] | Signals
"""What signals can be given as: a path, or signals in memory."""


class SignalExamples(Examples):
    """Normalised signals on a device, of which batches are made.

    Batches are float32 `[b, channels, time]`; labels int64 `[b]`.

    Args:
        signals: the part.
        mean: per channel.
        std: likewise.
        augment: what is done to them where there is a generator to draw from.
        device: where the signals lie and batches are made.
        notes: beside those of the signals.
    """

    def __init__(
        self,
        signals: Signals,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        augment: SignalAugment = PLAIN,
        device: torch.device | str = "cpu",
        notes: tuple[str, ...] = (),
    ) -> None:
        self.signals, self.augment, self.notes = signals, augment, (*signals.notes, *notes)
        self._values = normalised(signals.values, mean, std).to(device)
        self._labels = signals.labels.to(device)

    def __len__(self) -> int:
        return len(self.signals)

    def batch(
        self,
        rows: Tensor,
        *,
        mine: slice = slice(None),
        generator: torch.Generator | None = None,
    ) -> Batch:
        """The signals of `rows[mine]`, augmented if there is a generator."""
        index = rows[mine].to(self._values.device, non_blocking=True)
        x = self._values.index_select(0, index)
        if generator is not None:
            x = self.augment.apply(x, mine, len(rows), generator)
        return Batch(x, self._labels.index_select(0, index), len(index))


class SignalTask(LabelledTask[Signals]):
    """Classification of signals, made by `SignalTask.of`.

    Attributes:
        whole: all training signals.
        pool: those of them that are in `train` or `valid`.
        mean: per channel of the train part.
        std: likewise.
        augment: what training batches undergo.
    """

    kind = "signals"
    changes: ClassVar[Mapping[str, str]] = {
        "signals": "{} signals then, {} now",
        "shape": "signals {} then, {} now",
        "classes": "{} classes then, {} now",
        "names": "other names of classes",
        "labels": "other labels",
        "values": "other values",
        "split": "other rows in the search parts",
    }

    def __init__(
        self,
        name: str,
        whole: Signals,
        parts: Parts,
        *,
        test: Signals | SignalSource | None = None,
        augment: SignalAugment = PLAIN,
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
        self.mean, self.std = statistics(self.train.values)

    @classmethod
    def of(
        cls,
        data: Data,
        *,
        train_images: int | float | None = None,
        valid_images: int | float | None = None,
        at_most: Collection[str] = (),
        held_out: float | None = None,
        channels: int | None = None,
        seed: int = 0,
        augment: SignalAugment = PLAIN,
        class_weights: ClassWeights = "none",
        label_smoothing: float = 0.0,
    ) -> SignalTask:
        """Read the training signals and cut the search parts from them; see `ImageTask.of`.

        Raises:
            DataError: the data are missing, damaged, too few, or cannot be split.
            ConfigError: an option is out of range.
        """
        name, source = ("signals", data) if isinstance(data, Signals) else _located(data)
        pool = source if isinstance(source, Signals) else source.read("train")
        if channels is not None and channels != pool.channels:
            raise DataError(
                f"data {name!r} have {pool.channels} channels; accepted: {channels}, those of the "
                "network"
            )
        parts = () if isinstance(source, Signals) else source.parts
        first = None
        if isinstance(source, SignalSource) and "valid" in parts:
            valid = source.read("valid").aligned(pool, f"the search-validation part of {name!r}")
            first, pool = len(pool), joined(pool, valid)
        cut = Cut(train_images, valid_images, at_most, held_out, seed=seed)
        return cls(
            name,
            pool,
            parts_of(pool, cut, first),
            test=source if isinstance(source, SignalSource) and "test" in parts else None,
            augment=augment,
            class_weights=class_weights,
            label_smoothing=label_smoothing,
        )

    # -- data --------------------------------------------------------------------------------

    @property
    def in_channels(self) -> int:
        """Channels of a signal."""
        return self.pool.channels

    @property
    def signal_length(self) -> int:
        """Points of time of a signal."""
        return self.pool.length

    def examples(
        self, part: str, *, device: torch.device | str = "cpu", augmented: bool = False
    ) -> SignalExamples:
        """A part, from which batches can be made; see `Task.examples`."""
        return self._examples(self.part(part), device, self.augment if augmented else PLAIN)

    def _examples(
        self,
        signals: Signals,
        device: torch.device | str,
        augment: SignalAugment = PLAIN,
        notes: tuple[str, ...] = (),
    ) -> SignalExamples:
        return SignalExamples(
            signals, mean=self.mean, std=self.std, augment=augment, device=device, notes=notes
        )

    def inputs(self) -> dict[str, Any]:
        """Channels and length of a signal, and how its values are normalised."""
        return {
            "kind": self.kind,
            "channels": self.in_channels,
            "size": self.signal_length,
            "mean": self.mean,
            "std": self.std,
        }

    def train_on_all(self) -> None:
        """Take channel statistics and class weights from all signals, not from the train part."""
        super().train_on_all()
        self.mean, self.std = statistics(self.pool.values)

    # -- the test part -----------------------------------------------------------------------

    def _test_examples(self, held: Signals | SignalSource, device: torch.device) -> SignalExamples:
        if isinstance(held, SignalSource):
            held = held.read("test")
        shared = shared_groups(self.pool.groups, held.groups, "the test part")
        held = held.aligned(self.pool, f"the test part of {self.name!r}")
        return self._examples(held, device, notes=tuple(shared))

    def check_test(self, *, open: bool) -> None:
        """Compare labels and shape of the test part with the training data; see `Task.check_test`.

        Raises:
            DataError: it has a class that the training data has not, or signals of another shape.
        """
        held, where = self._test, f"the test part of {self.name!r}"
        if isinstance(held, Signals):
            held.aligned(self.pool, where)
        if not isinstance(held, SignalSource) or held.preview is None or not open:
            return
        labels, shape = held.preview("test")
        expected = (self.in_channels, self.signal_length)
        if shape != expected:
            raise DataError(
                f"{where} has signals {list(shape)}, the training data {list(expected)}; accepted: "
                "one shape [channels, time]"
            )
        places(
            labels.classes,
            self.classes,
            named=labels.named,
            by_name=self.pool.named,
            present=torch.unique(labels.indexes).tolist(),
            where=where,
        )

    # -- the record --------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """All that a report knows of the task: also the shape of a signal."""
        return super().describe() | {
            "in_channels": self.in_channels,
            "signal_length": self.signal_length,
        }

    def prepared(self) -> list[str]:
        """What is done to signals before a network sees them, a phrase each."""
        gain, noise = self.augment.scaling, self.augment.jitter
        said = [f"where they are trained on, each channel scaled by a random gain ({gain:g})"]
        noisy = [f"where they are trained on, noise of {noise:g} deviations added"]
        return said * bool(gain) + noisy * bool(noise)

    def contents(self) -> dict[str, Any]:
        """Numbers and digests of the signals as they were read; the test part stays closed."""
        whole = self.whole
        return {
            "signals": len(whole),
            "shape": list(whole.values.shape[1:]),
            "classes": len(whole.classes),
            "names": digest(name.encode() + b"\0" for name in whole.classes),
            "labels": digest([raw(whole.labels)]),
            "values": digest([raw(whole.values)]),
            "split": self.split,
        }


def joined(train: Signals, valid: Signals) -> Signals:
    """Both in one; `valid` is aligned to `train` already."""
    dtype = torch.promote_types(train.values.dtype, valid.values.dtype)
    return replace(
        train,
        values=torch.cat([train.values.to(dtype), valid.values.to(dtype)]),
        labels=torch.cat([train.labels, valid.labels]),
        notes=(*train.notes, *valid.notes),
        groups=joined_groups(train.groups, valid.groups),
    )


def _located(data: str | os.PathLike[str]) -> tuple[str, SignalSource]:
    path = Path(data)
    found = find(path)
    if found is None:
        raise DataError(
            f"data {str(path)!r} holds no signals; accepted: an .npz or parquet file of signals "
            "[n, channels, time] and labels"
        )
    return os.fspath(data), replace(found, name=os.fspath(data))
