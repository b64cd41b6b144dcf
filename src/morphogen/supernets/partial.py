"""Partial channel connections: operations see some channels of a node, the others pass them by.

PC-DARTS, Xu et al., ICLR 2020, arXiv 1907.05737, section 3.2. On an edge the operations run on the
first 1/K of the channels; the rest comes as it is (at stride 2 by a 2 x 2 max pool), is put after
them, and the channels are shuffled, so that the next node's operations see others. An edge is
`shuffle(cat(sum of gate * operation, bypass * rest))`. As shuffling is linear, a node shuffles the
sums of its edges once.

The bypass of an edge has the weight of the edge: the sum of its gates, which is 1 for a softmax, a
concrete sample or a path, and the edge's share where edges are normalised. An edge without a live
option has no bypass either.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from morphogen.core import ConfigError
from morphogen.supernets.gates import Gates, weighted


class Channels:
    """The channels of a node that operations see, and those that pass them by.

    Args:
        parts: K; 1: operations see all.
        channels: of every node, a multiple of K.
        rows: whether samples are images of one row (`Dimensions.rows`).
    """

    def __init__(self, parts: int, channels: int, *, rows: bool = False) -> None:
        if channels % parts:
            raise ConfigError(
                f"partial_channels is {parts}, and a cell has {channels} channels; accepted: a "
                "divisor of them"
            )
        self.parts, self.seen, self.rows = parts, channels // parts, rows

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[n, channels, ...] -> [n, channels / K, ...] and the rest."""
        return x[:, : self.seen], x[:, self.seen :]

    def join(self, seen: Tensor, rest: Tensor) -> Tensor:
        """What `split` gives, as one tensor whose channels are shuffled in K groups."""
        x = torch.cat([seen, rest], dim=1)
        groups = x.reshape(len(x), self.parts, self.seen, *x.shape[2:])
        return groups.transpose(1, 2).reshape(x.shape)

    def passed(self, rest: Tensor, weight: Tensor | None, stride: int = 1) -> Tensor:
        """What an edge adds to the rest of its target.

        Args:
            rest: of the source, as of `split`.
            weight: of the edge, see `edge_weights`.
            stride: 1 or 2.
        """
        if stride > 1:
            size = (1, 2) if self.rows else (2, 2)
            rest = F.max_pool2d(rest, size, size, ceil_mode=True)
        return rest if weight is None else weighted(rest, weight)


def edge_weights(gates: Gates, group: str) -> dict[int, Tensor | None]:
    """Of each choice of a group that has a live option, by position, the sum of its gates.

    Each is a scalar, or [examples]; None of a path, whose edges weigh 1.
    """
    rows = [row for row, options in enumerate(gates.live[group]) if options]
    if gates.unit:
        return dict.fromkeys(rows)
    sums = gates.weights[group].sum(dim=-1)
    return {row: sums[..., row] for row in rows}
