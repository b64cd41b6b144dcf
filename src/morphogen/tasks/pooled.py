"""What tasks have in common whose examples lie in memory, in one pool."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from morphogen.tasks.base import Task
from morphogen.tasks.cut import Parts
from morphogen.tasks.digests import digest, raw
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
    """Two disjoint search parts, the pool of both, and a test part that is read later.

    Args:
        name: of the data, for reports.
        whole: all training examples that there are; of data that came with a search-validation
            part, these are in it, too.
        parts: the rows of `whole` in `train` and in `valid`; what is in neither is not searched on.
        test: the test part, or where it can be read; None: there is none.
    """

    drawn_by: ClassVar[tuple[str, ...]] = ("seed",)
    """What decides, beside groups, which example comes to which part."""
    changes: ClassVar[Mapping[str, str]] = {}
    """Of each entry of `contents` what is said where it is another; coarse ones first."""
    resizing: ClassVar[tuple[str, ...]] = ("split",)
    """Entries that may differ where data are read in other sizes, and split otherwise."""
    shaping: ClassVar[tuple[str, ...]] = ()
    """Entries that may, too, where `shape` is another."""

    def __init__(self, name: str, whole: P, parts: Parts, *, test: Any) -> None:
        self.name, self.whole, self._test = name, whole, test
        kept = torch.cat([parts.train, parts.valid]).sort().values
        self._pooled(whole if len(kept) == len(whole) else whole.take(kept), kept)
        self.train_rows, self.valid_rows = (
            torch.searchsorted(kept, rows) for rows in (parts.train, parts.valid)
        )
        self.seed, self.own_valid = parts.seed, parts.own_valid
        self.asked = parts.asked or (len(parts.train), len(parts.valid))

    def _pooled(self, pool: P, kept: Tensor) -> None:
        """Have these rows of all training examples as the pool."""
        self.pool, self._kept = pool, kept

    # -- data --------------------------------------------------------------------------------

    def with_all(self) -> Self:
        """A copy whose pool is all training examples."""
        other = self.with_parts(self._kept[self.train_rows], self._kept[self.valid_rows])
        if self.pool is not self.whole:
            other._pooled(self.whole, torch.arange(len(self.whole)))
        return other

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
        cut = f"of {len(self.whole)} training {self.unit}, by {words} {self.seed}"
        return {
            "train": f"{train} {cut}{whole.get('train', '')}",
            "valid": f"{valid} others {cut}{whole.get('valid', '')}",
        }

    @property
    def split(self) -> str:
        """A digest of which training examples are in which part."""
        return digest([raw(self._kept[self.train_rows]), b"/", raw(self._kept[self.valid_rows])])

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
