"""Shares of the gates of a node: whose operations are weak beside those that they are added to.

In a space whose nodes add up several edges, of several operations each, an operation competes with
all that its node adds up, not only with those on its own edge (`SearchSpace.summed`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from morphogen.spaces import SearchSpace


class Nodes:
    """The options of a space in one row, group after group, and which are added up together.

    Args:
        space: whose options.
        device: of the gates.
    """

    def __init__(self, space: SearchSpace, device: torch.device | str = "cpu") -> None:
        of = {name: node for node, names in enumerate(space.summed()) for name in names}
        rows = [
            torch.full((mask.shape[1],), of[choice.name])
            for group, mask in space.masks.items()
            for choice in space.groups[group]
        ]
        node = torch.cat(rows)
        self.places = tuple(
            (group, row, column)
            for group, mask in enumerate(space.masks.values())
            for row in range(mask.shape[0])
            for column in range(mask.shape[1])
        )
        """(group, choice, option) of each entry of a row, by position."""
        self._shapes = [mask.shape for mask in space.masks.values()]
        self._member = (node == torch.arange(len(space.summed()))[:, None]).float().to(device)

    def sums(self, row: Tensor) -> Tensor:
        """Of each option the sum of a row's entries over its node, itself included: [options]."""
        member = self._member.to(row.dtype)
        return (member @ row) @ member

    def matrices(self, row: Tensor) -> list[Tensor]:
        """A row [options] as one matrix [choices, widest] per group."""
        parts = torch.split(row, [rows * columns for rows, columns in self._shapes])
        return [part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def shares(self, weights: Sequence[Tensor]) -> Tensor:
        """Each option's share p of the gates of its node.

        Args:
            weights: per group [choices, widest], not negative, 0 where an option is switched off.

        Returns:
            [options], sum 1 over a node; 0 of a node whose gates are all 0.
        """
        row = flat(weights)
        return row / self.sums(row).clamp_min(torch.finfo(row.dtype).tiny)


def flat(matrices: Sequence[Tensor]) -> Tensor:
    """Matrices of the groups, [choices, widest] each, in one row: [options]."""
    return torch.cat([matrix.reshape(-1) for matrix in matrices])
