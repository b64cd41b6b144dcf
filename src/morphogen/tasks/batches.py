"""Batches of examples: tensors, or tuples and dicts of them, on a device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, Self

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
    gathers: ClassVar[bool] = False
    """Whether `gather` makes others of them, with the network that is being trained."""
    passes: int = 1
    """Passes over them that an epoch has."""

    def gather(  # noqa: B027 - fixed examples have nothing to do
        self, forward: Callable[[Any], Any], generator: torch.Generator
    ) -> None:
        """Take fresh ones with the network as it is; those that are fixed stay.

        Args:
            forward: the network's output for a batch's `x`, in evaluation mode.
            generator: a CPU generator from which all is drawn that is drawn.
        """

    def anew(self) -> Self:
        """The same with nothing gathered yet, for another stream; fixed ones can be shared."""
        return self

    @property
    def told(self) -> Mapping[str, float]:
        """Figures of what was gathered last, for the record."""
        return {}

    @property
    def gathered(self) -> int:
        """Examples gathered so far."""
        return 0

    def state_dict(self, *, used: bool) -> dict[str, Any]:
        """Tensors and plain values from which gathering goes on; of fixed examples none.

        Args:
            used: whether what was gathered last has had its passes, so that it need not be kept.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - likewise
        """Continue where `state_dict` was taken."""

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
