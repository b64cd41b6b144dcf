"""NAS-Bench-201: one cell of four nodes, six edges, five operations; 15,625 architectures.

Dong and Yang, ICLR 2020, arXiv 2001.00326. Node 0 is the cell's input, node 3 its output; a node
is the sum of its incoming edges. The notation lists, for nodes 1 to 3, each incoming edge as
`operation~source`: `|nor_conv_3x3~0|+|none~0|skip_connect~1|+|...~0|...~1|...~2|`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from morphogen.core import Architecture, ArchitectureError, Choice
from morphogen.spaces.base import Differentiable, SearchSpace

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""In the benchmark's own order, which is also the order of the rows of alpha."""

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(source, target) in the benchmark's own order."""

NODES = 4


def edge_name(source: int, target: int) -> str:
    """Name of the choice on the edge from node `source` to node `target`."""
    return f"edge_{source}_{target}"


class NASBench201(SearchSpace, Differentiable):
    """The topology search space of NAS-Bench-201 (and of NATS-Bench)."""

    def __init__(self) -> None:
        super().__init__(
            "nasbench201", [Choice(edge_name(s, t), OPERATIONS, "cell") for s, t in EDGES]
        )

    def format(self, arch: Architecture) -> str:
        """The benchmark's notation, e.g. `|skip_connect~0|+|none~0|none~1|+|none~0|...|`."""
        arch = self.check(arch)
        nodes = (
            "|" + "".join(f"{arch.one(edge_name(s, t))}~{s}|" for s in range(t))
            for t in range(1, NODES)
        )
        return "+".join(nodes)

    def read(self, text: str) -> Architecture:
        """Read the benchmark's notation; an `ArchitectureError` names the part that is wrong."""
        nodes = text.strip().split("+")
        shape = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
        if len(nodes) != NODES - 1:
            raise ArchitectureError(
                f"architecture {text!r} has {len(nodes)} node(s); accepted: {NODES - 1}, as {shape}"
            )
        kept: dict[str, str] = {}
        for target, node in enumerate(nodes, start=1):
            if not re.fullmatch(r"\|([^|~]+~\d\|)+", node):
                raise ArchitectureError(
                    f"cannot read node {node!r} of architecture {text!r}; accepted: {shape}"
                )
            edges = [part.split("~") for part in node.strip("|").split("|")]
            if [source for _, source in edges] != [str(s) for s in range(target)]:
                raise ArchitectureError(
                    f"node {node!r} must name the sources 0 to {target - 1} in order, as in {shape}"
                )
            kept |= {edge_name(int(s), target): operation for operation, s in edges}
        return self.check(Architecture(kept))

    def encode(
        self, arch: Architecture, kind: Literal["onehot", "adjacency", "path"] = "onehot"
    ) -> NDArray[np.float32]:
        """`onehot` (30), `adjacency` (operations as nodes: 28 + 30), `path` (5+25+125 bits).

        The path encoding marks which sequences of operations lead from input to output without
        passing a `none`, shortest first (White et al., BANANAS, arXiv 1910.11858).
        """
        if kind == "onehot":
            return super().encode(arch, kind)
        arch = self.check(arch)
        if kind == "adjacency":
            return _operation_graph(arch)
        return _paths(arch)

    def remarks(self, arch: Architecture) -> tuple[str, ...]:
        """Says so when the cell's output is zero because every path passes a `none`."""
        if open_paths(self.check(arch)):
            return ()
        return ("the cell is disconnected: every path from its input to its output passes a none",)


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


def _paths(arch: Architecture) -> NDArray[np.float32]:
    present = open_paths(arch)
    words: list[Sequence[str]] = [
        word for length in range(1, NODES) for word in product(OPERATIONS, repeat=length)
    ]
    return np.array([tuple(word) in present for word in words], np.float32)


def _operation_graph(arch: Architecture) -> NDArray[np.float32]:
    """Operations as nodes: 28 entries above the diagonal of the 8x8 adjacency, then 30 one-hot."""
    size = len(EDGES) + 2  # input, six operations, output
    matrix = np.zeros((size, size), np.float32)
    labels = np.zeros((len(EDGES), len(OPERATIONS)), np.float32)
    for i, (source, target) in enumerate(EDGES):
        labels[i, OPERATIONS.index(arch.one(edge_name(source, target)))] = 1.0
        matrix[0, i + 1] = source == 0
        matrix[i + 1, size - 1] = target == NODES - 1
        for j, (other_source, _) in enumerate(EDGES):
            matrix[i + 1, j + 1] = other_source == target
    return np.concatenate([matrix[np.triu_indices(size, 1)], labels.ravel()])
