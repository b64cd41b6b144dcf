"""Rows of ids of different lengths, kept end to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self

import torch
from torch import Tensor

from morphogen.supernets.sequences import PAD


@dataclass(frozen=True, eq=False)
class IdRows:
    """Ids of `n` sequences.

    Attributes:
        values: int64, one after the other.
        starts: where each begins, int64 `[n]`.
        lengths: int64 `[n]`.
    """

    values: Tensor
    starts: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> Self:
        """Of lists of ids."""
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        values = torch.tensor(list(chain.from_iterable(rows)), dtype=torch.int64)
        return cls(values, lengths.cumsum(0) - lengths, lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, index: Tensor) -> Self:
        """The sequences at `index`, int64 `[m]`; the ids are shared."""
        return type(self)(self.values, self.starts[index], self.lengths[index])

    def padded(self, rows: Tensor) -> Tensor:
        """The ids of these rows, and `PAD` up to the longest: int64 `[len(rows), longest]`."""
        lengths = self.lengths[rows][:, None]
        place = torch.arange(int(lengths.max()))[None, :]
        index = (self.starts[rows][:, None] + place).clamp_max(len(self.values) - 1)
        return self.values[index].masked_fill(place >= lengths, PAD)
