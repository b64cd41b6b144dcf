"""A trained network with all that is needed to use it: preprocessing, class names."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from morphogen.core import DataError
from morphogen.core.names import shown
from morphogen.exports.inputs import inputs_of
from morphogen.runs.weights import Signature
from morphogen.supernets.nested import call
from morphogen.tasks.inputs import Answer, Asking

BATCH, VALUES = 64, 2**26
"""Inputs that go through the network at once, at most, and numbers in them."""


class Model:
    """A network as `load` returns it.

    Args:
        run: from inputs as `preprocess` gives them to scores, as `[n, classes]`.
        signature: what the network takes and gives, and where it is from.
        path: the file.
    """

    def __init__(self, run: Callable[..., Any], signature: Signature, path: Path) -> None:
        self._run = partial(call, run) if isinstance(run, nn.Module) else run
        self._net = run
        self.signature, self.path = signature, path
        self._inputs = inputs_of(signature)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the scores."""
        return self.signature.classes

    def __call__(self, x: Any) -> Any:
        """Scores of inputs as `preprocess` gives them: `[n, classes]`, or a map of them of each.

        Of a network for a task of your own: its output for a batch as the task makes them.
        """
        with torch.no_grad():
            return self._run(x)

    def preprocess(self, inputs: Sequence[Any]) -> Tensor:
        """Float32 `[n, ...]`, made as in the training: see `signature.input_shape`.

        Images: colour becomes grey, or grey colour, where the network needs it; each is resized to
        the network's size, its aspect ratio not kept. All are normalised.

        Args:
            inputs: image files or uint8 arrays `[height, width]` or `[height, width, channels]`;
                signals as arrays `[channels, time]`.

        Raises:
            DataError: one is no such input.
        """
        ready = [self._inputs.prepared(one, self.signature) for one in inputs]
        if isinstance(self._inputs, Asking):
            return self._inputs.stacked(ready)
        return torch.cat(ready) if ready else torch.empty(0, *self.signature.input_shape)

    def predict(self, inputs: Sequence[Any]) -> list[Any]:
        """What the network says of each input: a `Prediction`, of a segmenter a `Mask`.

        Args:
            inputs: a list as `preprocess` takes it; or an array of n images
                `[n, height, width, channels]` or n signals `[n, channels, time]`.

        Raises:
            DataError: see `preprocess`.
        """
        found = []
        for answer in self.answers(inputs):
            if isinstance(answer, DataError):
                raise answer
            found.append(answer)
        return found

    def answers(self, inputs: Iterable[Any]) -> Iterator[Answer | DataError]:
        """For each input, in their order, what `predict` says of it, or why nothing can be said.

        Only a batch of inputs is held at a time.

        Raises:
            DataError: `inputs` is not several, or the network itself is damaged.
        """
        rest = iter(self._several(inputs))
        size = math.prod(self.signature.input_shape)
        while batch := list(islice(rest, max(1, min(BATCH, VALUES // size)))):
            ready = [self._ready(one) for one in batch]
            read = [(x, one) for x, one in zip(ready, batch, strict=True) if isinstance(x, Tensor)]
            said = iter(self._said(*zip(*read, strict=True)) if read else ())
            for x in ready:
                yield x if isinstance(x, DataError) else next(said)

    def _several(self, inputs: Any) -> Iterable[Any]:
        kind = self.signature.kind
        if isinstance(inputs, np.ndarray):
            if inputs.ndim != 1 + self._inputs.axes:
                raise DataError(
                    f"{kind} is an array {list(inputs.shape)}; accepted: a list of {kind}, such as "
                    f"[{self._inputs.one}], or one array {self._inputs.array}"
                )
        elif isinstance(inputs, str | os.PathLike) or not isinstance(inputs, Iterable):
            one = self._inputs.one
            raise DataError(f"{kind} is {inputs!r}; accepted: a list of {kind}, such as [{one}]")
        several: Iterable[Any] = inputs
        return several

    def _ready(self, one: Any) -> Tensor | DataError:
        try:
            return self._inputs.prepared(one, self.signature)
        except DataError as error:
            return error

    def _said(self, ready: Sequence[Tensor], items: Sequence[Any]) -> Sequence[Answer]:
        if isinstance(self._inputs, Asking):
            return self._inputs.asked(self._net, self._inputs.stacked(ready), self.signature)
        scores: Tensor = self(torch.cat([*ready]))
        if not bool(scores.isfinite().all()):
            raise DataError(
                f"{self.path} gives scores that are not finite; accepted: a network whose weights "
                "are numbers"
            )
        return self._inputs.answers(scores, items, self.signature)

    def __repr__(self) -> str:
        s = self.signature
        return shown(f"<Model {self.path}: {s.architecture} of {s.space_name}, {self._size()}>")

    def _size(self) -> str:
        s = self.signature
        size = self._inputs.shape(s)
        if s.structured:
            return size
        channels = f"{s.channels} channel{'s'[: s.channels != 1]}"
        return f"{size}, {channels}, {len(s.classes)} classes"
