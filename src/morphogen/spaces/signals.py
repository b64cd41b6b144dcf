"""Cell spaces whose networks take signals [n, channels, time]: the cells of spaces of images.

Choices, notation and derivation are theirs. An operation keeps its name and has the same kernel in
one dimension: `nor_conv_3x3` is a convolution over 3 points of time, `sep_conv_5x5` one over 5.
"""

from __future__ import annotations

from typing import ClassVar

from morphogen.spaces.darts import DARTS
from morphogen.spaces.nasbench201 import NASBench201


class Signal201(NASBench201):
    """The cell and the macro skeleton of NAS-Bench-201 in one dimension."""

    spatial_dims: ClassVar[int | None] = 1

    def __init__(self) -> None:
        super().__init__("signal201")


class SignalDARTS(DARTS):
    """The cells of the DARTS space in one dimension."""

    spatial_dims: ClassVar[int | None] = 1

    def __init__(self) -> None:
        super().__init__("signal-darts")
