"""A grid of resolutions for segmentation, in which a node reads from the layer before it alone.

A reconstruction of the "non-dense search space comprising short connections" of single-stage
search, Subbotko, Jablonski and Bilinski, 2024, arXiv 2405.16610, whose tables were not available;
the grid is that of Auto-DeepLab (Liu et al., CVPR 2019, arXiv 1901.02985), the fusions of nodes
those of DCNAS (Zhang et al., CVPR 2021, arXiv 2003.11883).

Layers 1 to L have a node at each of the levels 4, 8, 16 and 32 (pixels of the image to one of the
node, along each side) that can be reached by then. A node adds up what comes from the levels beside
it of the layer before, brought to its size (a choice of paths), and then the results of its
operations on that sum (a choice of operations). In the end the levels of the last layer are added
up (the choice `head`). Each choice keeps one option or more. What no kept path leads on is dead:
it is not in the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from morphogen.core import Architecture, Choice, SpaceError
from morphogen.spaces.base import Differentiable, OptionScores, SearchSpace, Weighing
from morphogen.spaces.registry import register

LEVELS = (4, 8, 16, 32)
"""Pixels of the image to one of a node, along each side."""

OPERATIONS = ("skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "conv_1x1")
"""Of a node. There is no `none`: the paths decide what is connected."""

MOBILE = ("skip_connect", *(f"mbconv_{k}x{k}_e{e}" for k in (3, 5, 7) for e in (3, 6)))
"""Another set of operations: inverted residual blocks by kernel and expansion, as in DCNAS."""

HEAD = "head"

Node = tuple[int, int]
"""Layer, from 1, and level."""


def layer_levels(layer: int) -> tuple[int, ...]:
    """The levels that are reached by a layer; of layer 0, the stem, the first."""
    return LEVELS[: layer + 1]


def sources(node: Node) -> tuple[int, ...]:
    """The levels of the layer before from which a node can read: its own, and those beside it."""
    layer, level = node
    return tuple(s for s in layer_levels(layer - 1) if s in (level // 2, level, 2 * level))


def operation_choice(node: Node) -> str:
    """Name of the choice of operations of a node."""
    return f"l{node[0]}s{node[1]}"


def path_choice(node: Node) -> str:
    """Name of the choice of paths into a node; there is none where there is only one path."""
    return f"l{node[0]}s{node[1]}_from"


def _all_paths(layers: int) -> str:
    """The architecture of all paths, with one operation."""
    space = ShortConnections("all paths", layers=layers)
    kept = {c.name: c.options for c in space.choices}
    same = {operation_choice(node): ("sep_conv_3x3",) for node in space.nodes}
    return space.format(Architecture({**kept, **same}))


class ShortConnections(SearchSpace, Differentiable, Weighing):
    """A grid of four resolutions with short connections, for segmentation (a reconstruction).

    Args:
        name: how the command line and the run directory call the space.
        layers: L.
        operations: of every node, of `OPERATIONS` or `MOBILE`.

    Raises:
        SpaceError: no layer, or an operation that is not known.
    """

    dense: ClassVar[bool] = True

    def __init__(
        self,
        name: str = "short-connections",
        *,
        layers: int = 4,
        operations: Sequence[str] = OPERATIONS,
    ) -> None:
        if not 1 <= layers <= 99:
            raise SpaceError(f"space {name!r} has {layers} layers; accepted: 1 to 99")
        odd = [o for o in operations if o not in (*OPERATIONS, *MOBILE)]
        if odd or not operations:
            raise SpaceError(
                f"space {name!r} has the operations {', '.join(map(repr, odd)) or 'none'}; "
                f"accepted: {', '.join(dict.fromkeys((*OPERATIONS, *MOBILE)))}"
            )
        self.layers, self.operations = layers, tuple(operations)
        choices = []
        for node in self.nodes:
            levels = tuple(map(str, sources(node)))
            if len(levels) > 1:
                choices.append(Choice(path_choice(node), levels, "paths", 1, len(levels)))
            count = len(self.operations)
            choices.append(Choice(operation_choice(node), self.operations, "operations", 1, count))
        last = tuple(map(str, layer_levels(layers)))
        super().__init__(name, [*choices, Choice(HEAD, last, HEAD, 1, len(last))])

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Layer by layer, the finest level first."""
        return tuple((n, s) for n in range(1, self.layers + 1) for s in layer_levels(n))

    def arguments(self) -> dict[str, Any]:
        """The number of layers, and the operations."""
        return {"layers": self.layers, "operations": list(self.operations)}

    def network_sizes(self) -> dict[str, Any]:
        """The number of layers."""
        return {"depth": self.layers}

    # -- architectures -----------------------------------------------------------------------

    def kept_sources(self, arch: Architecture, node: Node) -> tuple[int, ...]:
        """The levels from which a node reads."""
        name = path_choice(node)
        held = dict(arch.items())
        return tuple(map(int, held[name])) if name in held else sources(node)

    def live(self, arch: Architecture) -> frozenset[Node]:
        """The nodes that a kept path leads on to the head."""
        found: set[Node] = set()
        waiting = [(self.layers, int(level)) for level in arch[HEAD]]
        while waiting:
            node = waiting.pop()
            if node in found or node[0] == 0:
                continue
            found.add(node)
            waiting += [(node[0] - 1, level) for level in self.kept_sources(arch, node)]
        return frozenset(found)

    def remarks(self, arch: Architecture) -> tuple[str, ...]:
        """How many nodes are dead."""
        arch = self.check(arch)
        live = len(self.live(arch))
        if live == len(self.nodes):
            return ()
        return (
            f"{len(self.nodes) - live} of the {len(self.nodes)} nodes are on no path to the head, "
            "and not in the network",
        )

    def derive(self, scores: OptionScores) -> Architecture:
        """The best-scored option of every choice; several only where their scores are equal.

        Args:
            scores: "paths", "operations" and "head" -> [choices, widest].
        """
        kept = {
            choice.name: [
                option
                for option, score in zip(choice.options, row, strict=True)
                if score >= np.max(row)
            ]
            for choice, row in self.rows(scores)
        }
        return self.check(Architecture(kept))


@register(
    "short-connections",
    supernet="morphogen.supernets.short_connections",
    drawing="choices",
    network={"channels": 8, "depth": 4},
    quick={"network.channels": 8, "network.depth": 4},
    reference=_all_paths(4),
    reference_name="all paths, sep_conv_3x3",
    reference_reason="every resolution is kept and fused in every layer, as in HRNet",
)
def four_layers() -> ShortConnections:
    """Segmentation: a grid of four resolutions and four layers (a reconstruction)."""
    return ShortConnections()


@register(
    "short-connections-12",
    like="short-connections",
    network={"channels": 32, "depth": 12},
    quick={"network.channels": 8, "network.depth": 12},
    reference=_all_paths(12),
    reference_name="all paths, sep_conv_3x3",
    reference_reason="every resolution is kept and fused in every layer, as in HRNet",
)
def twelve_layers() -> ShortConnections:
    """Segmentation: the grid of four resolutions with twelve layers (a reconstruction)."""
    return ShortConnections("short-connections-12", layers=12)
