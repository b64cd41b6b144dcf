"""Cells of NAS-Bench-101: pruning, numberings and the hash under which its table knows them.

Ying, Klein, Christiansen, Real, Murphy and Hutter, "NAS-Bench-101: Towards Reproducible Neural
Architecture Search", ICML 2019, arXiv 1902.09635. A cell is a directed graph of at most seven
vertices and nine edges with an operation on every vertex between input and output. A vertex that
is not on a path from input to output has no effect, and vertices may be renumbered: `prune` and
`graph_keys` or `graph_hash` see through both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from morphogen.spaces.printed import call, value

CANONICAL = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
"""The operations in the order of the table's authors, which the hash depends on."""

VERTICES = 7
"""The most vertices of a cell, input and output included."""

Rows = tuple[tuple[int, ...], ...]
Cell = tuple[Rows, tuple[str, ...]]
"""Adjacency rows of a pruned cell, input first and output last, and the operations between."""


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


def read_cell(text: str) -> tuple[list[list[int]], list[str]]:
    """Matrix and labels of a printed cell: `ModelSpec(matrix=..., ops=...)`, or the two of them.

    Also as a dictionary; the names are those of the authors' specification or of their table
    (`module_adjacency`, `module_operations`).

    Raises:
        one of `printed.WRONG`: it is no cell.
    """
    found = call(text, "ModelSpec")
    by_place, by_name = ([], value(text)) if found is None else found
    if isinstance(by_name, list):
        by_place, by_name = by_name, {}
    names = (("matrix", "module_adjacency"), ("ops", "module_operations"))
    by_place += [by_name[name] for known in names for name in known if name in by_name]
    matrix, operations = by_place
    rows = [[int(entry) for entry in row] for row in matrix]
    labels = [str(label) for label in operations]
    n = len(rows)
    square = all(len(row) == n for row in rows) and len(labels) == n
    upper = all(rows[i][j] in ((0, 1) if i < j else (0,)) for i in range(n) for j in range(n))
    if not (2 <= n <= VERTICES and square and upper):
        raise ValueError("no upper triangle of 0 and 1 with a label for each row")
    if (labels[0], labels[-1]) != ("input", "output"):
        raise ValueError("the first label is not input, or the last not output")
    return rows, labels


@lru_cache(maxsize=4096)
def numberings(rows: Rows) -> tuple[tuple[tuple[int, ...], Rows], ...]:
    """(nodes in their new order, adjacency in that order) for every topological order.

    Its own order comes first. With at most five nodes there are at most 120.
    """
    n = len(rows)
    found = []
    for order in permutations(range(1, n - 1)):
        every = (0, *order, n - 1)
        if all(not rows[every[j]][every[i]] for i in range(n) for j in range(i + 1, n)):
            found.append((order, tuple(tuple(rows[i][j] for j in every) for i in every)))
    return tuple(found)


def graph_keys(cell: Cell) -> tuple[str, ...]:
    """The texts of a pruned cell under every numbering of its nodes; its own numbering first.

    Two cells are isomorphic exactly if they share a key, and then they share all.
    """
    rows, operations = cell
    return tuple(
        "".join(str(bit) for row in renumbered for bit in row)
        + ":"
        + ",".join(operations[i - 1] for i in order)
        for order, renumbered in numberings(rows)
    )


def graph_hash(cell: Cell) -> str:
    """The table's own key of a pruned cell: 32 hexadecimal digits, the same for isomorphic cells.

    Every vertex starts from its degrees and label and is refined by the multisets of its
    predecessors and successors, once per vertex (colour refinement; section 2.2); each step is an
    MD5 digest, serialised as in the authors' files. Cells with different hashes are not
    isomorphic; among the cells of NAS-Bench-101 the converse holds too.
    """
    rows, operations = cell
    labels = (-1, *(CANONICAL.index(name) for name in operations), -2)
    every = range(len(rows))
    before = [[s for s in every if rows[s][v]] for v in every]
    after = [[t for t in every if rows[v][t]] for v in every]
    colours = [_md5(str((len(after[v]), len(before[v]), labels[v]))) for v in every]
    for _ in every:
        colours = [
            _md5(
                "".join(sorted(colours[s] for s in before[v]))
                + "|"
                + "".join(sorted(colours[t] for t in after[v]))
                + "|"
                + colours[v]
            )
            for v in every
        ]
    return _md5(str(sorted(colours)))


def sequences(cell: Cell) -> set[tuple[str, ...]]:
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


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
