"""What a user should know of the training data before believing an accuracy on them."""

from __future__ import annotations

import torch

from morphogen.tasks.labelled.data import Labelled
from morphogen.tasks.labelled.names import few

UNBALANCED = 2.0
"""The largest class has at least so many times the examples of the smallest."""


def remarks(data: Labelled) -> list[str]:
    """A sentence for each thing that is unusual: how they were read, what classes they are of."""
    counts = torch.bincount(data.labels, minlength=len(data.classes)).tolist()
    named = dict(zip(data.classes, counts, strict=True))
    said = list(data.notes)
    absent = [repr(name) for name, count in named.items() if count == 0]
    if absent:
        said.append(
            f"the training data have no {data.unit[:-1]} of class {few(absent)}, which will never "
            "be predicted"
        )
    present = {name: count for name, count in named.items() if count}
    most, least = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
    if present[most] >= UNBALANCED * present[least]:
        usual = 100 * present[most] / len(data)
        said.append(
            f"the classes are unbalanced, {most!r} with {present[most]:,} training {data.unit} and "
            f"{least!r} with {present[least]:,}: every part keeps these shares, and always saying "
            f"{most!r} would be right for {usual:.1f} % of them"
        )
    return said
