"""Pairs of texts in memory, and a data set of them that was found but not read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import ClassVar

import numpy as np
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.tasks.labelled.groups import Groups
from morphogen.tasks.labelled.rows import Rows
from morphogen.tasks.parts import PARTS


class PairRows(Rows):
    """Pairs as the cut of the parts sees them."""

    unit: ClassVar[str] = "pairs"


@dataclass(frozen=True, eq=False)
class Pairs:
    """Texts, and what each becomes: sentences and their translations, words and how they sound.

    Attributes:
        sources: a text for each row.
        targets: likewise.
        notes: what a user should know of how they were read, a sentence each without full stop.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("sources", "targets"):
            held = getattr(self, name)
            if isinstance(held, str) or not isinstance(held, Sequence):
                raise DataError(f"{name} is a {type(held).__name__}; accepted: a list of texts")
            odd = next((one for one in held if not isinstance(one, str)), None)
            if odd is not None:
                raise DataError(f"{name} has a {type(odd).__name__}; accepted: texts")
            object.__setattr__(self, name, tuple(held))
        if len(self.sources) != len(self.targets) or not self.sources:
            raise DataError(
                f"there are {len(self.sources)} sources and {len(self.targets)} targets; accepted: "
                "one target for each source, and one pair or more"
            )

    def __len__(self) -> int:
        return len(self.sources)

    def take(self, index: Tensor) -> Pairs:
        """The pairs at `index` (int64 `[m]`), in that order."""
        rows = index.tolist()
        return replace(
            self,
            sources=tuple(self.sources[i] for i in rows),
            targets=tuple(self.targets[i] for i in rows),
        )

    @cached_property
    def groups(self) -> Groups | None:
        """A digest of each row's source, if one comes twice: such pairs come to one part."""
        if len(set(self.sources)) == len(self.sources):
            return None
        return np.asarray([sha256(text.encode()).hexdigest()[:16] for text in self.sources])

    def as_rows(self) -> PairRows:
        """What the cut of the parts sees of them."""
        return PairRows.alike(len(self), self.groups)


def joined(train: Pairs, valid: Pairs) -> Pairs:
    """Both in one."""
    return Pairs(
        train.sources + valid.sources,
        train.targets + valid.targets,
        (*train.notes, *valid.notes),
    )


@dataclass(frozen=True)
class PairSource:
    """A data set that was found but not read.

    Attributes:
        name: what the user called it, for messages.
        parts: those it has, of `PARTS`.
        sides: names of its columns, or endings of its files, in their order.
        reader: `reader(part, source, target)` reads one part. A module-level function or a
            `partial` of one, so that a task can be sent to another process.
        notes: what a user should know of what was found, a sentence each without full stop.
    """

    name: str
    parts: tuple[str, ...]
    sides: tuple[str, ...]
    reader: Callable[[str, str, str], Pairs]
    notes: tuple[str, ...] = ()

    def read(self, part: str, source: str, target: str) -> Pairs:
        """Read one part.

        Raises:
            DataError: there is no such part, or its files cannot be read.
        """
        if part not in self.parts or part not in PARTS:
            raise DataError(
                f"data {self.name!r} has no {part} part, only {' and '.join(self.parts)}; "
                f"accepted: a file that holds {part} data, too"
            )
        held = self.reader(part, source, target)
        return replace(held, notes=(*self.notes, *held.notes)) if part == "train" else held
