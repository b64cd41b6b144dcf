"""How the examples of data are shared among the parts of a task."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Cut:
    """What is asked of the parts: two sizes for a search, or a share held out of a training."""

    train: int | None = None
    """Examples that train weights."""
    valid: int | None = None
    """Examples that train or rank architectures."""
    at_most: Collection[str] = ()
    """Which of `train_images` and `valid_images` shrink to what the data have."""
    held_out: float | None = None
    """A share of all for the second part, instead of the two sizes."""
    channels: int | None = None
    """Channels of the inputs that the network takes; None: those that they have."""
    seed: int = 0
