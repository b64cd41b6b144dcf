"""Batches of sequences of about one length, each with so many tokens at most.

Every sequence has a bound, its length rounded up. Sorted by it, the longest first, sequences are
cut into batches so that the bound of the longest times their number stays within the budget. Since
the sorted bounds are the same in every epoch, so are the sizes of the batches and their number;
which sequences of one bound come together is drawn anew, and so is the order of the batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from morphogen.core.errors import CheckpointError, ConfigError
from morphogen.tasks.batches import Batch, Examples
from morphogen.tasks.streams import Stream, share

GROWTH = 8
"""A bound is at most one part in so many above the length, once that is as large as this."""


@dataclass(frozen=True, eq=False)
class Buckets:
    """How the rows of a part are cut into batches.

    Attributes:
        bounds: of each row, int64 `[n]`.
        sizes: of the batches, in the order in which they are cut, int64 `[batches]`.
    """

    bounds: Tensor
    sizes: Tensor

    @classmethod
    def of(cls, lengths: Tensor, batch_size: int) -> Buckets:
        """Cut rows of some lengths, int64 `[n]`.

        Args:
            lengths: of each row.
            batch_size: rows of a batch whose lengths are the mean: the budget is as many times the
                mean, or the longest row. The sizes are divided by the largest power of two up to 8
                that divides it, so that processes can share them.
        """
        bounds, grain = rounded(lengths), grain_of(batch_size)
        budget = batch_size * float(lengths.double().mean())
        order = bounds.sort(descending=True).values.tolist()
        sizes, at = list[int](), 0
        while len(order) - at >= grain:
            size = max(grain, int(budget // order[at]) // grain * grain)
            size = min(size, (len(order) - at) // grain * grain)
            sizes.append(size)
            at += size
        return cls(bounds, torch.tensor(sizes, dtype=torch.int64))

    @cached_property
    def starts(self) -> Tensor:
        """Where each batch begins in the sorted rows."""
        return self.sizes.cumsum(0) - self.sizes

    def sorted(self, order: Tensor) -> Tensor:
        """Rows in the order from which batches are cut, those of one bound as in `order`."""
        return order[self.bounds[order].argsort(descending=True, stable=True)]


def grain_of(batch_size: int) -> int:
    """By what the sizes of all batches can be divided."""
    return next(g for g in (8, 4, 2, 1) if batch_size % g == 0)


def rounded(lengths: Tensor) -> Tensor:
    """Lengths rounded up, so that there are few different ones: by one part in eight at most."""
    step = torch.ones_like(lengths)
    while bool((lengths > step * GROWTH * 2).any()):
        step = torch.where(lengths > step * GROWTH * 2, step * 2, step)
    return (lengths + step - 1) // step * step


class BucketStream(Stream):
    """Endless batches of rows of about one length; see `Stream` for what it is given and keeps.

    The rows that do not fill a last batch, the shortest, are left out of an epoch; which of them
    is drawn.

    Args:
        examples: the part to draw from.
        lengths: of its rows, int64 `[n]`.
        batch_size: rows of a batch whose lengths are the mean.
        generator: as for `Stream`, as are the others.
        replacement: draw every batch from an epoch of its own.
        rank: this process.
        world: number of processes.
        name: of the part.
    """

    def __init__(
        self,
        examples: Examples,
        lengths: Tensor,
        batch_size: int,
        generator: torch.Generator,
        *,
        replacement: bool = False,
        rank: int = 0,
        world: int = 1,
        name: str = "train",
    ) -> None:
        super().__init__(
            examples,
            batch_size,
            generator,
            replacement=replacement,
            rank=rank,
            world=world,
            name=name,
        )
        self.lengths, self._buckets = lengths, Buckets.of(lengths, batch_size)
        if grain_of(batch_size) % world:
            raise ConfigError(
                f"devices is {world} and batch_size {batch_size}; accepted: 1, 2, 4 or 8 "
                "processes, and a batch_size that is a multiple of them"
            )
        self._turns = torch.empty(0, dtype=torch.int64)
        self._seen = 0

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return len(self._buckets.sizes)

    @property
    def seen(self) -> int:
        """Examples drawn so far, over all processes."""
        return self._seen

    def next(self) -> Batch:
        """The next batch: this process's share of it."""
        rows = self._draw()
        self._batches += 1
        self._seen += len(rows)
        mine = share(len(rows), self.rank, self.world)
        return self.examples.batch(rows, mine=mine, generator=self.generator)

    def _draw(self) -> Tensor:
        """Rows of the next joint batch."""
        if self.replacement or self._position == len(self._turns):
            order = torch.randperm(len(self.examples), generator=self.generator)
            self._order = self._buckets.sorted(order)
            self._turns = torch.randperm(self.steps_per_epoch, generator=self.generator)
            self._position = 0
        turn = int(self._turns[self._position])
        self._position += 1
        start, size = int(self._buckets.starts[turn]), int(self._buckets.sizes[turn])
        return self._order[start : start + size]

    def shard(self, rank: int, world: int) -> BucketStream:
        """A stream from the same point on, of process `rank` of `world`; this one is not moved."""
        generator = torch.Generator()
        generator.set_state(self.generator.get_state())
        other = BucketStream(
            self.examples,
            self.lengths,
            self.batch_size,
            generator,
            replacement=self.replacement,
            rank=rank,
            world=world,
            name=self.name,
        )
        other.load_state_dict(self.state_dict())
        return other

    def state_dict(self) -> dict[str, Any]:
        """As of `Stream`, and the order of the batches."""
        return {**super().state_dict(), "turns": self._turns.clone(), "seen": self._seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken.

        Raises:
            CheckpointError: the state is incomplete, or of another data set or batch size.
        """
        super().load_state_dict(state)
        turns, seen = state["turns"], state["seen"]
        fits = (
            isinstance(turns, Tensor)
            and turns.dtype == torch.int64
            and len(turns) in (0, self.steps_per_epoch)
            and torch.equal(turns.cpu().sort().values, torch.arange(len(turns)))
            and self._position <= len(turns)
            and bool(len(turns)) == bool(len(self._order))
            and type(seen) is int
            and seen >= 0
        )
        if not fits:
            raise CheckpointError(
                f"the checkpoint of the {self.name} stream is corrupt (batches out of range); "
                "accepted: an unchanged checkpoint"
            )
        self._turns, self._seen = turns.cpu().clone(), seen
