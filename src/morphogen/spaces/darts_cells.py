"""Cells of the DARTS family: nodes that add up what comes in over their edges.

Liu, Simonyan and Yang, ICLR 2019, arXiv 1806.09055.

A cell has inputs 0 and 1 (the outputs of the two cells before it) and intermediate nodes 2 to 5;
a node is the sum of its incoming edges, the cell's output the concatenation of the four nodes.
Every earlier node is a possible source, so a cell has 2 + 3 + 4 + 5 = 14 edges. What a node keeps
of them is each space's own rule. `none` is an option of the supernet, where it takes mass from the
others, and is never kept.

The notation lists, per cell and node, the kept edges as `operation~source`, lower source first:
`normal: sep_conv_3x3~0 sep_conv_3x3~1 | ... | ... | ... ; reduce: ...`. `read` takes the published
`Genotype(normal=[('sep_conv_3x3', 1), ...], ...)`, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar, Self

from morphogen.core import Architecture, ArchitectureError, Choice, SpaceError
from morphogen.spaces.base import (
    DecisionPlan,
    Differentiable,
    SearchSpace,
)
from morphogen.spaces.genotype import PUBLISHED, Genotype, Pair, read_genotype

OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""In the authors' order, which is also the order of the columns of alpha."""

NOISE = "noise"
"""S4's operation: standard normal noise, whatever the input."""

CELLS = ("normal", "reduce")
"""The groups of choices: one matrix of 14 rows each."""

NODES = (2, 3, 4, 5)
"""The intermediate nodes; 0 and 1 are the inputs of the cell."""

EDGES = tuple((source, target) for target in NODES for source in range(target))
"""(source, target) of the 14 edges, in the authors' order: the order of the rows of alpha."""

KEPT = 2
"""Incoming edges that a derived node keeps."""

RESIDUAL = " | ".join(f"skip_connect~{n - 2} sep_conv_3x3~{n - 1}" for n in NODES)
"""A cell made by hand: each node convolves the one before it, and adds the one before that."""

RESIDUAL_NAME = "ResNet-like cells"

RESIDUAL_REASON = (
    "one separable 3x3 convolution after the other, with a skip connection around each, as in a "
    "ResNet"
)


Operations = Sequence[str] | Mapping[str, Sequence[Sequence[str]]]
"""The options of every edge, or cell type -> those of each edge."""


def edge_name(cell: str, source: int, target: int) -> str:
    """Name of the choice on the edge from `source` into node `target` of a cell type."""
    return f"{cell}_{target}_{source}"


class DARTSCells(SearchSpace, Differentiable):
    """A normal and a reduction cell, whatever the rule of what a node keeps.

    Here of 14 edges each, between two inputs and four nodes.

    Args:
        name: how the command line and the run directory call the space.
        operations: the options of every edge, or cell type ("normal", "reduce") -> one tuple of
            options for each of the edges, in the order of `wiring`.
        least: values that an edge has at least.
        most: values that an edge has at most.
        cells: the groups of choices, one for each kind of cell.
        inputs: of a cell.
        nodes: intermediate ones of a cell, that read from all before them.

    Raises:
        SpaceError: the lists do not have an entry for each edge.
    """

    normed_skips: ClassVar[bool] = False
    """Whether a skip connection of stride 1 is followed by a batch norm."""
    normed_pools: ClassVar[bool] = True
    """Whether a pool of the supernet is followed by a batch norm."""
    published: ClassVar[Mapping[str, Genotype]] = PUBLISHED
    """Published cells that are read by their names."""
    nodes: tuple[int, ...] = NODES
    """The intermediate nodes; those before them are the inputs of the cell."""
    output: str = "concatenated"
    """What becomes of a cell's nodes, in a word."""

    def __init__(
        self,
        name: str,
        operations: Operations,
        *,
        least: int,
        most: int,
        cells: Sequence[str] = CELLS,
        inputs: int = NODES[0],
        nodes: int = len(NODES),
    ) -> None:
        self.cells = tuple(cells)
        self.nodes = tuple(range(inputs, inputs + nodes))
        self.wiring: tuple[tuple[int, int], ...] = tuple(
            (s, target) for target in self.nodes for s in range(target)
        )
        """(source, target) of the edges of a cell, in the order of the rows of alpha."""
        rows = (
            operations
            if isinstance(operations, Mapping)
            else {cell: [operations] * len(self.wiring) for cell in self.cells}
        )
        choices = []
        for cell in self.cells:
            if len(rows[cell]) != len(self.wiring):
                raise SpaceError(
                    f"space {name!r}: {len(rows[cell])} lists of operations for the {cell} cell; "
                    f"accepted: {len(self.wiring)}, one per edge"
                )
            for (source, target), options in zip(self.wiring, rows[cell], strict=True):
                edge = edge_name(cell, source, target)
                choices.append(Choice(edge, tuple(options), cell, least, min(most, len(options))))
        super().__init__(name, choices)

    # -- structure ---------------------------------------------------------------------------

    def node(self, cell: str, target: int) -> tuple[Choice, ...]:
        """The choices on the incoming edges of node `target`, lower source first."""
        return tuple(self.choice(edge_name(cell, s, target)) for s in range(target))

    def keeps(self, target: int) -> int:
        """Edges that a node keeps in the DARTS space: two, or the one that it has."""
        return min(KEPT, target)

    def cell(self, number: int, *, reduction: bool) -> str:
        """The group of choices that cell `number` of a network reads; here all of a type share."""
        return CELLS[reduction]

    def summed(self) -> tuple[tuple[str, ...], ...]:
        """The edges into each node of each cell."""
        return tuple(
            tuple(c.name for c in self.node(cell, target))
            for cell in self.cells
            for target in self.nodes
        )

    def decision_plans(self) -> tuple[DecisionPlan, ...]:
        """The edges of each kind of cell."""
        return tuple((tuple(c.name for c in self.groups[cell]),) for cell in self.cells)

    @cached_property
    def operations(self) -> tuple[str, ...]:
        """Every operation that some edge of this space can keep, in the order of `OPERATIONS`."""
        found = {o for c in self.choices for o in c.options if o != "none"}
        known = [o for o in (*OPERATIONS, NOISE) if o in found]
        return (*known, *sorted(found.difference(known)))

    def _with(self, choices: Sequence[Choice]) -> Self:
        new = super()._with(choices)
        new.__dict__.pop("operations", None)
        return new

    # -- architectures -----------------------------------------------------------------------

    def kept(self, arch: Architecture, cell: str, target: int) -> list[Pair]:
        """(operation, source) of all that node `target` of `arch` adds up, lower source first."""
        return [
            (operation, source)
            for source, choice in enumerate(self.node(cell, target))
            for operation in arch[choice.name]
            if operation != "none"
        ]

    def _build(self, nodes: Mapping[tuple[str, int], Sequence[Pair]]) -> Architecture:
        """The architecture that keeps these pairs at each (cell, node); not checked."""
        kept: dict[str, list[str]] = {c.name: [] for c in self.choices}
        for (cell, target), pairs in nodes.items():
            for operation, source in pairs:
                kept[edge_name(cell, source, target)].append(operation)
        return Architecture(kept)

    def remarks(self, arch: Architecture) -> tuple[str, ...]:
        """What is the matter with the cells.

        The normal cell has no weights to train, or none that see its inputs; a cell ignores its
        inputs; most of what it keeps are skip connections.
        """
        arch = self.check(arch)
        out = []
        for cell in self.cells:
            kept = [pair for target in self.nodes for pair in self.kept(arch, cell, target)]
            sees = set(range(self.nodes[0]))
            for target in self.nodes:
                into = self.kept(arch, cell, target)
                if any(source in sees and operation != NOISE for operation, source in into):
                    sees.add(target)
            convolved = [source for operation, source in kept if "conv" in operation]
            # Not asked of the reduction cell: its skips from the inputs are convolutions.
            if cell == "normal" and not convolved:
                out.append("the normal cell has no convolution: it can only pass and pool")
            elif cell == "normal" and not sees.intersection(convolved):
                out.append("no convolution of the normal cell is reached from its inputs")
            if not sees.intersection(self.nodes):
                out.append(f"the {cell} cell is disconnected: its output does not see its inputs")
            skips = sum(operation == "skip_connect" for operation, _ in kept)
            if cell in CELLS and 2 * skips > len(kept):  # a cell of its own may well be pruned
                out.append(
                    f"{skips} of {len(kept)} operations of the {cell} cell are skip connections, "
                    "the mark of a search that collapsed"
                )
        return tuple(out)

    def arguments(self) -> dict[str, Any]:
        """One list of options for each edge."""
        rows = {cell: [list(c.options) for c in self.groups[cell]] for cell in self.cells}
        return {"operations": rows}

    # -- text --------------------------------------------------------------------------------

    def format(self, arch: Architecture) -> str:
        """`normal: op~source op~source | ... ; reduce: ...`, node by node, lower source first."""
        arch = self.check(arch)
        return " ; ".join(
            f"{cell}: "
            + " | ".join(
                " ".join(f"{operation}~{source}" for operation, source in self.kept(arch, cell, t))
                for t in self.nodes
            )
            for cell in self.cells
        )

    def read(self, text: str) -> Architecture:
        """Read this space's notation, a published `Genotype(...)`, or the name of a published cell.

        Within a node the order of the edges is free. A `Genotype(...)` is read as genotypes.py and
        logs have it, with a name or a time before it.

        Raises:
            ArchitectureError: names the part that cannot be read.
        """
        text = text.strip()
        if text in self.published:
            return self.from_genotype(self.published[text])
        genotype = read_genotype(text)
        if genotype is not None:
            return self.from_genotype(genotype)
        rest = "".join(f" ; {cell}: ..." for cell in self.cells[1:2])
        shape = f"{self.cells[0]}: op~source op~source | op~source op~source | ... | ...{rest}"
        names = ", ".join(("the published Genotype(...) form", *self.published))
        cells = dict(part.strip().partition(":")[::2] for part in text.split(";"))
        if set(cells) != set(self.cells):
            raise ArchitectureError(
                f"cannot read architecture {text!r}; accepted: {shape}, or {names}"
            )
        nodes: dict[tuple[str, int], list[Pair]] = {}
        for cell, body in cells.items():
            parts = body.split("|")
            if len(parts) != len(self.nodes):
                raise ArchitectureError(
                    f"the {cell} cell of {text!r} has {len(parts)} node(s); accepted: "
                    f"{len(self.nodes)}, as {shape}"
                )
            for target, part in zip(self.nodes, parts, strict=True):
                nodes[cell, target] = []
                for edge in part.split():
                    operation, _, source = edge.rpartition("~")
                    if not operation or not re.fullmatch("[0-9]{1,3}", source):
                        raise ArchitectureError(f"cannot read {edge!r}; accepted: operation~source")
                    nodes[cell, target].append((operation, int(source)))
        return self._from_pairs(nodes)

    def _from_pairs(self, nodes: Mapping[tuple[str, int], Sequence[Pair]]) -> Architecture:
        for (cell, target), pairs in nodes.items():
            for operation, source in pairs:
                if not 0 <= source < target:
                    raise ArchitectureError(
                        f"node {target} of the {cell} cell has no source {source} "
                        f"({operation}~{source}); accepted: 0 to {target - 1}"
                    )
        return self.check(self._build(nodes))

    def from_genotype(self, genotype: Genotype) -> Architecture:
        """The architecture of an authors' record.

        Raises:
            ArchitectureError: not all edges of a cell (eight), another concatenation than of all
                nodes, or an operation or source that this space does not have.
        """
        nodes: dict[tuple[str, int], Sequence[Pair]] = {}
        per_node = [self.keeps(target) for target in self.nodes]
        for cell, listed, concat in (
            ("normal", genotype.normal, genotype.normal_concat),
            ("reduce", genotype.reduce, genotype.reduce_concat),
        ):
            try:
                pairs = [(str(operation), int(source)) for operation, source in listed]
                outputs = sorted(int(node) for node in concat)
            except (TypeError, ValueError, OverflowError) as error:
                raise ArchitectureError(
                    f"cannot read the {cell} cell of genotype {genotype!r}; accepted: a list of "
                    "('operation', source) and the concatenated nodes"
                ) from error
            if outputs != list(self.nodes):
                raise ArchitectureError(
                    f"genotype concatenates nodes {outputs} in the {cell} cell; accepted: "
                    f"{self.nodes[0]} to {self.nodes[-1]}"
                )
            if len(pairs) != sum(per_node):
                raise ArchitectureError(
                    f"genotype has {len(pairs)} edges in the {cell} cell; accepted: "
                    f"{sum(per_node)}, two per node"
                )
            rest = iter(pairs)
            for target, count in zip(self.nodes, per_node, strict=True):
                nodes[cell, target] = list(islice(rest, count))
        return self._from_pairs(nodes)
