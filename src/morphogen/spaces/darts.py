"""The DARTS cell space: a normal and a reduction cell, searched together.

Liu, Simonyan and Yang, ICLR 2019, arXiv 1806.09055; the pair form of the node rule: GDAS, Dong and
Yang, CVPR 2019, arXiv 1910.04465.

Of the edges into a node (`darts_cells`) a derived node keeps two, with one operation each; the
others are dropped. `DARTS.genotype` and `DARTS.parse` write and read the published
`Genotype(normal=[('sep_conv_3x3', 1), ...], ...)`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import cached_property
from itertools import combinations
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from morphogen.core import Architecture, ArchitectureError, Choice, SpaceError, UnknownNameError
from morphogen.spaces.base import EdgeSelection, OptionScores
from morphogen.spaces.darts_cells import (
    CELLS,
    KEPT,
    NODES,
    OPERATIONS,
    RESIDUAL,
    RESIDUAL_NAME,
    RESIDUAL_REASON,
    DARTSCells,
    Operations,
)
from morphogen.spaces.genotype import Genotype, Pair
from morphogen.spaces.registry import register


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


def _values_of(choices: Sequence[Choice], pairs: Collection[Pair]) -> dict[str, tuple[str, ...]]:
    """What each edge into a node, source 0 first, keeps if the node keeps `pairs`."""
    kept = [[o for o, s in pairs if s == source] for source in range(len(choices))]
    return {
        choice.name: tuple(sorted(operations, key=choice.index))
        for choice, operations in zip(choices, kept, strict=True)
    }
