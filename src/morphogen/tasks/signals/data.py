"""Signals in memory: one float tensor [n, channels, time], one label tensor, the class names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.core.memory import too_much
from morphogen.tasks.labelled.data import Labelled
from morphogen.tasks.labelled.groups import Groups
from morphogen.tasks.labelled.labels import Labels
from morphogen.tasks.parts import PARTS

_EXACT = 2**24
"""Whole numbers up to this are float32."""


@dataclass(frozen=True, eq=False)
class Signals(Labelled):
    """Labelled signals.

    Attributes:
        values: float32 or float64 `[n, channels, time]`, as they were read.
        labels: int64 `[n]`, indexes into `classes`.
        classes: the name of every class; its number where the data set has no names.
        named: whether `classes` are names that the data set gives.
        notes: what a user should know of how they were read, a sentence each without full stop.
        groups: the name of each row's group (subject, recording) `[n]`, if they have any.
    """

    unit: ClassVar[str] = "signals"

    values: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    named: bool = True
    notes: tuple[str, ...] = ()
    groups: Groups | None = None

    def __post_init__(self) -> None:
        x = self.values
        if x.dtype not in (torch.float32, torch.float64) or x.ndim != 3 or 0 in x.shape:
            raise DataError(
                f"signals are {list(x.shape)} of {x.dtype}; accepted: a non-empty float tensor "
                "[signals, channels, time]"
            )
        self.require_labels(len(x))

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.values.shape[1]

    @property
    def length(self) -> int:
        """Points of time."""
        return self.values.shape[2]

    def take(self, index: Tensor) -> Signals:
        """The signals at `index` (int64 `[m]`), in that order, copied."""
        values = self.values.index_select(0, index)
        return replace(self, values=values, **self.rows_of(index))

    def aligned(self, to: Signals, where: str) -> Signals:
        """The same signals with labels counted in the classes of others; see `names.places`.

        Raises:
            DataError: a class of these signals is not among theirs, or their shape is another.
        """
        if self.values.shape[1:] != to.values.shape[1:]:
            raise DataError(
                f"{where} has signals {list(self.values.shape[1:])}, the training data "
                f"{list(to.values.shape[1:])}; accepted: one shape [channels, time]"
            )
        return super().aligned(to, where)


def statistics(values: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of `[n, channels, time]`, in float64.

    A channel of one single value has the deviation 1, so that it can be divided by.
    """
    means, stds = [], []
    for channel in values.unbind(1):
        x = channel.double()
        mean = x.mean()
        std = float((x - mean).square_().mean().sqrt())
        means.append(float(mean))
        # What is left of one value by rounding is no spread.
        stds.append(std if std > 1e-12 * abs(float(mean)) else 1.0)
    return tuple(means), tuple(stds)


def normalised(values: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """`(values - mean) / std` per channel: float32 `[n, channels, time]`, computed in float64."""
    m, s = (torch.tensor(v, dtype=torch.float64)[:, None] for v in (mean, std))
    out = torch.empty(values.shape, dtype=torch.float32)
    for start in range(0, len(values), 1024):
        out[start : start + 1024] = (values[start : start + 1024].double() - m) / s
    return out


def checked_values(x: NDArray[Any], where: str) -> Tensor:
    """Signals `[n, channels, time]` of an array `[n, time]` or `[n, channels, time]`.

    Raises:
        DataError: it is of another shape, holds no real numbers, or one that is not finite.
    """
    if x.ndim not in (2, 3) or 0 in x.shape:
        raise DataError(
            f"{where} has signals of shape {list(x.shape)}; accepted: [signals, channels, time], "
            "or [signals, time] of one channel"
        )
    if x.dtype.kind not in "biuf":
        raise DataError(f"{where} has signals of type {x.dtype}; accepted: integers or floats")
    wrong = too_much(3 * x.size * 8)
    if wrong:
        raise DataError(f"{len(x):,} signals {list(x.shape[1:])} take {wrong}; accepted: fewer")
    if x.dtype.kind == "f":
        odd = ~np.isfinite(x)
        if odd.any():
            row = int(np.argwhere(odd)[0][0])
            what = "a NaN (no number)" if np.isnan(x[row]).any() else "an infinite value"
            rows = int(odd.reshape(len(x), -1).any(1).sum())
            raise DataError(
                f"{where} has {what} in row {row}, and {rows:,} such row{'s'[: rows != 1]} in all; "
                "accepted: finite numbers (fill gaps, or leave such rows out)"
            )
    small = x.dtype in (np.float16, np.float32) or (
        x.dtype.kind in "biu" and max(abs(int(x.min())), abs(int(x.max()))) <= _EXACT
    )
    values = np.ascontiguousarray(x if x.ndim == 3 else x[:, None])
    dtype = np.float32 if small else np.float64
    # Finite values of a wider type than float64 may not stay finite.
    return torch.from_numpy(values.astype(dtype))


class Preview(NamedTuple):
    """What is known of a part without its signals."""

    labels: Labels
    shape: tuple[int, int]
    """Channels and points of time."""


@dataclass(frozen=True)
class SignalSource:
    """A data set that was found but not read.

    Attributes:
        name: what the user called it, for messages.
        parts: those it has, of `PARTS`.
        reader: `reader(part)` reads one part. A module-level function or a `partial` of one, so
            that a task can be sent to another process.
        notes: what a user should know of what was found, a sentence each without full stop.
        preview: `preview(part)` says what is known of a part by labels and headers alone.
    """

    name: str
    parts: tuple[str, ...]
    reader: Callable[[str], Signals]
    notes: tuple[str, ...] = ()
    preview: Callable[[str], Preview] | None = None

    def read(self, part: str) -> Signals:
        """Read one part.

        Raises:
            DataError: there is no such part, its files cannot be read, or it is of one class.
        """
        if part not in self.parts or part not in PARTS:
            raise DataError(
                f"data {self.name!r} has no {part} part, only {' and '.join(self.parts)}; "
                f"accepted: a file that holds {part} data, too"
            )
        signals = self.reader(part)
        if part == "train":
            signals = replace(signals, notes=(*self.notes, *signals.notes))
            present = torch.unique(signals.labels)
            if len(present) < 2:
                raise DataError(
                    f"the train part of {self.name!r} has signals of one class only, "
                    f"{signals.classes[int(present[0])]!r}; accepted: two classes or more"
                )
        return signals
