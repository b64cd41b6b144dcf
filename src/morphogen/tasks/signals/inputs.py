"""What a prediction of signals can be made of: arrays, and .npy and .npz files of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core import DataError, ranges
from morphogen.core.names import brief
from morphogen.tasks.inputs import Failed, Named, Prepared
from morphogen.tasks.labelled.answers import Classified
from morphogen.tasks.readers.files import required
from morphogen.tasks.signals.data import checked_values, normalised
from morphogen.tasks.signals.readers import unlabelled

FILES = ".npy and .npz files of signals [n, channels, time]"


class SignalInputs(Classified):
    """Signals as inputs of a network; see `tasks.inputs.Inputs`."""

    one = "signal"
    axes, array = 2, "[n, channels, time]"
    accepted = FILES
    sizes, unit = ranges.LENGTH, "points"
    word = "SIGNALS.npz"
    python = ("import numpy\n\nsignals = numpy.load('signals.npz')['x']", "signals")

    def expanded(
        self, word: str, signature: Prepared, passed: list[str], failed: list[Failed]
    ) -> Iterator[Named]:
        """The signals of an .npy or .npz file, by row."""
        try:
            path = Path(word)
            required(path, FILES)
            if path.suffix.lower() not in (".npy", ".npz"):
                raise DataError(f"file {word!r} is no file of signals; accepted: {FILES}")
            for row, signal in enumerate(self.several(unlabelled(path), signature)):
                yield Named(f"{word}[{row}]", signal)
        except DataError as error:
            failed.append((word, error))

    def several(self, given: Any, signature: Prepared) -> Sequence[Any]:
        """An array of signals as a list of them; a list as it is."""
        if not isinstance(given, np.ndarray):
            return list(given)
        alone = (given.ndim == 2 and signature.channels > 1) or given.ndim == 1
        return [given] if alone else list(given)

    def prepared(self, item: Any, signature: Prepared) -> Tensor:
        """Float32 `[1, channels, time]` of an array `[channels, time]`, or `[time]` of one channel.

        Raises:
            DataError: it is no array of finite numbers, or of another shape than the network's.
        """
        if isinstance(item, str | os.PathLike):
            raise DataError(f"a signal is the path {brief(item)}; accepted: arrays, or {FILES}")
        array: NDArray[Any] = np.asarray(item)
        array = array[None] if array.ndim == 1 else array
        if array.shape != signature.input_shape:
            raise DataError(
                f"a signal is {list(array.shape)}; accepted by this network: "
                f"{list(signature.input_shape)}, channels and points of time"
            )
        values = checked_values(array[None], "a signal")
        return normalised(values, signature.mean, signature.std)

    def examples(self, task: Any, rows: Tensor, signature: Prepared) -> Tensor:
        """Training signals, prepared as the network takes them."""
        return normalised(task.pool.take(rows).values, signature.mean, signature.std)

    def shape(self, signature: Prepared) -> str:
        """Points of time."""
        return f"{signature.input_shape[-1]} points"

    def described(self, signature: Prepared) -> str:
        """How inputs are prepared, for the model card."""
        mean, std = (", ".join(f"{v:.6g}" for v in f) for f in (signature.mean, signature.std))
        channels, time = signature.input_shape
        return (
            f"float32 `[batch, {channels}, {time}]`, channels and points of time: "
            f"`(value - mean) / std` with mean {mean} and std {std} per channel. `morphogen "
            "predict` and `morphogen.load` do this: the figures are stored in the file."
        )
