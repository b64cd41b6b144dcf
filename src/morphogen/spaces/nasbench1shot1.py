"""NAS-Bench-1Shot1, search space 2: a cell of four nodes with 1, 1, 2 and 2 inputs.

Zela, Siems and Hutter, ICLR 2020, arXiv 2001.10422. Every cell is a cell of NAS-Bench-101 (Ying et
al., ICML 2019, arXiv 1902.09635): operations sit on nodes, a node sums its inputs, the output
concatenates three of the five earlier vertices. Vertex 0 is the cell's input, 1 to 4 are nodes.

The notation lists the four nodes and the output, each as `operation~inputs`:
`|maxpool3x3~0|conv3x3-bn-relu~1|conv1x1-bn-relu~0,2|maxpool3x3~1,3|output~2,3,4|`.

Several architectures are one cell: a node that does not reach the output has no effect, and nodes
may be renumbered. `to_nasbench101` prunes; `graph_keys` and `graph_hash` see through the numbering.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations, product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from morphogen.core import Architecture, ArchitectureError, Choice
from morphogen.spaces.base import SearchSpace

OPERATIONS = ("maxpool3x3", "conv3x3-bn-relu", "conv1x1-bn-relu")
"""In the order of the authors' code, which is also the order of the columns of alpha."""

NODES = 4
INPUTS = {1: 1, 2: 1, 3: 2, 4: 2, NODES + 1: 3}
"""Node -> how many inputs it keeps; node 5 is the output."""

DUMMY = NODES + 1
"""Index of the vertex without edges that fills the cell up to NAS-Bench-101's seven vertices."""

Rows = tuple[tuple[int, ...], ...]
Cell = tuple[Rows, tuple[str, ...]]
"""Adjacency rows of a pruned cell, input first and output last, and the operations between."""


def operation_name(node: int) -> str:
    """Name of the choice of the operation of `node`, 1 to 4."""
    return f"operation_{node}"


def inputs_name(node: int) -> str:
    """Name of the choice of the inputs of `node`, 2 to 4, or of the output (5)."""
    return "inputs_output" if node > NODES else f"inputs_{node}"


class NASBench1Shot1S2(SearchSpace):
    """Search space 2 of NAS-Bench-1Shot1: 360 topologies times 3^4 operations, 29,160 in all.

    The operations are the rows of one group, `operations` [4, 3]; the inputs of nodes 2, 3, 4 and
    of the output are groups of one row, of 2, 3, 4 and 5 options: the authors' alpha tensors.
    `derive` keeps the best operation of a node and its 1, 2, 2 and 3 best inputs.
    """

    def __init__(self) -> None:
        operations = [
            Choice(operation_name(n), OPERATIONS, "operations") for n in range(1, NODES + 1)
        ]
        inputs = [
            Choice(inputs_name(n), tuple(map(str, range(n))), least=INPUTS[n], most=INPUTS[n])
            for n in range(2, NODES + 2)
        ]
        super().__init__("nasbench1shot1-s2", operations + inputs)

    def format(self, arch: Architecture) -> str:
        """Nodes 1 to 4 and the output, each as `operation~inputs`, between bars."""
        arch = self.check(arch)
        parts = [
            f"{arch.one(operation_name(n)) if n <= NODES else 'output'}~"
            + ",".join(str(i) for i in _inputs(arch, n))
            for n in range(1, NODES + 2)
        ]
        return "|" + "|".join(parts) + "|"

    def parse(self, text: str) -> Architecture:
        """Read the notation; an `ArchitectureError` names the part that is wrong."""
        shape = "|op~0|op~a|op~a,b|op~a,b|output~a,b,c|"
        parts = [part.split("~") for part in text.strip().strip("|").split("|")]
        if len(parts) != NODES + 1 or any(len(part) != 2 for part in parts):
            raise ArchitectureError(f"cannot read architecture {text!r}; accepted: {shape}")
        kept: dict[str, str | tuple[str, ...]] = {}
        for node, (operation, inputs) in enumerate(parts, start=1):
            if node <= NODES:
                kept[operation_name(node)] = operation
            elif operation != "output":
                raise ArchitectureError(
                    f"the last part of {text!r} is {operation!r}; accepted: output, as in {shape}"
                )
            if node > 1:
                kept[inputs_name(node)] = tuple(inputs.split(","))
            elif inputs != "0":
                raise ArchitectureError(
                    f"node 1 of {text!r} has inputs {inputs!r}; accepted: 0, as in {shape}"
                )
        return self.check(Architecture(kept))

    def encode(
        self, arch: Architecture, kind: Literal["onehot", "adjacency", "path"] = "onehot"
    ) -> NDArray[np.float32]:
        """`onehot` (26) of the choices; `adjacency` (15 + 12) and `path` (121) of the pruned cell.

        The adjacency encoding has the edges between six vertices and the operations of the nodes
        that reach the output; the path encoding marks which sequences of operations lead from
        input to output, shortest first (White et al., arXiv 1910.11858).
        """
        if kind == "onehot":
            return super().encode(arch, kind)
        matrix, operations = to_nasbench101(self.check(arch))
        if kind == "adjacency":
            live = [v for v in range(NODES + 3) if v != DUMMY]
            edges = matrix[np.ix_(live, live)][np.triu_indices(len(live), 1)]
            labels = [
                float(matrix[n].any() and operations[n] == o)
                for n in range(1, NODES + 1)
                for o in OPERATIONS
            ]
            return np.concatenate([edges.astype(np.float32), np.array(labels, np.float32)])
        present = _sequences(cell_of(arch))
        words = (word for n in range(NODES + 1) for word in product(OPERATIONS, repeat=n))
        return np.array([word in present for word in words], np.float32)

    def remarks(self, arch: Architecture) -> tuple[str, ...]:
        """Names the nodes that do not reach the output, whose values have no effect."""
        matrix, _ = to_nasbench101(self.check(arch))
        loose = [str(n) for n in range(1, NODES + 1) if not matrix[n].any()]
        if not loose:
            return ()
        if len(loose) == 1:
            return (f"loose end: node {loose[0]} does not reach the output",)
        return (f"loose ends: nodes {' and '.join(loose)} do not reach the output",)


def _inputs(arch: Architecture, node: int) -> tuple[int, ...]:
    return (0,) if node == 1 else tuple(int(i) for i in arch[inputs_name(node)])


def to_nasbench101(arch: Architecture) -> tuple[NDArray[np.int8], tuple[str, ...]]:
    """The cell as NAS-Bench-101 asks for it.

    Walks back from the output, so nodes that do not reach it have no edges; a dummy vertex without
    edges stands before the output.

    Args:
        arch: an architecture of `NASBench1Shot1S2`.

    Returns:
        Adjacency matrix [7, 7], upper triangular with at most nine edges, and seven labels: input,
        the operations of the four nodes, that of the dummy, output.
    """
    operations = (arch.one(operation_name(n)) for n in range(1, NODES + 1))
    return _matrix(_topology(arch)), ("input", *operations, "conv1x1-bn-relu", "output")


def cell_of(arch: Architecture) -> Cell:
    """The pruned cell of an architecture, `prune(*to_nasbench101(arch))`, by a shorter way."""
    rows, live = _pruned(_topology(arch))
    return rows, tuple(arch.one(operation_name(n)) for n in live)


def _topology(arch: Architecture) -> tuple[tuple[int, ...], ...]:
    """The inputs of nodes 1 to 4 and of the output."""
    return tuple(_inputs(arch, n) for n in range(1, NODES + 2))


def _matrix(topology: tuple[tuple[int, ...], ...]) -> NDArray[np.int8]:
    matrix = np.zeros((NODES + 3, NODES + 3), np.int8)
    reached = {NODES + 1}
    for node in range(NODES + 1, 0, -1):  # every input of a node comes before it
        if node in reached:
            sources = topology[node - 1]
            matrix[list(sources), node if node <= NODES else NODES + 2] = 1
            reached.update(sources)
    return matrix


@lru_cache(maxsize=1024)
def _pruned(topology: tuple[tuple[int, ...], ...]) -> tuple[Rows, tuple[int, ...]]:
    """The rows of the pruned cell and the nodes that stay in it."""
    names = [str(v) for v in range(NODES + 3)]
    rows, live = prune(_matrix(topology), names)
    return rows, tuple(map(int, live))


def from_nasbench101(
    matrix: NDArray[np.integer] | Sequence[Sequence[int]], operations: Sequence[str]
) -> Architecture:
    """An architecture that `to_nasbench101` maps to this cell (its nodes as numbered here).

    Nodes that do not reach the output, which have no edges, take their first inputs; their labels
    are kept.

    Args:
        matrix: adjacency [7, 7], with the dummy vertex at index 5.
        operations: seven labels, from `input` to `output`.

    Raises:
        ArchitectureError: the cell has not the number of inputs that this space prescribes.
    """
    edges = np.asarray(matrix)
    kept: dict[str, str | tuple[str, ...]] = {}
    for node in range(1, NODES + 2):
        column = edges[:, node if node <= NODES else NODES + 2]
        sources = tuple(int(i) for i in np.flatnonzero(column)) or tuple(range(INPUTS[node]))
        if len(sources) != INPUTS[node] or max(sources) >= node:
            raise ArchitectureError(
                f"node {node} of a NAS-Bench-101 cell has the inputs {sources}; "
                f"accepted in space 'nasbench1shot1-s2': {INPUTS[node]} of 0 to {node - 1}"
            )
        if node > 1:
            kept[inputs_name(node)] = tuple(map(str, sources))
        if node <= NODES:
            kept[operation_name(node)] = operations[node]
    return _space().check(Architecture(kept))


@lru_cache(maxsize=1)
def _space() -> NASBench1Shot1S2:
    return NASBench1Shot1S2()


def prune(matrix: NDArray[np.integer] | Sequence[Sequence[int]], operations: Sequence[str]) -> Cell:
    """Only the vertices on a path from input to output, closed up in their own order.

    Args:
        matrix: upper-triangular adjacency [n, n]; the first vertex is the input, the last the
            output.
        operations: n labels; those of the first and last vertex are not looked at.
    """
    rows = np.asarray(matrix).tolist()
    n = len(rows)
    forward, backward = {0}, {n - 1}
    for target in range(1, n):
        if any(rows[s][target] and s in forward for s in range(target)):
            forward.add(target)
    for source in range(n - 2, -1, -1):
        if any(rows[source][t] and t in backward for t in range(source + 1, n)):
            backward.add(source)
    live = sorted(forward & backward)
    return (
        tuple(tuple(int(rows[i][j]) for j in live) for i in live),
        tuple(operations[i] for i in live[1:-1]),
    )


def graph_keys(cell: Cell) -> tuple[str, ...]:
    """The texts of a pruned cell under every numbering of its nodes; its own numbering first.

    Two cells are isomorphic exactly if they share a key, and then they share all. With at most
    four nodes there are at most 24 numberings, so this needs no hash.
    """
    rows, operations = cell
    return tuple(
        f"{text}:{','.join(operations[i - 1] for i in order)}" for order, text in _numberings(rows)
    )


@lru_cache(maxsize=4096)
def _numberings(rows: Rows) -> tuple[tuple[tuple[int, ...], str], ...]:
    """(nodes in their new order, adjacency in that order) for every topological order."""
    n = len(rows)
    found = []
    for order in permutations(range(1, n - 1)):
        every = (0, *order, n - 1)
        if all(not rows[every[j]][every[i]] for i in range(n) for j in range(i + 1, n)):
            found.append((order, "".join(str(rows[i][j]) for i in every for j in every)))
    return tuple(found)


def graph_hash(cell: Cell) -> str:
    """A digest that is the same for isomorphic cells, in the manner of NAS-Bench-101.

    Every vertex starts from its degrees and label and is refined by the multisets of its
    predecessors and successors, once per vertex (colour refinement; Ying et al. 2019, section 2.2).
    The digests are not those of the official file, whose serialisation differs. Cells with
    different digests are not isomorphic; in this space the converse holds too (a test lists them).
    """
    rows, operations = cell
    labels = ("input", *operations, "output")
    n = len(rows)
    before = [[s for s in range(n) if rows[s][v]] for v in range(n)]
    after = [[t for t in range(n) if rows[v][t]] for v in range(n)]
    colours = [
        _digest(str(len(after[v])), str(len(before[v])), label) for v, label in enumerate(labels)
    ]
    for _ in range(n):
        colours = [
            _digest(
                *sorted(colours[s] for s in before[v]),
                "to",
                *sorted(colours[t] for t in after[v]),
                "at",
                colours[v],
            )
            for v in range(n)
        ]
    return _digest(*sorted(colours))


def _digest(*parts: str) -> str:
    return hashlib.blake2b(" ".join(parts).encode(), digest_size=16).hexdigest()


def _sequences(cell: Cell) -> set[tuple[str, ...]]:
    """The operation sequences of all paths from input to output."""
    rows, operations = cell
    last = len(rows) - 1
    found: set[tuple[str, ...]] = set()

    def walk(vertex: int, sequence: tuple[str, ...]) -> None:
        for target in range(vertex + 1, last + 1):
            if rows[vertex][target]:
                if target == last:
                    found.add(sequence)
                else:
                    walk(target, (*sequence, operations[target - 1]))

    walk(0, ())
    return found
