"""The DARTS cells without the rules made by hand: every cell by itself, any operations on any edge.

GOLD-NAS: Gradual, One-Level, Differentiable, Bi, Xie, Chen, Wei and Tian, 2020, arXiv 2007.03331.

Each cell of the network has 14 edges of its own, and each edge keeps any of its operations, none,
one or all of them, which are added up; every node keeps one operation at least. A skip connection
is followed by a batch norm. The space has as many cells as the network, whose depth it decides.
The notation is that of the DARTS space with one part per cell: `cell0: ... ; cell1: ...`.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any, ClassVar

import numpy as np

from morphogen.core import Architecture, ArchitectureError, SpaceError
from morphogen.spaces.base import OptionScores
from morphogen.spaces.darts_cells import (
    NODES,
    RESIDUAL,
    RESIDUAL_NAME,
    RESIDUAL_REASON,
    DARTSCells,
    Operations,
)
from morphogen.spaces.genotype import Genotype, Pair
from morphogen.spaces.registry import register

OPERATIONS = ("skip_connect", "sep_conv_3x3")
"""Of the basic space; an operation that is not kept stands for `none`."""


@register(
    "darts-gold-nas",
    like="darts",
    drawing="choices",
    network={"channels": 36, "depth": 14},
    search={"network.channels": 36, "network.depth": 14},
    evaluation={"network.channels": 36, "network.depth": 14},
    quick={"network.depth": 14, "network.channels": 8},
    reference=" ; ".join(f"cell{number}: {RESIDUAL}" for number in range(14)),
    reference_name=RESIDUAL_NAME,
    reference_reason=f"in all cells {RESIDUAL_REASON}",
)
class IndependentDARTS(DARTSCells):
    """The DARTS cells, each with edges of its own: about 10^117 networks of 14 cells.

    Args:
        name: how the command line and the run directory call the space.
        operations: the options of every edge, or cell ("cell0", "cell1", ...) -> one tuple of
            options for each of the 14 edges.
        cells: number of cells.

    Raises:
        SpaceError: no cell, an option `none`, or lists without 14 entries.
    """

    normed_skips: ClassVar[bool] = True

    def __init__(
        self,
        name: str = "darts-gold-nas",
        operations: Operations = OPERATIONS,
        *,
        cells: int = 14,
    ) -> None:
        if cells < 1:
            raise SpaceError(f"space {name!r} has {cells} cells; accepted: 1 or more")
        names = [f"cell{number}" for number in range(cells)]
        super().__init__(name, operations, least=0, most=_MOST, cells=names)
        if any("none" in choice.options for choice in self.choices):
            raise SpaceError(
                f"space {name!r} has an option 'none'; accepted: operations that do something, "
                "since an edge may keep nothing"
            )

    # -- structure ---------------------------------------------------------------------------

    def cell(self, number: int, *, reduction: bool) -> str:
        """A group of its own for each cell."""
        return self.cells[number]

    def network_sizes(self) -> dict[str, Any]:
        """The number of cells."""
        return {"depth": len(self.cells)}

    @property
    def _nodes(self) -> list[tuple[str, int]]:
        return [(cell, target) for cell in self.cells for target in NODES]

    def _pairs(self, cell: str, target: int) -> list[Pair]:
        """All that a node can keep, lower source first."""
        return [
            (option, source)
            for source, choice in enumerate(self.node(cell, target))
            for option in choice.options
        ]

    def size(self) -> int:
        """Every set of operations but the empty one, at each node."""
        return math.prod(2 ** len(self._pairs(*node)) - 1 for node in self._nodes)

    # -- architectures -----------------------------------------------------------------------

    def check(self, arch: Architecture) -> Architecture:
        """As the base, and: one operation per node at least.

        Raises:
            ArchitectureError: names the node that keeps nothing.
        """
        arch = super().check(arch)
        for cell, target in self._nodes:
            if not any(arch[choice.name] for choice in self.node(cell, target)):
                raise ArchitectureError(
                    f"node {target} of {cell} keeps nothing; accepted: one operation or more"
                )
        return arch

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One architecture, uniformly at random: the nodes are independent of one another."""
        nodes = {}
        for node in self._nodes:
            pairs = self._pairs(*node)
            kept = np.zeros(len(pairs), bool)
            while not kept.any():
                kept = rng.integers(2, size=len(pairs)) > 0
            nodes[node] = [pair for pair, stays in zip(pairs, kept, strict=True) if stays]
        return self._build(nodes)

    def enumerate(self) -> list[Architecture]:
        """All architectures; for restricted spaces only.

        Raises:
            SpaceError: there are more than a million.
        """
        if self.size() > 1_000_000:
            raise SpaceError(
                f"space {self.name!r} has {self.size():.2e} architectures; accepted for listing: "
                "at most a million (restrict the space, or sample)"
            )
        values = []
        for node in self._nodes:
            pairs = self._pairs(*node)
            subsets = product((False, True), repeat=len(pairs))
            kept = [[p for p, stays in zip(pairs, s, strict=True) if stays] for s in subsets]
            values.append([subset for subset in kept if subset])
        return [
            self._build(dict(zip(self._nodes, nodes, strict=True))) for nodes in product(*values)
        ]

    def moves(self, arch: Architecture) -> list[dict[str, tuple[str, ...]]]:
        """One edge keeps other operations; those that leave a node empty are left out."""
        found: list[dict[str, tuple[str, ...]]] = []
        for node in self._nodes:
            edges = self.node(*node)
            for choice in edges:
                alone = not any(arch[c.name] for c in edges if c.name != choice.name)
                found += [
                    {choice.name: value}
                    for value in choice.values
                    if value != arch[choice.name] and (value or not alone)
                ]
        return found

    def crossover(
        self, first: Architecture, second: Architecture, rng: np.random.Generator
    ) -> Architecture:
        """A child that takes each node, with its edges, from either parent."""
        first, second = self.check(first), self.check(second)
        coins = rng.integers(2, size=len(self._nodes))
        return self._build(
            {
                node: self.kept(second if coin else first, *node)
                for node, coin in zip(self._nodes, coins, strict=True)
            }
        )

    def derive(self, scores: OptionScores) -> Architecture:
        """Of each node the operations whose score is not below the mean of the node's.

        Args:
            scores: "cell0", "cell1", ... -> [14, widest].
        """
        named = {choice.name: row for choice, row in self.rows(scores)}
        nodes = {}
        for cell, target in self._nodes:
            edges = self.node(cell, target)
            of_node = np.concatenate([np.asarray(named[c.name], float) for c in edges])
            # Not the mean itself: rounding must not put equal scores below it.
            least = of_node.mean() - 1e-9 * np.abs(of_node).max()
            pairs = self._pairs(cell, target)
            nodes[cell, target] = [p for p, s in zip(pairs, of_node, strict=True) if s >= least]
        return self.check(self._build(nodes))

    def arguments(self) -> dict[str, Any]:
        """One list of options for each edge, and the number of cells."""
        return {**super().arguments(), "cells": len(self.cells)}

    # -- text --------------------------------------------------------------------------------

    def from_genotype(self, genotype: Genotype) -> Architecture:
        """Refused: a record of two cells says nothing of each cell."""
        raise ArchitectureError(
            f"space {self.name!r} has {len(self.cells)} cells, each with operations of its own, "
            f"and a Genotype has two; accepted: cell0: ... ; cell1: ..."
        )


_MOST = 99
"""Operations that an edge keeps at most: all it has."""
