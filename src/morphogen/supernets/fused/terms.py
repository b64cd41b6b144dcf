"""What a mix adds to which sum."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from morphogen.supernets.fused.norms import Moments


@dataclass(frozen=True)
class Wiring:
    """What `mix` adds to which sum. Every gain belongs to one entry, in the order below."""

    sums: int
    """Number of sums."""
    normed: tuple[tuple[int, ...], ...] = ()
    """Per convolution output: the sum that each of its pieces (of equal width) goes to."""
    linear: tuple[int, ...] = ()
    """Sums of the 1x1 convolutions of the source."""
    direct: tuple[tuple[int, int], ...] = ()
    """(position among the direct tensors, sum)."""

    @cached_property
    def pieces(self) -> int:
        """Number of normed pieces."""
        return sum(len(targets) for targets in self.normed)

    @property
    def gains(self) -> int:
        """Number of gains: normed pieces, then linear, then direct."""
        return self.pieces + len(self.linear) + len(self.direct)


@dataclass(frozen=True)
class Mixed:
    """What `mix` returns."""

    sums: list[Tensor]
    """Per sum [batch, channels, height, width], float32 (or float64)."""
    moments: list[Moments]
    """Batch statistics, of each convolution output, then of each linear piece; without gradient."""
