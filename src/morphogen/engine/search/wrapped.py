"""What a gradient method is wrapped in has a state of its own, which holds the method's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from morphogen.supernets import Supernet


@dataclass
class WrappedState:
    """The state of a wrapped gradient method; classes of this one add what is known beside it."""

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
