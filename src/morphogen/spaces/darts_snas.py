"""The DARTS cells with every edge free: SNAS' rule of what a cell keeps.

SNAS: stochastic neural architecture search, Xie, Zheng, Liu and Lin, ICLR 2019, arXiv 1812.09926.

Each of the 14 edges of a cell has one of its operations, `none` among them, whatever the others
have: a node may have from no input to as many as there are nodes before it. A node without any is
zero, and keeps its place in the concatenation. The notation is that of the DARTS space with as many
edges per node as are kept; edges that are not listed are `none`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from morphogen.core import Architecture
from morphogen.spaces.darts_cells import CELLS, NODES, OPERATIONS, DARTSCells, Operations
from morphogen.spaces.genotype import Pair
from morphogen.spaces.registry import register

PUBLISHED = {
    "SNAS_AGGRESSIVE": "normal: sep_conv_5x5~0 skip_connect~1 | skip_connect~0 skip_connect~1 | "
    "skip_connect~0 dil_conv_5x5~1 | skip_connect~0 dil_conv_5x5~1 ; "
    "reduce: sep_conv_5x5~0 | sep_conv_5x5~0 | | "
}
"""Cells that no rule of two edges per node allows (authors' genotypes); `genotype.PUBLISHED` has
SNAS_MILD and SNAS_MODERATE."""


@register(
    "darts-snas",
    like="darts",
    reference="SNAS_MODERATE",
    reference_name="SNAS (moderate)",
    reference_reason="the cell that SNAS published, by whose rule the space is made",
)
class FreeDARTS(DARTSCells):
    """The DARTS space under SNAS' rule: every edge has an operation or none, by itself.

    Args:
        name: how the command line and the run directory call the space.
        operations: the options of every edge, or cell type ("normal", "reduce") -> one tuple of
            options for each of the 14 edges.
    """

    def __init__(self, name: str = "darts-snas", operations: Operations = OPERATIONS) -> None:
        super().__init__(name, operations, least=1, most=1)

    def read(self, text: str) -> Architecture:
        """As the DARTS space, and SNAS_AGGRESSIVE."""
        return super().read(PUBLISHED.get(text.strip(), text))

    def remarks(self, arch: Architecture) -> tuple[str, ...]:
        """As the DARTS space, and which nodes have no input."""
        arch = self.check(arch)
        empty = [
            f"node {target} of the {cell} cell has no input and is zero"
            for cell in CELLS
            for target in NODES
            if not self.kept(arch, cell, target)
        ]
        return (*super().remarks(arch), *empty)

    def _build(self, nodes: Mapping[tuple[str, int], Sequence[Pair]]) -> Architecture:
        kept = super()._build(nodes)
        return Architecture({name: value or ("none",) for name, value in kept.items()})
