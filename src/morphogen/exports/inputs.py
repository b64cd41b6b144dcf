"""What networks can be run on, by the kind of their inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from torch import Tensor

from morphogen.core import DataError
from morphogen.runs.weights import Signature


@dataclass(frozen=True)
class Named:
    """An input as the user will know it: by its path, or its file and row."""

    name: str
    item: Any
    """What `prepared` takes."""


Failed = tuple[str, DataError]
"""What cannot be read, and why."""


class Inputs(Protocol):
    """Reading and preparing of inputs of one kind."""

    one: str
    """An input in a word: image."""
    axes: int
    """Of an array of one input."""
    array: str
    """The shape of an array of several, in words."""
    accepted: str
    """Of what files inputs are read, for messages."""

    def expanded(
        self, word: str, signature: Signature, passed: list[str], failed: list[Failed]
    ) -> Iterator[Named]:
        """The inputs that a word of the command line stands for.

        Args:
            word: a file or folder.
            signature: of the network.
            passed: a sentence is added on what is not read, if anything.
            failed: what should be read and cannot is added here.
        """

    def several(self, given: Any, signature: Signature) -> Sequence[Any]:
        """A list of inputs of a list or an array; a `DataError` if it is neither."""

    def prepared(self, item: Any, signature: Signature) -> Tensor:
        """One input as the network takes it, float32 `[1, ...]`, or a `DataError`."""

    def examples(self, task: Any, rows: Tensor, signature: Signature) -> Any:
        """Training examples of a task, prepared as the network takes them."""

    def described(self, signature: Signature) -> str:
        """How inputs are prepared, for the model card."""


_INPUTS = {
    "images": ("pictures", "Pictures"),
    "signals": ("series", "Series"),
    "tensors": ("tensors", "Tensors"),
}


def inputs_of(signature: Signature) -> Inputs:
    """How a network's inputs are read and prepared."""
    module, name = _INPUTS[signature.kind]
    made: Inputs = getattr(import_module(f"morphogen.exports.{module}"), name)()
    return made
