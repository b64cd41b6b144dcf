"""How the examples of data are shared among the parts of a task."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Cut:
    """What is asked of the parts: two sizes for a search, or a share held out of a training."""

    train: int | float | None = None
    """Examples that train weights: a count, or a fraction below 1."""
    valid: int | float | None = None
    """Examples that train or rank architectures, likewise."""
    at_most: Collection[str] = ()
    """Which of `train_images` and `valid_images` shrink to what the data have."""
    held_out: float | None = None
    """A share of all for the second part, instead of the two sizes."""
    channels: int | None = None
    """Channels of the inputs that the network takes; None: those that they have."""
    seed: int = 0

    @property
    def given(self) -> dict[str, Any]:
        """As the arguments of `ImageTask.of` and its like."""
        return {
            "train_images": self.train,
            "valid_images": self.valid,
            "at_most": self.at_most,
            "held_out": self.held_out,
            "seed": self.seed,
        }


@dataclass(frozen=True, eq=False)
class Parts:
    """The rows of the two search parts."""

    train: Tensor
    """int64, ascending."""
    valid: Tensor
    """Likewise."""
    seed: int = 0
    """By which they were drawn."""
    own_valid: bool = False
    """Whether the data came with a search-validation part, of which `valid` is."""
    asked: tuple[int, int] | None = None
    """The sizes from which the parts are cut again; groups, which come whole, may have left less.
    None: as many as they have."""
