"""Supernet of the DARTS cells of UNAS: the edges of the DARTS supernet, weighted by pairs.

Vahdat, Mallya, Liu and Kautz, CVPR 2020, arXiv 1912.07651. With a the weights of a pair's sources
and o those of its operations, node i is the sum over sources j and operations k of
(a1_j o1_k + a2_j o2_k) op_jk(x_j): every (source, operation) has weights of its own, which the two
pairs of a node share.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from morphogen.spaces.darts_cells import CELLS, EDGES, NODES
from morphogen.spaces.darts_unas import PAIRS, PairedDARTS, operation_name, source_name
from morphogen.supernets.base import NetworkSpec, Supernet, register
from morphogen.supernets.darts import DARTSSupernet
from morphogen.supernets.darts_network import DARTSNetwork
from morphogen.supernets.gates import Gates, Live


class PairedDARTSSupernet(Supernet):
    """All networks of the space in one.

    Args:
        space: the space, or a part of it.
        spec: as for `DARTSSupernet`.
    """

    space: PairedDARTS
    additive: ClassVar[bool] = False

    def __init__(self, space: PairedDARTS, spec: NetworkSpec) -> None:
        super().__init__()
        self.space = space
        self.edges = DARTSSupernet(space.edges, spec)
        for cell in CELLS:
            # Not in checkpoints: the space says what they are.
            self.register_buffer(f"{cell}_sources", _sources(space, cell), persistent=False)
            self.register_buffer(f"{cell}_operations", _operations(space, cell), persistent=False)

    def _options(self, choice: str, option: str) -> list[nn.Module]:
        """The operation on every edge into the node, in all cells; a source has no module."""
        if not self.space.choice(choice).group.endswith("_operations"):
            return []
        cell, target, _ = choice.split("_")
        edges = (c.name for c in self.space.edges.node(cell, int(target)))
        return [module for edge in edges for module in self.edges.options(edge, option)]

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        """Class scores [n, classes] of images [n, in_channels, h, w].

        Args:
            x: images, as of `DARTSSupernet`.
            gates: groups "normal_sources" [8, 5], "normal_operations" [8, operations], and of
                "reduce" likewise; a row for each pair of each node. An edge's operation is run if
                it and its source are live in one pair.
        """
        scores: Tensor = self.edges(x, self.edge_gates(gates))
        return scores

    def edge_gates(self, gates: Gates) -> Gates:
        """The gates of the edges, which are sums of products."""
        weights, live = {}, {}
        for cell in CELLS:
            sources = self._spread(gates.weights[f"{cell}_sources"], f"{cell}_sources")
            operations = self._spread(gates.weights[f"{cell}_operations"], f"{cell}_operations")
            products = sources[..., :, None] * operations[..., None, :]  # [..., 8, 5, widest]
            shape = (*products.shape[:-3], len(NODES), len(PAIRS), *products.shape[-2:])
            nodes = products.reshape(shape).sum(-3)  # [..., 4, 5, widest]
            rows = [nodes[..., target - NODES[0], source, :] for source, target in EDGES]
            weights[cell] = torch.stack(rows, -2)
            live[cell] = self._live(gates, cell)
        return Gates(weights, live)

    def _spread(self, weights: Tensor, name: str) -> Tensor:
        """Weights in the columns of their rows' options -> of all sources, or an edge's options."""
        places: Tensor = self.get_buffer(name)
        return (weights[..., None] * places.to(weights.dtype)).sum(-2)

    def _live(self, gates: Gates, cell: str) -> Live:
        found: dict[tuple[int, int], set[int]] = {edge: set() for edge in EDGES}
        row = 0
        for target in NODES:
            for pair in PAIRS:
                sources = self.space.choice(source_name(cell, target, pair)).options
                operations = self.space.choice(operation_name(cell, target, pair)).options
                for j in gates.live[f"{cell}_sources"][row]:
                    edge = int(sources[j]), target
                    options = self.space.edges.node(cell, target)[edge[0]]
                    kept = gates.live[f"{cell}_operations"][row]
                    found[edge] |= {options.index(operations[k]) for k in kept}
                row += 1
        return tuple(tuple(sorted(found[edge])) for edge in EDGES)


def _sources(space: PairedDARTS, cell: str) -> Tensor:
    """[8, options, 5]: 1 where an option of a pair is a source."""
    choices = space.groups[f"{cell}_sources"]
    places = torch.zeros(len(choices), max(len(c.options) for c in choices), NODES[-1])
    for row, choice in enumerate(choices):
        for column, option in enumerate(choice.options):
            places[row, column, int(option)] = 1
    return places


def _operations(space: PairedDARTS, cell: str) -> Tensor:
    """[8, options, widest]: 1 where an option of a pair is one of the edges into its node."""
    choices = space.groups[f"{cell}_operations"]
    edges = [space.edges.node(cell, target)[0] for target in NODES for _ in PAIRS]
    widest = max(len(edge.options) for edge in space.edges.groups[cell])
    places = torch.zeros(len(choices), max(len(c.options) for c in choices), widest)
    for row, (choice, edge) in enumerate(zip(choices, edges, strict=True)):
        for column, option in enumerate(choice.options):
            places[row, column, edge.index(option)] = 1
    return places


register(PairedDARTS, supernet=PairedDARTSSupernet, network=DARTSNetwork)
