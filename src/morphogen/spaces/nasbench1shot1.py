"""NAS-Bench-1Shot1: three spaces of cells in which each node keeps a fixed number of inputs.

Zela, Siems and Hutter, ICLR 2020, arXiv 2001.10422. Every cell is a cell of NAS-Bench-101 (Ying et
al., ICML 2019, arXiv 1902.09635): operations sit on nodes, a node sums its inputs, the output
concatenates some of the earlier vertices. Vertex 0 is the cell's input, the nodes count from 1.

The notation lists the nodes and the output, each as `operation~inputs`, here of search space 2:
`|maxpool3x3~0|conv3x3-bn-relu~1|conv1x1-bn-relu~0,2|maxpool3x3~1,3|output~2,3,4|`.

Several architectures are one cell: a node that does not reach the output has no effect, and nodes
may be renumbered (`cell_of`, `NASBench1Shot1.find`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import combinations, product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from morphogen.core import Architecture, ArchitectureError, Choice, SpaceError, UnknownNameError
from morphogen.core.names import brief
from morphogen.spaces.base import DecisionPlan, Differentiable, SearchSpace
from morphogen.spaces.nasbench101 import (
    VERTICES,
    Cell,
    Rows,
    numberings,
    prune,
    read_cell,
    sequences,
)
from morphogen.spaces.printed import WRONG
from morphogen.spaces.registry import register

OPERATIONS = ("maxpool3x3", "conv3x3-bn-relu", "conv1x1-bn-relu")
"""In the order of the authors' code, which is also the order of the columns of alpha."""

PARENTS: Mapping[str, tuple[int, ...]] = {
    "nasbench1shot1-s1": (1, 2, 2, 2, 2),
    "nasbench1shot1-s2": (1, 1, 2, 2, 3),
    "nasbench1shot1-s3": (1, 1, 1, 2, 2, 2),
}
"""Space -> how many inputs nodes 1, 2, ... and, last, the output keep: nine edges in all."""

RESIDUAL_NAME = "residual 3x3 convolutions"

RESIDUAL_REASON = (
    "one 3x3 convolution after the other, each with what came before the last where a node has two "
    "inputs, and the cell's input added to the output, as in a ResNet"
)

OUTPUT = "inputs_output"
"""Name of the choice, and of the group, of the output's inputs."""

Topology = tuple[tuple[int, ...], ...]
"""The inputs of nodes 1, 2, ... and of the output."""


def operation_name(node: int) -> str:
    """Name of the choice of the operation of `node`, from 1."""
    return f"operation_{node}"


def inputs_name(node: int) -> str:
    """Name of the choice, and of the group, of the inputs of `node`; only where there is one."""
    return f"inputs_{node}"


class NASBench1Shot1(SearchSpace, Differentiable):
    """One of the three spaces: inputs of a fixed number per node, three operations on each.

    The operations are the rows of one group, `operations` [nodes, 3]; the inputs of every node
    that has more candidates than inputs are a group of one row, as are those of the output: the
    authors' alpha tensors. `derive` keeps the best operation and the k best inputs of a node.

    Args:
        name: of the space.
        parents: inputs kept by nodes 1, 2, ... and by the output.
    """

    def __init__(self, name: str, parents: Sequence[int]) -> None:
        self.parents = tuple(parents)
        self.nodes = len(self.parents) - 1
        if not 1 <= self.nodes <= VERTICES - 2 or not all(
            1 <= kept <= node for node, kept in enumerate(self.parents, start=1)
        ):
            raise SpaceError(
                f"space {name!r}: parents are {brief(self.parents)}; accepted: for each of 1 to "
                f"{VERTICES - 2} nodes, and for the output, one to as many as there are before it"
            )
        operations = [
            Choice(operation_name(n), OPERATIONS, "operations") for n in range(1, self.nodes + 1)
        ]
        inputs = [
            Choice(self.inputs_choice(n), tuple(map(str, range(n))), least=kept, most=kept)
            for n, kept in enumerate(self.parents, start=1)
            if kept < n
        ]
        super().__init__(name, operations + inputs)

    def inputs_choice(self, node: int) -> str:
        """Name of the choice of the inputs of `node`, or, at `nodes` + 1, of the output."""
        return OUTPUT if node > self.nodes else inputs_name(node)

    def arguments(self) -> dict[str, Any]:
        """How many inputs each node keeps."""
        return {"parents": list(self.parents)}

    def decision_plans(self) -> tuple[DecisionPlan, ...]:
        """Operations first, then the inputs of nodes, those of the output last."""
        operations = tuple(c.name for c in self.choices if c.group == "operations")
        inputs = tuple(c.name for c in self.choices if c.name not in (*operations, OUTPUT))
        return ((operations, inputs, (OUTPUT,)),)

    def format(self, arch: Architecture) -> str:
        """Nodes and output, each as `operation~inputs`, between bars."""
        arch = self.check(arch)
        labels = [arch.one(operation_name(n)) for n in range(1, self.nodes + 1)]
        parts = zip([*labels, "output"], topology(arch), strict=True)
        return "|" + "|".join(f"{label}~{','.join(map(str, i))}" for label, i in parts) + "|"

    def read(self, text: str) -> Architecture:
        """Read the notation, or a cell of NAS-Bench-101 as `ModelSpec(matrix=..., ops=...)` has it.

        A cell that differs from one of this space by its numbering, or by nodes that do not reach
        the output, is that one.

        Raises:
            ArchitectureError: names the part that is wrong.
        """
        if "~" not in text and "[" in text:
            return self._read_cell(text)
        shape = self._shape()
        parts = [part.split("~") for part in text.strip().strip("|").split("|")]
        if len(parts) != self.nodes + 1 or any(len(part) != 2 for part in parts):
            raise ArchitectureError(f"cannot read architecture {text!r}; accepted: {shape}")
        kept: dict[str, str | tuple[str, ...]] = {}
        for node, (operation, inputs) in enumerate(parts, start=1):
            if node <= self.nodes:
                kept[operation_name(node)] = operation
            elif operation != "output":
                raise ArchitectureError(
                    f"the last part of {text!r} is {operation!r}; accepted: output, as in {shape}"
                )
            if self.parents[node - 1] < node:
                kept[self.inputs_choice(node)] = tuple(inputs.split(","))
            elif sorted(inputs.split(",")) != (every := list(map(str, range(node)))):
                raise ArchitectureError(
                    f"node {node} of {text!r} has inputs {inputs!r}; accepted: {','.join(every)}, "
                    f"as in {shape}"
                )
        return self.check(Architecture(kept))

    def _read_cell(self, text: str) -> Architecture:
        try:
            matrix, operations = read_cell(text)
        except WRONG as error:
            raise ArchitectureError(
                f"cannot read the cell {brief(text)}; accepted: ModelSpec(matrix=[[0, 1, ...], "
                f"...], ops=['input', 'conv3x3-bn-relu', ..., 'output']), or {self._shape()}"
            ) from error
        wrong = next((o for o in operations[1:-1] if o not in OPERATIONS), None)
        if wrong is not None:
            raise UnknownNameError("operation of a NAS-Bench-101 cell", wrong, OPERATIONS)
        if len(matrix) == VERTICES:
            with suppress(ArchitectureError):  # numbered as here, loose nodes keep their labels
                return self.from_nasbench101(matrix, operations)
        cell = prune(matrix, operations)
        found = self.find(cell) if cell[0] else None  # nothing is left where no path leads through
        if found is None:
            raise ArchitectureError(
                f"the cell {brief(text)} is none of space {self.name!r}; accepted: one whose nodes "
                f"have {', '.join(map(str, self.parents[:-1]))} inputs and whose output has "
                f"{self.parents[-1]}"
            )
        return found

    def _shape(self) -> str:
        """What the notation looks like, for messages."""
        parts = []
        for node, kept in enumerate(self.parents, start=1):
            letters = "abc"[:kept] if kept < node else map(str, range(node))
            parts.append(("op~" if node <= self.nodes else "output~") + ",".join(letters))
        return "|" + "|".join(parts) + "|"

    def encode(
        self, arch: Architecture, kind: Literal["onehot", "adjacency", "path"] = "onehot"
    ) -> NDArray[np.float32]:
        """`onehot` of the choices; `adjacency` and `path` of the pruned cell.

        The adjacency encoding has the edges between the space's vertices and the operations of the
        nodes that reach the output (15 + 12 numbers with four nodes, 21 + 15 with five); the path
        encoding (121 and 364) marks which sequences of operations lead from input to output,
        shortest first (White et al., arXiv 1910.11858).
        """
        if kind == "onehot":
            return super().encode(arch, kind)
        arch = self.check(arch)
        if kind == "adjacency":
            matrix, operations = to_nasbench101(arch)
            live = [*range(self.nodes + 1), VERTICES - 1]
            edges = matrix[np.ix_(live, live)][np.triu_indices(len(live), 1)]
            labels = [
                float(matrix[n].any() and operations[n] == o)
                for n in range(1, self.nodes + 1)
                for o in OPERATIONS
            ]
            return np.concatenate([edges.astype(np.float32), np.array(labels, np.float32)])
        present = sequences(cell_of(arch))
        words = (word for n in range(self.nodes + 1) for word in product(OPERATIONS, repeat=n))
        return np.array([word in present for word in words], np.float32)

    def remarks(self, arch: Architecture) -> tuple[str, ...]:
        """Nodes that do not reach the output, and whether none of the others is a convolution."""
        live = nodes_in_use(self.check(arch))
        out = []
        loose = [str(n) for n in range(1, self.nodes + 1) if n not in live]
        if len(loose) == 1:
            out.append(f"loose end: node {loose[0]} does not reach the output")
        elif loose:
            many = ", ".join(loose[:-1]) + " and " + loose[-1]
            out.append(f"loose ends: nodes {many} do not reach the output")
        if not any("conv" in arch.one(operation_name(n)) for n in live):
            out.append(
                "no node that reaches the output is a convolution: beside the projections of its "
                "input the cell can only pool"
            )
        return tuple(out)

    def from_nasbench101(
        self, matrix: NDArray[np.integer] | Sequence[Sequence[int]], operations: Sequence[str]
    ) -> Architecture:
        """An architecture that `to_nasbench101` maps to this cell (its nodes as numbered here).

        Nodes that do not reach the output, which have no edges, take their first inputs; their
        labels are kept.

        Args:
            matrix: adjacency [7, 7], with the dummy vertex at index 5 if there are four nodes.
            operations: seven labels, from `input` to `output`.

        Raises:
            ArchitectureError: the cell has not the number of inputs that this space prescribes.
        """
        edges = np.asarray(matrix)
        kept: dict[str, str | tuple[str, ...]] = {}
        for node, k in enumerate(self.parents, start=1):
            column = edges[:, node if node <= self.nodes else VERTICES - 1]
            sources = tuple(int(i) for i in np.flatnonzero(column)) or tuple(range(k))
            if len(sources) != k or max(sources) >= node:
                raise ArchitectureError(
                    f"node {node} of a NAS-Bench-101 cell has the inputs {sources}; "
                    f"accepted in space {self.name!r}: {k} of 0 to {node - 1}"
                )
            if k < node:
                kept[self.inputs_choice(node)] = tuple(map(str, sources))
            if node <= self.nodes:
                kept[operation_name(node)] = operations[node]
        return self.check(Architecture(kept))

    def find(self, cell: Cell) -> Architecture | None:
        """An architecture of the whole space, its cell isomorphic to the pruned `cell`; or None."""
        match = _matching(self.parents, cell[0])
        if match is None:
            return None
        order, inputs = match
        kept: dict[str, str | tuple[str, ...]] = {
            operation_name(n): OPERATIONS[0] for n in range(1, self.nodes + 1)
        }
        for node, vertex in zip(_pruned(inputs)[1], order, strict=True):
            kept[operation_name(node)] = cell[1][vertex - 1]
        for node, k in enumerate(self.parents, start=1):
            if k < node:
                kept[self.inputs_choice(node)] = tuple(map(str, inputs[node - 1]))
        return self.check(Architecture(kept))


def _convolutions(*inputs: str) -> str:
    """A cell of 3x3 convolutions: the inputs of its nodes, and last of its output."""
    nodes = "".join(f"conv3x3-bn-relu~{sources}|" for sources in inputs[:-1])
    return f"|{nodes}output~{inputs[-1]}|"


@register(
    "nasbench1shot1-s1",
    family="nasbench1shot1",
    supernet="morphogen.supernets.nasbench1shot1",
    drawing="cell-nodes",
    network={"channels": 128, "depth": 3},
    search={
        "network.channels": 16,
        "network.depth": 3,
        "task.image_size": 0,
        "split.train_images": 25000,
        "split.valid_images": 25000,
    },
    reference=_convolutions("0", "0,1", "1,2", "2,3", "0,4"),
    reference_name=RESIDUAL_NAME,
    reference_reason=RESIDUAL_REASON,
)
def s1() -> NASBench1Shot1:
    """Search space 1 of NAS-Bench-1Shot1: 4 nodes, 180 topologies."""
    return _space("nasbench1shot1-s1")


@register(
    "nasbench1shot1-s2",
    like="nasbench1shot1-s1",
    table="nasbench1shot1-s2",
    reference=_convolutions("0", "1", "1,2", "2,3", "0,3,4"),
    reference_name=RESIDUAL_NAME,
    reference_reason=RESIDUAL_REASON,
)
def s2() -> NASBench1Shot1:
    """Search space 2 of NAS-Bench-1Shot1: 4 nodes, 360 topologies."""
    return _space("nasbench1shot1-s2")


@register(
    "nasbench1shot1-s3",
    like="nasbench1shot1-s1",
    reference=_convolutions("0", "1", "2", "2,3", "3,4", "0,5"),
    reference_name=RESIDUAL_NAME,
    reference_reason=RESIDUAL_REASON,
)
def s3() -> NASBench1Shot1:
    """Search space 3 of NAS-Bench-1Shot1: 5 nodes, 5,400 topologies."""
    return _space("nasbench1shot1-s3")


def _space(name: str) -> NASBench1Shot1:
    return NASBench1Shot1(name, PARENTS[name])


def topology(arch: Architecture) -> Topology:
    """The inputs of nodes 1, 2, ... and of the output; a node without a choice takes all."""
    nodes = 0
    while operation_name(nodes + 1) in arch:
        nodes += 1
    names = [*map(inputs_name, range(1, nodes + 1)), OUTPUT]
    return tuple(
        tuple(map(int, arch[name])) if name in arch else tuple(range(node))
        for node, name in enumerate(names, start=1)
    )


def nodes_in_use(arch: Architecture) -> tuple[int, ...]:
    """The nodes that reach the output."""
    return _pruned(topology(arch))[1]


def topologies(parents: Sequence[int]) -> list[Topology]:
    """Every topology of a space, in the order of its inputs."""
    return list(product(*(combinations(range(n), k) for n, k in enumerate(parents, start=1))))


def to_nasbench101(arch: Architecture) -> tuple[NDArray[np.int8], tuple[str, ...]]:
    """The cell as NAS-Bench-101 asks for it.

    Walks back from the output, so nodes that do not reach it have no edges; where there are four
    nodes a dummy vertex without edges stands before the output.

    Args:
        arch: an architecture of a `NASBench1Shot1`.

    Returns:
        Adjacency matrix [7, 7], upper triangular with at most nine edges, and seven labels: input,
        the operations of the nodes, that of the dummy if there is one, output.
    """
    inputs = topology(arch)
    operations = [arch.one(operation_name(n)) for n in range(1, len(inputs))]
    dummies = ["conv1x1-bn-relu"] * (VERTICES - 1 - len(inputs))
    return _matrix(inputs), ("input", *operations, *dummies, "output")


def cell_of(arch: Architecture) -> Cell:
    """The pruned cell of an architecture, `prune(*to_nasbench101(arch))`, by a shorter way."""
    rows, live = _pruned(topology(arch))
    return rows, tuple(arch.one(operation_name(n)) for n in live)


def _matrix(inputs: Topology) -> NDArray[np.int8]:
    matrix = np.zeros((VERTICES, VERTICES), np.int8)
    output = len(inputs)
    reached = {output}
    for node in range(output, 0, -1):  # every input of a node comes before it
        if node in reached:
            sources = inputs[node - 1]
            matrix[list(sources), node if node < output else VERTICES - 1] = 1
            reached.update(sources)
    return matrix


@lru_cache(maxsize=8192)
def _pruned(inputs: Topology) -> tuple[Rows, tuple[int, ...]]:
    """The rows of the pruned cell and the nodes that stay in it."""
    rows, live = prune(_matrix(inputs), [str(v) for v in range(VERTICES)])
    return rows, tuple(map(int, live))


@lru_cache(maxsize=len(PARENTS))
def _graphs(parents: tuple[int, ...]) -> Mapping[Rows, Topology]:
    """Pruned graph -> the first topology that has it."""
    found: dict[Rows, Topology] = {}
    for inputs in topologies(parents):
        found.setdefault(_pruned(inputs)[0], inputs)
    return found


@lru_cache(maxsize=32768)
def _matching(parents: tuple[int, ...], rows: Rows) -> tuple[tuple[int, ...], Topology] | None:
    """A topology with this graph, and the graph's nodes in the order in which it has them."""
    known = _graphs(parents)
    found = ((order, known[other]) for order, other in numberings(rows) if other in known)
    return next(found, None)
