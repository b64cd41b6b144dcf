"""Examples as the cut of the parts sees them where there are no classes: all alike, in groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from morphogen.tasks.labelled.data import Labelled
from morphogen.tasks.labelled.groups import Groups


@dataclass(frozen=True, eq=False)
class Rows(Labelled):
    """Images whose targets are of many classes each, such as masks."""

    unit: ClassVar[str] = "images"

    labels: Tensor
    classes: tuple[str, ...] = ("any",)
    named: bool = False
    notes: tuple[str, ...] = ()
    groups: Groups | None = None

    @classmethod
    def alike(cls, count: int, groups: Groups | None) -> Self:
        """So many of them."""
        return cls(torch.zeros(count, dtype=torch.int64), groups=groups)

    def take(self, index: Tensor) -> Self:
        """The rows at `index`, in that order."""
        return replace(self, **self.rows_of(index))
