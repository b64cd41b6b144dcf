"""What a trained network can be run on: files and arrays of a kind of data, as its inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from morphogen.core import DataError
from morphogen.core.ranges import Range


@dataclass(frozen=True)
class Named:
    """An input as the user will know it: by its path, or its file and row."""

    name: str
    item: Any
    """What `prepared` takes."""


Failed = tuple[str, DataError]
"""What cannot be read, and why."""


class Prepared(Protocol):
    """What the inputs of a trained network are, as its file says (`runs.weights.Signature`)."""

    @property
    def channels(self) -> int:
        """Of an input."""

    @property
    def size(self) -> int:
        """Along each of its other axes."""

    @property
    def mean(self) -> tuple[float, ...]:
        """Of each channel, of the training data."""

    @property
    def std(self) -> tuple[float, ...]:
        """Likewise."""

    @property
    def example(self) -> Any:
        """Of a task of one's own: what one input is, as `supernets.nested.described` writes it."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one input."""


class Inputs(Protocol):
    """Reading and preparing of inputs of one kind."""

    one: str
    """An input in a word: image."""
    axes: int
    """Of an array of one input: channels and the others."""
    array: str
    """The shape of an array of several, in words."""
    accepted: str
    """Of what files inputs are read, for messages."""
    sizes: Range
    """What `Prepared.size` can be."""
    unit: str
    """Of sizes: pixels."""
    word: str
    """Inputs on the command line, for examples: IMAGE..."""
    python: tuple[str, str]
    """Likewise in Python: lines that come before, and what `predict` takes."""

    def expanded(
        self, word: str, signature: Prepared, passed: list[str], failed: list[Failed]
    ) -> Iterator[Named]:
        """The inputs that a word of the command line stands for.

        Args:
            word: a file or folder.
            signature: of the network.
            passed: a sentence is added on what is not read, if anything.
            failed: what should be read and cannot is added here.
        """

    def several(self, given: Any, signature: Prepared) -> Sequence[Any]:
        """A list of inputs of a list or an array; a `DataError` if it is neither."""

    def prepared(self, item: Any, signature: Prepared) -> Tensor:
        """One input as the network takes it, float32 `[1, ...]`, or a `DataError`."""

    def examples(self, task: Any, rows: Tensor, signature: Prepared) -> Any:
        """Training examples of a task, prepared as the network takes them."""

    def shape(self, signature: Prepared) -> str:
        """What one input is, in a few words."""

    def described(self, signature: Prepared) -> str:
        """How inputs are prepared, for the model card."""
