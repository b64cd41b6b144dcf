"""Gates: the weight given to each option of each choice in one forward pass.

Soft (softmax, sigmoid, concrete sample), one-hot (a path) or masked (an option removed): the
supernet does not care. It reads two things: the weights, which carry gradients to whatever made
them, and which options are live, a fact kept on the CPU so that reading it waits for no device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core import Architecture, SpaceError
from morphogen.spaces import SearchSpace

Live = tuple[tuple[int, ...], ...]


class Gates:
    """Per group of choices a weight matrix [choices, options] and the live options of each row.

    Args:
        weights: group name -> float tensor [choices, widest]; may require gradients.
        live: group name -> for each row the positions of the options that are executed. An option
            that is not live is not computed and contributes nothing, whatever its weight.
        unit: True if every live option has weight exactly 1 and nobody wants its gradient: the
            supernet may then skip the multiplication.
    """

    __slots__ = ("live", "unit", "weights")

    def __init__(
        self, weights: Mapping[str, Tensor], live: Mapping[str, Live], *, unit: bool = False
    ) -> None:
        for group, matrix in weights.items():
            if group not in live or len(live[group]) != len(matrix):
                raise SpaceError(
                    f"gates of group {group!r}: {len(matrix)} rows of weights but "
                    f"{len(live.get(group, ()))} rows of live options; accepted: equal numbers"
                )
        self.weights = dict(weights)
        self.live = dict(live)
        self.unit = unit

    @classmethod
    def dense(cls, space: SearchSpace, weights: Mapping[str, Tensor]) -> Gates:
        """All options of `space` live, weighted by `weights`."""
        return cls(weights, all_live(space))

    @classmethod
    def of(
        cls, space: SearchSpace, arch: Architecture, device: torch.device | str = "cpu"
    ) -> Gates:
        """The path of `arch`: its options live with weight 1, everything else off."""
        rows = {g: torch.from_numpy(m).to(device) for g, m in space.one_hot(arch).items()}
        return cls(rows, {g: nonzero(m) for g, m in space.one_hot(arch).items()}, unit=True)

    def detach(self) -> Gates:
        """The same gates without gradients: what a weight step uses."""
        return Gates({g: w.detach() for g, w in self.weights.items()}, self.live, unit=self.unit)

    def row(self, group: str, index: int) -> tuple[tuple[int, ...], Tensor]:
        """Live options and weights [options] of choice number `index` of `group`."""
        return self.live[group][index], self.weights[group][index]


def all_live(space: SearchSpace) -> dict[str, Live]:
    """Every option that `space` has, per group and choice."""
    return {g: nonzero(mask) for g, mask in space.masks.items()}


def nonzero(matrix: NDArray[Any]) -> Live:
    """Per row the positions of the entries that are not zero."""
    return tuple(tuple(int(i) for i in np.flatnonzero(row)) for row in matrix)
