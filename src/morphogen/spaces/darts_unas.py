"""The DARTS cells with two pairs per node by construction: UNAS' factorised parametrisation.

UNAS: differentiable architecture search meets reinforcement learning, Vahdat, Mallya, Liu and
Kautz, CVPR 2020, arXiv 1912.07651; operations as in the authors' code.

A node is the sum of two pairs (operation, source). Each is two choices, independent of all others:
which earlier node it reads, and what it does with it. Whatever is chosen, a node has two inputs,
and no rule has to cut edges off afterwards. The two pairs may coincide. There is no `none`, and no
batch norm after a pool, in the supernet neither. The notation is that of the DARTS space, the
pairs of a node in their order: both orders are one network, and two architectures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from morphogen.core import Architecture, ArchitectureError, Choice
from morphogen.spaces.base import DecisionPlan, SearchSpace
from morphogen.spaces.darts_cells import CELLS, KEPT, NODES, DARTSCells
from morphogen.spaces.genotype import Pair
from morphogen.spaces.registry import register

OPERATIONS = (
    "skip_connect",
    "sep_conv_3x3",
    "max_pool_3x3",
    "dil_conv_3x3",
    "sep_conv_5x5",
    "avg_pool_3x3",
    "sep_conv_7x7",
)
"""In the authors' order; for ImageNet they take the first five."""

PAIRS = tuple(range(1, KEPT + 1))
"""The pairs of a node."""

PUBLISHED = {
    "UNAS_CIFAR10": "normal: sep_conv_5x5~0 skip_connect~0 | skip_connect~0 dil_conv_3x3~1 | "
    "sep_conv_3x3~0 dil_conv_3x3~1 | sep_conv_3x3~1 dil_conv_3x3~0 ; "
    "reduce: sep_conv_3x3~0 sep_conv_5x5~0 | skip_connect~1 sep_conv_3x3~0 | "
    "avg_pool_3x3~1 skip_connect~0 | sep_conv_5x5~3 avg_pool_3x3~1",
    "UNAS_CIFAR100": "normal: sep_conv_3x3~0 dil_conv_3x3~0 | dil_conv_3x3~1 sep_conv_3x3~0 | "
    "skip_connect~0 sep_conv_3x3~1 | sep_conv_5x5~1 sep_conv_3x3~0 ; "
    "reduce: sep_conv_7x7~0 sep_conv_3x3~0 | sep_conv_3x3~1 sep_conv_5x5~0 | "
    "sep_conv_7x7~1 dil_conv_3x3~0 | dil_conv_3x3~0 sep_conv_3x3~3",
    "UNAS_IMAGENET": "normal: sep_conv_3x3~0 skip_connect~0 | sep_conv_3x3~0 skip_connect~1 | "
    "sep_conv_3x3~1 sep_conv_5x5~0 | sep_conv_3x3~0 dil_conv_3x3~1 ; "
    "reduce: sep_conv_5x5~0 sep_conv_3x3~1 | sep_conv_5x5~0 sep_conv_3x3~1 | "
    "sep_conv_5x5~1 dil_conv_3x3~0 | dil_conv_3x3~3 sep_conv_3x3~1",
}
"""Cells that UNAS found (authors' genotypes)."""


def source_name(cell: str, target: int, pair: int) -> str:
    """Name of the choice of what pair 1 or 2 of a node reads."""
    return f"{cell}_{target}_source{pair}"


def operation_name(cell: str, target: int, pair: int) -> str:
    """Name of the choice of what it does with it."""
    return f"{cell}_{target}_operation{pair}"


class UnnormedDARTS(DARTSCells):
    """The edges on which the supernet of `PairedDARTS` keeps its operations.

    Args:
        name: as for `DARTSCells`.
        operations: likewise.
    """

    normed_pools: ClassVar[bool] = False

    def __init__(self, name: str, operations: Mapping[str, Sequence[Sequence[str]]]) -> None:
        super().__init__(name, operations, least=0, most=KEPT)


@register(
    "darts-unas",
    like="darts",
    supernet="morphogen.supernets.darts_unas",
    evaluation={"batch_size": 128, "lr": 0.05},
    reference="UNAS_CIFAR10",
    reference_name="UNAS (CIFAR-10)",
    reference_reason="the cells that UNAS published for CIFAR-10",
)
class PairedDARTS(DARTSCells):
    """The DARTS cells of UNAS: two pairs (operation, source) per node, each of two choices.

    Args:
        name: how the command line and the run directory call the space.
        operations: the options of every operation.
    """

    normed_pools: ClassVar[bool] = False

    def __init__(self, name: str = "darts-unas", operations: Sequence[str] = OPERATIONS) -> None:
        self.cells = CELLS
        self._given = tuple(operations)
        choices = []
        for cell in CELLS:
            nodes = [(target, pair) for target in NODES for pair in PAIRS]
            for target, pair in nodes:
                sources = tuple(map(str, range(target)))
                choices.append(Choice(source_name(cell, target, pair), sources, f"{cell}_sources"))
            for target, pair in nodes:
                name_of = operation_name(cell, target, pair)
                choices.append(Choice(name_of, self._given, f"{cell}_operations"))
        SearchSpace.__init__(self, name, choices)

    # -- structure ---------------------------------------------------------------------------

    def node(self, cell: str, target: int) -> tuple[Choice, ...]:
        """The choices of a node: source and operation of its first pair, then of its second."""
        names = (source_name, operation_name)
        return tuple(self.choice(name(cell, target, pair)) for pair in PAIRS for name in names)

    def summed(self) -> tuple[tuple[str, ...], ...]:
        """Each choice by itself: source and operation of a pair are no summands."""
        return SearchSpace.summed(self)

    def twins(self) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
        """The two pairs of each node."""
        found = []
        for cell in CELLS:
            for target in NODES:
                source, operation, *other = (choice.name for choice in self.node(cell, target))
                found.append(((source, operation), tuple(other)))
        return tuple(found)

    def decision_plans(self) -> tuple[DecisionPlan, ...]:
        """The choices of each kind of cell."""
        return tuple(
            (tuple(choice.name for target in NODES for choice in self.node(cell, target)),)
            for cell in CELLS
        )

    @cached_property
    def edges(self) -> UnnormedDARTS:
        """The space of edges that has, on each edge, what either pair of its target may do."""
        rows = {}
        for cell in CELLS:
            rows[cell] = [self._offered(cell, target) for target in NODES for _ in range(target)]
        return UnnormedDARTS(self.name, rows)

    def _offered(self, cell: str, target: int) -> tuple[str, ...]:
        found = {o for p in PAIRS for o in self.choice(operation_name(cell, target, p)).options}
        return tuple(operation for operation in self._given if operation in found)

    @cached_property
    def operations(self) -> tuple[str, ...]:
        """Every operation that some pair of this space can have."""
        found = {o for cell in CELLS for target in NODES for o in self._offered(cell, target)}
        return tuple(operation for operation in self._given if operation in found)

    def _with(self, choices: Sequence[Choice]) -> PairedDARTS:
        new = super()._with(choices)
        for cached in ("edges", "operations"):
            new.__dict__.pop(cached, None)
        return new

    # -- architectures -----------------------------------------------------------------------

    def kept(self, arch: Architecture, cell: str, target: int) -> list[Pair]:
        """(operation, source) of both pairs of a node, in their order."""
        return [
            (
                arch.one(operation_name(cell, target, pair)),
                int(arch.one(source_name(cell, target, pair))),
            )
            for pair in PAIRS
        ]

    def _build(self, nodes: Mapping[tuple[str, int], Sequence[Pair]]) -> Architecture:
        kept: dict[str, str] = {}
        for (cell, target), pairs in nodes.items():
            if len(pairs) != KEPT:
                raise ArchitectureError(
                    f"node {target} of the {cell} cell has {len(pairs)} pairs; accepted: {KEPT}, "
                    "operation~source each"
                )
            for number, (operation, source) in zip(PAIRS, pairs, strict=True):
                kept[source_name(cell, target, number)] = str(source)
                kept[operation_name(cell, target, number)] = operation
        return Architecture(kept)

    def arguments(self) -> dict[str, Any]:
        """The options of every operation."""
        return {"operations": list(self._given)}

    # -- text --------------------------------------------------------------------------------

    def read(self, text: str) -> Architecture:
        """As the DARTS space, and the cells of UNAS by name."""
        return super().read(PUBLISHED.get(text.strip(), text))
