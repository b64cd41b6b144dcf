"""What tasks have in common whose examples lie in memory, in one pool."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from morphogen.tasks.base import Task
from morphogen.tasks.labelled.groups import Groups, shared_groups


class Pool(Protocol):
    """Examples in memory."""

    @property
    def groups(self) -> Groups | None:
        """The group (subject, recording) of each row; None: there are none."""

    def __len__(self) -> int: ...

    def take(self, index: Tensor) -> Self:
        """The examples at `index` (int64 `[m]`), in that order."""


P = TypeVar("P", bound=Pool)


class PooledTask(Task, Generic[P]):
    """Two disjoint search parts that are rows of one pool, and a test part that is read later.

    Args:
        name: of the data, for reports.
        pool: all examples of a search, of which `train` and `valid` are cut.
        train_rows: int64, the rows of `pool` in `train`, ascending.
        valid_rows: int64, the rows of `pool` in `valid`, ascending.
        test: the test part, or where it can be read; None: there is none.
        seed: of the split.
        own_valid: whether the data came with a search-validation part; `valid` is of it then, and
            `pool` is both.
        asked: the sizes from which the parts are cut again; groups, which come whole, may have left
            less. None: as many as they have.
    """

    drawn_by: ClassVar[tuple[str, ...]] = ("seed",)
    """What decides, beside groups, which example comes to which part."""
    changes: ClassVar[Mapping[str, str]] = {}
    """Of each entry of `contents` what is said where it is another; coarse ones first."""
    resizing: ClassVar[tuple[str, ...]] = ("split",)
    """Entries that may differ where data are read in other sizes, and split otherwise."""
    shaping: ClassVar[tuple[str, ...]] = ()
    """Entries that may, too, where `shape` is another."""

    def __init__(
        self,
        name: str,
        pool: P,
        train_rows: Tensor,
        valid_rows: Tensor,
        *,
        test: Any,
        seed: int,
        own_valid: bool,
        asked: tuple[int, int] | None,
    ) -> None:
        self.name, self.pool, self.seed, self.own_valid = name, pool, seed, own_valid
        self.train_rows, self.valid_rows, self._test = train_rows, valid_rows, test
        self.asked = asked or (len(train_rows), len(valid_rows))

    # -- data --------------------------------------------------------------------------------

    @cached_property
    def train(self) -> P:
        """The part that trains weights in a search."""
        return self.pool.take(self.train_rows)

    @cached_property
    def valid(self) -> P:
        """The part that trains or ranks architectures in a search."""
        return self.pool.take(self.valid_rows)

    def part(self, name: str) -> P:
        """`train`, `valid`, or `pool`."""
        self.rows(name)  # refuses what is no part
        return self.pool if name == "pool" else self.train if name == "train" else self.valid

    def rows(self, part: str) -> Tensor:
        """The rows of a part in `pool`, int64 `[n]`, ascending."""
        return torch.arange(len(self.pool)) if part == "pool" else super().rows(part)

    @property
    def groups(self) -> Groups | None:
        """The group of each row of the pool."""
        return self.pool.groups

    # -- the record --------------------------------------------------------------------------

    def parts(self) -> dict[str, str]:
        """What the search parts are, in words, for the record of a run."""
        train, valid = len(self.train_rows), len(self.valid_rows)
        if self.own_valid:
            return {
                "train": f"{train} {self.unit} of the data's train part",
                "valid": f"{valid} {self.unit} of the data's own validation part",
            }
        by, groups, whole = self.drawn_by, self.groups, dict[str, str]()
        if groups is not None:
            by = ("group", *by)
            n = {p: len(np.unique(groups[self.rows(p).numpy()])) for p in ("train", "valid")}
            whole = {p: f"; {k} groups, none of them in the other part" for p, k in n.items()}
        words = " and ".join(filter(None, (", ".join(by[:-1]), by[-1])))
        cut = f"of {len(self.pool)} training {self.unit}, by {words} {self.seed}"
        return {
            "train": f"{train} {cut}{whole.get('train', '')}",
            "valid": f"{valid} others {cut}{whole.get('valid', '')}",
        }

    def overlap(self) -> list[str]:
        """Groups that are in both of the search parts that the data came with, in a sentence."""
        if not self.own_valid or self.groups is None:
            return []
        train, valid = (self.groups[self.rows(p).numpy()] for p in ("train", "valid"))
        return shared_groups(train, valid, "the validation part")

    def changed(self, before: Mapping[str, Any], *, resized: bool = False) -> str | None:
        """How these data differ from those whose `contents` are given; see `Task.changed`."""
        now = self.contents()
        if set(before) != set(now):
            return "data of another kind then"
        free = set(self.resizing) if resized else set()
        if resized and before.get("shape") != now.get("shape"):
            free |= set(self.shaping)
        for name, words in self.changes.items():
            if before[name] != now[name] and name not in free:
                return words.format(before[name], now[name])
        return None
