"""NAS-Bench-201: one cell of four nodes, six edges, five operations; 15,625 architectures.

Dong and Yang, ICLR 2020, arXiv 2001.00326. Node 0 is the cell's input, node 3 its output; a node
is the sum of its incoming edges. The notation lists, for nodes 1 to 3, each incoming edge as
`operation~source`: `|nor_conv_3x3~0|+|none~0|skip_connect~1|+|...~0|...~1|...~2|`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from morphogen.core import Architecture, ArchitectureError, Choice
from morphogen.core.names import brief
from morphogen.spaces.base import Differentiable, SearchSpace
from morphogen.spaces.printed import WRONG, numbers, value
from morphogen.spaces.registry import register

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""In the benchmark's own order, which is also the order of the rows of alpha."""

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(source, target) in the benchmark's own order."""

NODES = 4

MOSTLY = 4
"""Skip connections, `none` and loose ends together from above which they are remarked on. The
ResNet cell has four; of the connected cells with five or six, 74 % are in the table's lower half on
CIFAR-10."""

RESNET = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"
"""Two convolutions, and the cell's input added to them."""

SHAPE = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
"""The notation, for messages."""

INDEX = "[0-9]{1,5}"
"""How the number of a row of the benchmark is written."""

NASLIB_OPERATIONS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
"""In NASLib's order (automl/NASLib, search_spaces/nasbench201/conversions.py, `OP_NAMES_NB201`)."""

NASLIB_EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
"""Edges in NASLib's order, by source (there, `EDGE_LIST`, nodes are numbered from 1)."""


def edge_name(source: int, target: int) -> str:
    """Name of the choice on the edge from node `source` to node `target`."""
    return f"edge_{source}_{target}"


@register(
    "nasbench201",
    supernet="morphogen.supernets.nasbench201",
    drawing="cell-edges",
    network={"channels": 16, "depth": 5},
    search={
        "network.channels": 16,
        "network.depth": 5,
        "task.image_size": 0,
        "split.train_images": 25000,
        "split.valid_images": 25000,
    },
    evaluation={
        "epochs": 200,
        "batch_size": 256,
        "task.image_size": 0,
        "network.channels": 16,
        "network.depth": 5,
        "lr": 0.1,
        "weight_decay": 5e-4,
        "clip": 0.0,
        "held_out": 0.0,
    },
    table="nasbench201",
    reference=RESNET,
    reference_name="ResNet",
    reference_reason="the basic block of He et al. as a cell, which the authors' code has under "
    "that name (models/cell_searchs/genotypes.py)",
)
class NASBench201(SearchSpace, Differentiable):
    """The topology search space of NAS-Bench-201 (and of NATS-Bench).

    Args:
        name: how the command line and the run directory call the space.
        operations: the options of every edge.
    """

    def __init__(self, name: str = "nasbench201", operations: Sequence[str] = OPERATIONS) -> None:
        self.operations = tuple(operations)
        super().__init__(name, [Choice(edge_name(s, t), self.operations, "cell") for s, t in EDGES])

    def summed(self) -> tuple[tuple[str, ...], ...]:
        """The edges into each node."""
        return tuple(
            tuple(edge_name(s, t) for s, t in EDGES if t == target) for target in range(1, NODES)
        )

    def arguments(self) -> dict[str, Any]:
        """The options of every edge, of the whole space."""
        return {"operations": list(self.operations)}

    def format(self, arch: Architecture) -> str:
        """The benchmark's notation, e.g. `|skip_connect~0|+|none~0|none~1|+|none~0|...|`."""
        arch = self.check(arch)
        nodes = (
            "|" + "".join(f"{arch.one(edge_name(s, t))}~{s}|" for s in range(t))
            for t in range(1, NODES)
        )
        return "+".join(nodes)

    def read(self, text: str) -> Architecture:
        """Read a cell in the benchmark's notation, or in one of these.

        - The same with anything before or after it, as logs and `Structure(4 nodes with |...|)`
          print it.
        - The authors' list of nodes: `[(('nor_conv_3x3', 0),), (('none', 0), ('none', 1)), ...]`.
        - Six numbers, which are NASLib's: `(4, 0, 3, 1, 4, 3)`, operations in the order of
          `NASLIB_OPERATIONS` on edges in the order of `NASLIB_EDGES`.

        The number of a row of the table is read by the table (`Benchmark.read`).

        Raises:
            ArchitectureError: names the part that is wrong.
        """
        cell = re.search(r"\|.*\|", text, re.DOTALL)
        if cell is None:
            return self._read_lists(text)
        nodes = "".join(cell[0].split()).split("+")
        if len(nodes) != NODES - 1:
            raise ArchitectureError(
                f"architecture {text!r} has {len(nodes)} node(s); accepted: {NODES - 1}, as {SHAPE}"
            )
        pairs: list[list[tuple[str, str]]] = []
        for node in nodes:
            if not re.fullmatch(r"\|([^|~]+~\d\|)+", node):
                raise ArchitectureError(
                    f"cannot read node {node!r} of architecture {text!r}; accepted: {SHAPE}"
                )
            edges = [part.split("~") for part in node.strip("|").split("|")]
            pairs.append([(operation, source) for operation, source in edges])
        return self._of_nodes(pairs)

    def _read_lists(self, text: str) -> Architecture:
        six = numbers(text)
        if six is not None and len(six) == len(NASLIB_EDGES):
            if not set(six) <= set(range(len(NASLIB_OPERATIONS))):
                raise ArchitectureError(
                    f"six numbers are read as NASLib's, and {brief(text)} has others than 0 to "
                    f"{len(NASLIB_OPERATIONS) - 1}; accepted: {', '.join(NASLIB_OPERATIONS)} by "
                    f"their number, or {SHAPE}"
                )
            edges = zip(NASLIB_EDGES, six, strict=True)
            return self.check(
                Architecture({edge_name(*edge): NASLIB_OPERATIONS[i] for edge, i in edges})
            )
        if re.fullmatch(INDEX, text.strip()):
            raise ArchitectureError(
                f"architecture {brief(text)} looks like a row of the benchmark; accepted: "
                f"`morphogen query nasbench201 {text.strip()}`, which prints its cell, and {SHAPE}"
            )
        try:
            nodes = [
                [(str(operation), str(source)) for operation, source in node]
                for node in value(text)
            ]
        except WRONG as error:
            raise ArchitectureError(
                f"cannot read architecture {brief(text)}; accepted: {SHAPE}, the authors' list of "
                "nodes, or NASLib's six operation indices"
            ) from error
        if len(nodes) != NODES - 1:
            raise ArchitectureError(
                f"architecture {brief(text)} has {len(nodes)} node(s); accepted: {NODES - 1}, as "
                f"{SHAPE}"
            )
        return self._of_nodes([sorted(node, key=lambda pair: pair[1]) for node in nodes])

    def _of_nodes(self, nodes: Sequence[Sequence[tuple[str, str]]]) -> Architecture:
        """From the (operation, source) of each node's edges, nodes 1 to 3."""
        kept: dict[str, str] = {}
        for target, edges in enumerate(nodes, start=1):
            if [source for _, source in edges] != [str(s) for s in range(target)]:
                node = f"|{''.join(f'{operation}~{source}|' for operation, source in edges)}"
                raise ArchitectureError(
                    f"node {node!r} must name the sources 0 to {target - 1} in order, as in {SHAPE}"
                )
            kept |= {edge_name(int(s), target): operation for operation, s in edges}
        return self.check(Architecture(kept))

    def encode(
        self, arch: Architecture, kind: Literal["onehot", "adjacency", "path"] = "onehot"
    ) -> NDArray[np.float32]:
        """`onehot` (30), `adjacency` (operations as nodes: 28 + 30), `path` (5+25+125 bits).

        The path encoding marks which sequences of operations lead from input to output without
        passing a `none`, shortest first (White et al., BANANAS, arXiv 1910.11858). The authors'
        code marks sequences with a `none` in them, too, through which nothing comes.
        """
        if kind == "onehot":
            return super().encode(arch, kind)
        arch = self.check(arch)
        if kind == "adjacency":
            return _operation_graph(arch, self.operations)
        return _paths(arch, self.operations)

    def connected(self, arch: Architecture) -> bool:
        """Whether a path without `none` leads from the cell's input to its output."""
        return bool(open_paths(self.check(arch)))

    def remarks(self, arch: Architecture) -> tuple[str, ...]:
        """What is the matter with the cell.

        It is disconnected; or no convolution has an effect, so that nothing in it is learnt; or
        most edges carry a skip connection or nothing, or are on no path through the cell.
        """
        arch = self.check(arch)
        paths = open_paths(arch)
        if not paths:
            return (
                "the cell is disconnected: every path from its input to its output passes a none",
            )
        out = []
        if not any("conv" in operation for path in paths for operation in path):
            idle = any("conv" in arch.one(choice.name) for choice in self.choices)
            lacks = "convolution on a path from its input to its output" if idle else "parameters"
            out.append(f"the cell has no {lacks}: it can only pass and pool")
        plain = len(EDGES) - sum(
            arch.one(edge_name(*edge)) != "skip_connect" for edge in open_edges(arch)
        )
        if plain > MOSTLY:
            out.append(
                f"{plain} of the cell's {len(EDGES)} edges are skip connections or none, or "
                "lead nowhere: little is left that learns"
            )
        return tuple(out)


@register(
    "signal201",
    supernet="morphogen.supernets.nasbench201",
    drawing="cell-edges",
    reference=RESNET,
    reference_name="ResNet",
    reference_reason="the basic block of He et al. as a cell, its convolutions in one dimension, "
    "as in the residual networks for signals",
)
class Signal201(NASBench201):
    """The cell and the stages of NAS-Bench-201 in one dimension, for signals [n, channels, time].

    Choices, notation and derivation are those of images: `nor_conv_3x3` is a convolution over 3
    points of time.
    """

    spatial_dims: ClassVar[int | None] = 1

    def __init__(self, name: str = "signal201", operations: Sequence[str] = OPERATIONS) -> None:
        super().__init__(name, operations)


def open_edges(arch: Architecture) -> list[tuple[int, int]]:
    """The edges that carry something from node 0 to node 3, as (source, target)."""
    full = {edge for edge in EDGES if arch.one(edge_name(*edge)) != "none"}
    reached, reaching = {0}, {NODES - 1}
    for node in range(1, NODES):
        reached |= {node for source in reached if (source, node) in full}
    for node in reversed(range(NODES - 1)):
        reaching |= {node for target in reaching if (node, target) in full}
    return [(s, t) for s, t in EDGES if (s, t) in full and s in reached and t in reaching]


def open_paths(arch: Architecture) -> set[tuple[str, ...]]:
    """The operation sequences of all paths from node 0 to node 3 that pass no `none`."""
    found: set[tuple[str, ...]] = set()

    def walk(node: int, sequence: tuple[str, ...]) -> None:
        if node == NODES - 1:
            found.add(sequence)
            return
        for target in range(node + 1, NODES):
            operation = arch.one(edge_name(node, target))
            if operation != "none":
                walk(target, (*sequence, operation))

    walk(0, ())
    return found


def _paths(arch: Architecture, operations: Sequence[str]) -> NDArray[np.float32]:
    present = open_paths(arch)
    words: list[Sequence[str]] = [
        word for length in range(1, NODES) for word in product(operations, repeat=length)
    ]
    return np.array([tuple(word) in present for word in words], np.float32)


def _operation_graph(arch: Architecture, operations: Sequence[str]) -> NDArray[np.float32]:
    """Operations as nodes: 28 entries above the diagonal of the 8x8 adjacency, then 30 one-hot."""
    size = len(EDGES) + 2  # input, six operations, output
    matrix = np.zeros((size, size), np.float32)
    labels = np.zeros((len(EDGES), len(operations)), np.float32)
    for i, (source, target) in enumerate(EDGES):
        labels[i, operations.index(arch.one(edge_name(source, target)))] = 1.0
        matrix[0, i + 1] = source == 0
        matrix[i + 1, size - 1] = target == NODES - 1
        for j, (other_source, _) in enumerate(EDGES):
            matrix[i + 1, j + 1] = other_source == target
    return np.concatenate([matrix[np.triu_indices(size, 1)], labels.ravel()])
