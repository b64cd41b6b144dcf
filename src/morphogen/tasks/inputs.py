"""What a trained network can be run on: files and arrays of a kind of data, as its inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

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
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the scores."""

    @property
    def size(self) -> int | tuple[int, ...]:
        """Along each of its other axes; several where they differ."""

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
    def preparation(self) -> Mapping[str, Any] | None:
        """What else is needed to make and to read tokens: vocabularies."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one input."""


class Answer(Protocol):
    """What a network says of one input."""

    def line(self, top: int) -> str:
        """For the terminal: the `top` likeliest or largest classes."""

    def plain(self) -> dict[str, Any]:
        """As JSON."""

    def file(self) -> tuple[str, bytes] | None:
        """What is best seen as a file, ending and content: a mask as `.png`; None: nothing is."""


class Inputs(Protocol):
    """Reading and preparing of inputs of one kind, and what networks say of them."""

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
    what: str
    """A network for them, in a word: classifier."""
    labelled: str
    """What of an input gets a class, if it is not the whole of it: pixel."""
    answer: str
    """Attribute of an `Answer` that shows what it is."""

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

    def outputs(self, signature: Prepared) -> tuple[int, ...]:
        """The shape of what a network gives for one input."""

    def answers(
        self, scores: Tensor, items: Sequence[Any], signature: Prepared
    ) -> Sequence[Answer]:
        """What a network says of each input.

        Args:
            scores: `[n, ...]`, its finite outputs.
            items: the n inputs, as `prepared` took them.
            signature: of the network.
        """

    def shape(self, signature: Prepared) -> str:
        """What one input is, in a few words."""

    def described(self, signature: Prepared) -> str:
        """How inputs are prepared, for the model card."""


@runtime_checkable
class Asking(Inputs, Protocol):
    """Inputs for which a network is run again and again, each time with what it has said before."""

    def stacked(self, ready: Sequence[Tensor]) -> Tensor:
        """Inputs as `prepared` gives them, in one tensor."""

    def asked(
        self, net: Callable[..., Any], inputs: Tensor, signature: Prepared
    ) -> Sequence[Answer]:
        """What a network says of each input.

        Args:
            net: a module, or what gives a network's outputs for the inputs of a batch.
            inputs: of `stacked`.
            signature: of the network.
        """
