"""Inputs of networks for tasks of a user's own: tensors, or tuples and dicts of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from morphogen.core import DataError
from morphogen.core.ranges import Range
from morphogen.tasks.inputs import Answer, Failed, Named, Prepared


class Tensors:
    """Batches as the task made them; see `tasks.inputs.Inputs`."""

    one = "example"
    axes, array = 0, "of tensors"
    accepted = "no files, but tensors as the task makes them, in Python"
    sizes, unit = Range(1, 1), ""
    word, python = "", ("", "x")
    what, labelled, answer = "network", "", ""

    def expanded(
        self, word: str, signature: Prepared, passed: list[str], failed: list[Failed]
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

    def several(self, given: Any, signature: Prepared) -> Sequence[Any]:
        """Refused: what a batch is made of is the task's."""
        raise DataError(
            "the network is of a task of yours, which alone knows how inputs are made; accepted: "
            f"model(x) with a batch of {shown(signature)}"
        )

    def prepared(self, item: Any, signature: Prepared) -> Tensor:
        """Refused likewise."""
        self.several([item], signature)
        raise AssertionError

    def examples(self, task: Any, rows: Tensor, signature: Prepared) -> Any:
        """Examples of the search parts, as training sees them but for augmentation."""
        return task.batch("pool", rows).x

    def outputs(self, signature: Prepared) -> tuple[int, ...]:
        """Known to the task alone."""
        return ()

    def answers(
        self, scores: Tensor, items: Sequence[Any], signature: Prepared
    ) -> Sequence[Answer]:
        """None: inputs are refused."""
        return ()

    def shape(self, signature: Prepared) -> str:
        """What one input is."""
        return f"inputs {signature.example}"

    def described(self, signature: Prepared) -> str:
        """What a batch is, for the model card."""
        return (
            f"A batch of tensors `{shown(signature)}`, each with the examples along one more axis "
            "before these; several are passed as they stand here, by place or by name. They are "
            "made as the data set and `collate` of the training make them."
        )


def shown(signature: Prepared) -> str:
    """What one input is, in a line."""
    return json.dumps(signature.example).replace('"', "")
