"""The DARTS cell space: a normal and a reduction cell, searched together.

Liu, Simonyan and Yang, ICLR 2019, arXiv 1806.09055; the pair form of the node rule: GDAS, Dong and
Yang, CVPR 2019, arXiv 1910.04465.

A cell has inputs 0 and 1 (the outputs of the two cells before it) and intermediate nodes 2 to 5;
a node is the sum of its incoming edges, the cell's output the concatenation of the four nodes.
Every earlier node is a possible source, so a cell has 2 + 3 + 4 + 5 = 14 edges. A derived node
keeps two of them, with one operation each; the others are dropped. `none` is an option of the
supernet, where it takes mass from the others, and is never kept.

The notation lists, per cell and node, the kept edges as `operation~source`, lower source first:
`normal: sep_conv_3x3~0 sep_conv_3x3~1 | ... | ... | ... ; reduce: ...`. `DARTS.genotype` and
`DARTS.parse` write and read the published `Genotype(normal=[('sep_conv_3x3', 1), ...], ...)`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from itertools import combinations, islice
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from morphogen.core import Architecture, ArchitectureError, Choice, SpaceError, UnknownNameError
from morphogen.spaces.base import (
    DecisionPlan,
    Differentiable,
    EdgeSelection,
    OptionScores,
    SearchSpace,
)
from morphogen.spaces.genotype import PUBLISHED, Genotype, Pair, read_genotype
from morphogen.spaces.registry import register

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


def _values_of(choices: Sequence[Choice], pairs: Collection[Pair]) -> dict[str, tuple[str, ...]]:
    """What each edge into a node, source 0 first, keeps if the node keeps `pairs`."""
    kept = [[o for o, s in pairs if s == source] for source in range(len(choices))]
    return {
        choice.name: tuple(sorted(operations, key=choice.index))
        for choice, operations in zip(choices, kept, strict=True)
    }


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


@register(
    "darts",
    supernet="morphogen.supernets.darts",
    drawing="cell-pair",
    network={"channels": 36, "depth": 20},  # as retrained on CIFAR-10
    search={
        "network.channels": 16,
        "network.depth": 8,
        "task.image_size": 0,
        "split.train_images": 25000,
        "split.valid_images": 25000,
    },
    evaluation={
        "epochs": 600,
        "batch_size": 96,
        "task.image_size": 0,
        "network.channels": 36,
        "network.depth": 20,
        "lr": 0.025,
        "nesterov": False,
        "weight_decay": 3e-4,
        "clip": 5.0,
        "task.cutout": 16,
        "network.drop_path": 0.2,
        "network.auxiliary": 0.4,
        "held_out": 0.0,
    },
    quick={"network.depth": 4, "network.channels": 12, "lr": 0.025},
    reference="DARTS_V1",
    reference_name="DARTS (first order)",
    reference_reason="the first published cell of the space, found by first-order DARTS on "
    "CIFAR-10, with which later searches are compared",
)
class DARTS(DARTSCells):
    """The DARTS space: eight operations on every edge, about 10^18 pairs of cells.

    Or a space on the same cells with other operations per edge.

    Args:
        name: how the command line and the run directory call the space.
        operations: the options of every edge, or cell type ("normal", "reduce") -> one tuple of
            options for each of the edges, in the order of `wiring`.
        distinct: True (DARTS): the two kept edges of a node have different sources. False (GDAS):
            a node keeps two (operation, source) pairs, which may lie on one edge.
        inputs: of a cell. A node that has fewer sources than it keeps edges keeps all of them.
        nodes: intermediate ones of a cell.

    Raises:
        SpaceError: a node is left with no way to keep its operations, or the lists do not have an
            entry for each edge.
    """

    def __init__(
        self,
        name: str = "darts",
        operations: Operations = OPERATIONS,
        *,
        distinct: bool = True,
        inputs: int = NODES[0],
        nodes: int = len(NODES),
    ) -> None:
        self.distinct = distinct
        most = 1 if distinct else KEPT
        super().__init__(name, operations, least=0, most=most, inputs=inputs, nodes=nodes)
        self._nodes_possible()

    # -- structure ---------------------------------------------------------------------------

    def edge_selections(self) -> tuple[EdgeSelection, ...]:
        """The edges into each node that has more than it keeps."""
        return tuple(
            EdgeSelection(tuple(c.name for c in self.node(cell, target)), KEPT)
            for cell in CELLS
            for target in self.nodes
            if target > KEPT
        )

    @cached_property
    def _nodes(self) -> dict[tuple[str, int], tuple[tuple[Pair, ...], ...]]:
        """(cell, node) -> all values a node can have: two pairs, lower source and option first."""
        values = {}
        for cell in CELLS:
            for target in self.nodes:
                pairs = [
                    (option, source)
                    for source, choice in enumerate(self.node(cell, target))
                    for option in choice.options
                    if option != "none"
                ]
                keeps = self.keeps(target)
                values[cell, target] = tuple(
                    kept
                    for kept in combinations(pairs, keeps)
                    if len({source for _, source in kept}) == keeps or not self.distinct
                )
        return values

    def _nodes_possible(self) -> None:
        for (cell, target), values in self._nodes.items():
            if not values:
                raise SpaceError(
                    f"space {self.name!r}: node {target} of the {cell} cell has no way to keep "
                    f"{self._many(target)} other than none; leave it more options"
                )

    def _with(self, choices: Sequence[Choice]) -> Self:
        new = super()._with(choices)
        new.__dict__.pop("_nodes", None)
        new._nodes_possible()
        return new

    def size(self) -> int:
        """Number of architectures: (1*3*6*10 * 7^8)^2 with all eight operations."""
        return math.prod(len(values) for values in self._nodes.values())

    # -- architectures -----------------------------------------------------------------------

    def check(self, arch: Architecture) -> Architecture:
        """As the base, and: two operations per node, none of them `none`.

        Raises:
            ArchitectureError: names the node and what it keeps.
        """
        arch = super().check(arch)
        for cell, target in self._nodes:
            edges = enumerate(self.node(cell, target))
            kept = [(o, source) for source, choice in edges for o in arch[choice.name]]
            if len(kept) != self.keeps(target) or any(o == "none" for o, _ in kept):
                what = " ".join(f"{o}~{source}" for o, source in kept) or "nothing"
                edges_kept = "edge" if self.keeps(target) == 1 else "edges"
                raise ArchitectureError(
                    f"node {target} of the {cell} cell keeps {what}; accepted: "
                    f"{self.keeps(target)} incoming {edges_kept} with an operation other than none"
                )
        return arch

    def _many(self, target: int) -> str:
        return f"{KEPT} operations" if self.keeps(target) == KEPT else "an operation"

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One architecture, uniformly at random: the nodes are independent of one another."""
        return self._build({n: v[int(rng.integers(len(v)))] for n, v in self._nodes.items()})

    def enumerate(self) -> list[Architecture]:
        """All architectures; for restricted spaces only, the full one has 10^18.

        Raises:
            SpaceError: there are more than a million.
        """
        if self.size() > 1_000_000:
            raise SpaceError(
                f"space {self.name!r} has {self.size():.2e} architectures; accepted for listing: "
                "at most a million (restrict the space, or sample)"
            )
        found: list[dict[tuple[str, int], Sequence[Pair]]] = [{}]
        for node, values in self._nodes.items():
            found = [{**nodes, node: value} for nodes in found for value in values]
        return [self._build(nodes) for nodes in found]

    def moves(self, arch: Architecture) -> list[dict[str, tuple[str, ...]]]:
        """One kept edge has another operation, or comes from another source.

        A moved edge takes its operation along; where the new edge does not offer it (as in S1),
        every operation that it offers makes a neighbour.
        """
        out = []
        for cell, target in self._nodes:
            kept = self.kept(arch, cell, target)
            for place, (operation, source) in enumerate(kept):
                stays = [pair for i, pair in enumerate(kept) if i != place]
                taken = {source for _, source in stays}
                for other, choice in enumerate(self.node(cell, target)):
                    offered = [o for o in choice.options if o != "none"]
                    if other == source:
                        moves = [o for o in offered if o != operation]
                    elif self.distinct and other in taken:
                        continue
                    else:
                        moves = [operation] if operation in offered else offered
                    for move in moves:
                        if (move, other) not in stays:
                            out.append((cell, target, frozenset(((move, other), *stays))))
        # Two of GDAS' pairs on one edge can reach one architecture in two ways: list it once.
        nodes = {node: self.node(*node) for node in self._nodes}
        return [
            _values_of(nodes[cell, target], pairs) for cell, target, pairs in dict.fromkeys(out)
        ]

    def crossover(
        self, first: Architecture, second: Architecture, rng: np.random.Generator
    ) -> Architecture:
        """A child that takes each node, with its two edges, from either parent."""
        first, second = self.check(first), self.check(second)
        coins = rng.integers(2, size=len(self._nodes))
        parents = [second if coin else first for coin in coins]
        return self._build(
            {
                (cell, target): self.kept(parent, cell, target)
                for (cell, target), parent in zip(self._nodes, parents, strict=True)
            }
        )

    def derive(self, scores: OptionScores) -> Architecture:
        """DARTS' rule (section 2.4): two incoming edges per node, by their best operation.

        With `distinct`, an edge's score is its largest entry other than `none`; the two best edges
        stay (ties: lower source) with their best operation (ties: first option). Otherwise the
        two best (operation, source) pairs of the node stay (ties: lower source, then first option).

        Args:
            scores: "normal" and "reduce" -> [14, widest], usually the softmax of alpha over all
                options: `none` takes part in the softmax, so edges are comparable only then.
        """
        named = {choice.name: row for choice, row in self.rows(scores)}
        nodes: dict[tuple[str, int], Sequence[Pair]] = {}
        for cell, target in self._nodes:
            ranked: list[tuple[float, Pair]] = []
            for source, choice in enumerate(self.node(cell, target)):
                pairs = [
                    (float(score), (option, source))
                    for option, score in zip(choice.options, named[choice.name], strict=True)
                    if option != "none"
                ]
                if self.distinct and pairs:
                    pairs = [max(pairs, key=lambda p: p[0])]  # max keeps the first of equals
                ranked += pairs
            ranked.sort(key=lambda p: -p[0])  # stable: ties keep the lower source
            nodes[cell, target] = [pair for _, pair in ranked[: self.keeps(target)]]
        return self.check(self._build(nodes))

    def arguments(self) -> dict[str, Any]:
        """One list of options for each edge, and whether sources are distinct."""
        return {**super().arguments(), "distinct": self.distinct}

    # -- text --------------------------------------------------------------------------------

    def genotype(self, arch: Architecture) -> Genotype:
        """The authors' record of `arch`; within a node the lower source comes first."""
        arch = self.check(arch)
        lists = [[p for t in self.nodes for p in self.kept(arch, cell, t)] for cell in CELLS]
        concat = range(self.nodes[0], self.nodes[-1] + 1)
        return Genotype(lists[0], concat, lists[1], concat)

    # -- numbers -----------------------------------------------------------------------------

    def encode(
        self, arch: Architecture, kind: Literal["onehot", "adjacency", "path"] = "onehot"
    ) -> NDArray[np.float32]:
        """`onehot` (one entry per edge and option) or `adjacency`.

        `adjacency`, per cell type: a graph of 11 vertices, the two inputs, the eight kept
        operations (node by node, lower source first) and the output; an arrow leads from an input
        or from both operations of a node to each operation that reads it, and from every operation
        to the output. 55 entries above the diagonal, then 8 rows one-hot over `operations`.
        With all operations: 2 * 14 * 8 = 224 (onehot), 2 * (55 + 8 * 7) = 222 (adjacency).
        """
        if kind == "onehot":
            return super().encode(arch, kind)
        if kind != "adjacency":
            raise UnknownNameError(
                f"encoding of space {self.name!r}", kind, ["onehot", "adjacency"]
            )
        arch = self.check(arch)
        return np.concatenate([part for cell in CELLS for part in self._graph(arch, cell)])

    def _graph(self, arch: Architecture, cell: str) -> list[NDArray[np.float32]]:
        kept = [(t, *pair) for t in self.nodes for pair in self.kept(arch, cell, t)]
        inputs = self.nodes[0]
        vertices = inputs + len(kept) + 1
        matrix = np.zeros((vertices, vertices), np.float32)
        labels = np.zeros((len(kept), len(self.operations)), np.float32)
        for i, (_, operation, source) in enumerate(kept):
            labels[i, self.operations.index(operation)] = 1.0
            matrix[inputs + i, -1] = 1.0
            if source < inputs:
                matrix[source, inputs + i] = 1.0
            for j, (target, _, _) in enumerate(kept):
                if target == source:
                    matrix[inputs + j, inputs + i] = 1.0
        return [matrix[np.triu_indices(vertices, 1)], labels.ravel()]


@register(
    "signal-darts",
    supernet="morphogen.supernets.darts",
    drawing="cell-pair",
    quick={"network.depth": 4, "network.channels": 12, "lr": 0.025},
    reference=f"normal: {RESIDUAL} ; reduce: {RESIDUAL}",
    reference_name=RESIDUAL_NAME,
    reference_reason=f"{RESIDUAL_REASON}; no cell is published for signals",
)
class SignalDARTS(DARTS):
    """The DARTS space in one dimension, for signals [n, channels, time].

    Choices, notation and derivation are those of images: `sep_conv_5x5` is a convolution over 5
    points of time.
    """

    spatial_dims: ClassVar[int | None] = 1

    def __init__(
        self,
        name: str = "signal-darts",
        operations: Operations = OPERATIONS,
        *,
        distinct: bool = True,
    ) -> None:
        super().__init__(name, operations, distinct=distinct)


@register(
    "darts-gdas",
    like="darts",
    reference="GDAS_V1",
    reference_name="GDAS",
    reference_reason="the cell that GDAS published, by whose rule the space is made",
)
def gdas() -> DARTS:
    """The DARTS space under GDAS' rule: a node keeps two (operation, source) pairs, of any edge."""
    return DARTS("darts-gdas", distinct=False)
