"""What images, signals and other examples of classes in memory have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.tasks.labelled.groups import Groups
from morphogen.tasks.labelled.names import places, require_names


class Labelled(ABC):
    """Examples in memory, each of one class; a frozen dataclass derives from it.

    Attributes:
        labels: int64 `[n]`, indexes into `classes`.
        classes: the name of every class; its number where the data set has no names.
        named: whether `classes` are names that the data set gives.
        notes: what a user should know of how they were read, a sentence each without full stop.
        groups: the name of each row's group (subject, recording), if they have any.
    """

    unit: ClassVar[str]
    """What there are several of, in words: images."""

    labels: Tensor
    classes: tuple[str, ...]
    named: bool
    notes: tuple[str, ...]
    groups: Groups | None

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def take(self, index: Tensor) -> Self:
        """The examples at `index` (int64 `[m]`), in that order, copied."""

    def rows_of(self, index: Tensor) -> dict[str, Any]:
        """Labels and groups of `take`."""
        groups = None if self.groups is None else self.groups[index.numpy()]
        return {"labels": self.labels.index_select(0, index), "groups": groups}

    def require_labels(self, count: int) -> None:
        """Refuse labels, names or groups that are not those of `count` examples.

        Raises:
            DataError: labels are not one index into the classes for each, names of classes are not
                each another, or groups are not one for each.
        """
        y = self.labels
        if y.dtype != torch.int64 or y.shape != (count,):
            shape = "x".join(map(str, y.shape)) or "a scalar"
            raise DataError(
                f"labels are {shape} of {y.dtype} for {count} {self.unit}; accepted: one int64 each"
            )
        low, high = int(y.min()), int(y.max())
        if low < 0 or high >= len(self.classes):
            raise DataError(
                f"labels run from {low} to {high}; accepted: 0 to {len(self.classes) - 1}, "
                "an index into the classes"
            )
        if self.named:
            require_names(self.classes, f"the {self.unit}")
        if self.groups is not None and self.groups.shape != (count,):
            raise DataError(
                f"groups are {list(self.groups.shape)} for {count} {self.unit}; accepted: one each"
            )

    def aligned(self, to: Self, where: str) -> Self:
        """The same examples with labels counted in the classes of others; see `names.places`.

        Raises:
            DataError: a class of these examples is not among theirs.
        """
        if self.classes == to.classes:
            return replace(self, named=to.named)  # type: ignore[type-var]
        found = places(
            self.classes,
            to.classes,
            named=self.named,
            by_name=to.named,
            present=torch.unique(self.labels).tolist(),
            where=where,
        )
        labels = torch.tensor(found)[self.labels]
        return replace(self, labels=labels, classes=to.classes, named=to.named)  # type: ignore[type-var]
