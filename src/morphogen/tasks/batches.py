"""Batches of examples: tensors, or tuples and dicts of them, on a device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Examples on their way to the network."""

    x: Any
    """A tensor, or a tuple or dict of tensors, each with the examples along its first axis."""
    y: Any
    """Likewise: what the loss compares the network's output with."""
    size: int
    """Units over which the loss is a mean: images, pixels, tokens."""


class Examples(ABC):
    """Some examples of a task on one device, of which batches are made by row."""

    notes: tuple[str, ...] = ()
    """What a user should know of how they were read, a sentence each without full stop."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(
        self,
        rows: Tensor,
        *,
        mine: slice = slice(None),
        generator: torch.Generator | None = None,
    ) -> Batch:
        """The batch of `rows[mine]`.

        Args:
            rows: of the joint batch, int64 `[b]` on the CPU.
            mine: the share of this process.
            generator: a CPU generator from which augmentation is drawn, for the joint batch, so
                that every process draws the same; None: no augmentation.
        """
