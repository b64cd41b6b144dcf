"""What is put around a gradient method: a state that holds the method's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from morphogen.supernets import Supernet


@dataclass
class AroundState:
    """The state of a gradient method, and in classes of this one what is known beside it."""

    searched: Any
    """The method's own state, which has the supernet and the alphas."""

    @property
    def net(self) -> Supernet:
        """The method's supernet."""
        held: Supernet = self.searched.net
        return held

    @property
    def alphas(self) -> list[Tensor]:
        """The method's architecture parameters."""
        held: list[Tensor] = self.searched.alphas
        return held
