"""Inputs of networks for tasks of a user's own: tensors, or tuples and dicts of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from morphogen.core import DataError
from morphogen.exports.inputs import Failed, Named
from morphogen.runs.weights import Signature


class Tensors:
    """Batches as the task made them; see `inputs.Inputs`."""

    one = "example"
    axes, array = 0, "of tensors"
    accepted = "no files, but tensors as the task makes them, in Python"

    def expanded(
        self, word: str, signature: Signature, passed: list[str], failed: list[Failed]
    ) -> Iterator[Named]:
        """No file has such inputs."""
        failed.append(
            (
                word,
                DataError(
                    f"file {word!r} is no input: the network is of a task that alone knows how "
                    "inputs are made; accepted: morphogen.load in Python, and model(x)"
                ),
            )
        )
        return iter(())

    def several(self, given: Any, signature: Signature) -> Sequence[Any]:
        """Refused: what a batch is made of is the task's."""
        raise DataError(
            "the network is of a task of yours, which alone knows how inputs are made; accepted: "
            f"model(x) with a batch of {shown(signature)}"
        )

    def prepared(self, item: Any, signature: Signature) -> Tensor:
        """Refused likewise."""
        self.several([item], signature)
        raise AssertionError

    def examples(self, task: Any, rows: Tensor, signature: Signature) -> Any:
        """Examples of the search parts, as training sees them but for augmentation."""
        return task.batch("pool", rows).x

    def described(self, signature: Signature) -> str:
        """What a batch is, for the model card."""
        return (
            f"A batch of tensors `{shown(signature)}`, each with the examples along one more axis "
            "before these; several are passed as they stand here, by place or by name. They are "
            "made as the data set and `collate` of the training make them."
        )


def shown(signature: Signature) -> str:
    """What one input is, in a line."""
    return json.dumps(signature.example).replace('"', "")
