"""A supernet under fixed gates as a plain module: what a proxy or an operation score looks at."""

from __future__ import annotations

from typing import Any

from torch import nn

from morphogen.supernets.base import Supernet
from morphogen.supernets.gates import Gates


class Gated(nn.Module):
    """`forward(x) = supernet(x, gates)`.

    Args:
        supernet: the supernet; it is held, not copied.
        gates: may be exchanged at any time.
    """

    def __init__(self, supernet: Supernet, gates: Gates) -> None:
        super().__init__()
        self.supernet = supernet
        self.gates = gates

    def forward(self, *several: Any, **named: Any) -> Any:
        """The supernet's output for `x` under the present gates; for several inputs as `call`."""
        x = named or (several if len(several) > 1 else several[0])
        return self.supernet(x, self.gates)
