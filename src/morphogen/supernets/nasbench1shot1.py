"""Supernet of NAS-Bench-1Shot1; its stand-alone networks are those of NAS-Bench-101.

Zela, Siems and Hutter, ICLR 2020, arXiv 2001.10422. Stem, three stacks of cells of C, 2C and 4C
channels per node (C = 16, three cells each), then ReLU, a 1x1 convolution to 4C channels, batch
norm, global average pool and a linear classifier. A node adds up its weighted inputs and mixes its
operations; every node keeps all C channels, so a cell of n nodes gives nC.

What gates mean: softmax weights make a node's input an average of its candidates, while the path
of an architecture (`Gates.of`) puts 1 on k inputs and the node adds them, as NAS-Bench-101 does.
With k inputs the two differ by a factor of k, which no softmax can reach.

Batch norms have torch's momentum of 0.1. The authors passed TensorFlow's decay 0.997 as torch's
momentum, so that their running statistics are nearly those of the last batch; this is not copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from morphogen.core import Architecture
from morphogen.spaces.nasbench1shot1 import NASBench1Shot1, cell_of, operation_name
from morphogen.supernets import fused
from morphogen.supernets.base import NetworkSpec, Supernet, register
from morphogen.supernets.gates import Gates, weighted
from morphogen.supernets.nasbench101 import STACKS, ConvBNReLU, NASBench101Network, operation

OPERATIONS = "operations"
"""The group of the nodes' operations; the inputs of a node are a group under their own name."""

Weighted = Sequence[tuple[Tensor, Tensor | None]]
"""Terms and their weights; no weight means 1."""


@dataclass(frozen=True)
class _Plan:
    """What one forward pass computes, the same in every cell. A weight of None is 1."""

    inputs: dict[int, list[tuple[int, Tensor | None]]]
    """Node -> its vertices and their weights; the output under the number after the last node."""
    operations: dict[int, list[tuple[str, Tensor | None]]]
    """Node -> its operations and their weights; only nodes that reach the output."""


class OneShotCell(nn.Module):
    """All cells of the space in one.

    Args:
        options: for each node the names of its operations.
        c_in: channels of the cell's input.
        channels: channels of a node.
    """

    def __init__(self, options: Sequence[Sequence[str]], c_in: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.projections = nn.ModuleList(ConvBNReLU(c_in, channels, 1) for _ in options)
        self.nodes = nn.ModuleList(
            nn.ModuleDict({name: operation(name, channels) for name in names}) for names in options
        )
        self.output = ConvBNReLU(c_in, len(options) * channels, 1)

    def forward(self, x: Tensor, plan: _Plan) -> Tensor:
        """[n, c_in, h, w] -> [n, nodes * channels, h, w]."""
        values: dict[int, Tensor] = {}
        zeros = x.new_zeros(()).expand(len(x), self.channels, *x.shape[2:])
        for node, (project, options) in enumerate(
            zip(self.projections, self.nodes, strict=True), start=1
        ):
            if node in plan.operations:
                total = _sum([(values[s] if s else project(x), w) for s, w in plan.inputs[node]])
                values[node] = _sum(
                    [(options[name](total), w) for name, w in plan.operations[node]]  # type: ignore[index]
                )
        weights = dict(plan.inputs[len(self.nodes) + 1])
        parts = [
            _sum([(values[node], weights[node])]) if node in weights else zeros
            for node in range(1, len(self.nodes) + 1)
        ]
        out = torch.cat(parts, 1)
        return out + _sum([(self.output(x), weights[0])]) if 0 in weights else out


def _sum(terms: Weighted) -> Tensor:
    weighed = [term if weight is None else weighted(term, weight) for term, weight in terms]
    return sum(weighed[1:], weighed[0])


class NASBench1Shot1Supernet(Supernet):
    """All networks of the space in one.

    Args:
        space: the space, or a part of it.
        spec: `channels` is C (authors: 16), `depth` the cells of each stack (3); `execution` is not
            read, there is one way to run it.
    """

    space: NASBench1Shot1

    def __init__(self, space: NASBench1Shot1, spec: NetworkSpec) -> None:
        super().__init__()
        self.space = space
        options = [space.choice(operation_name(n)).options for n in range(1, space.nodes + 1)]
        width = spec.channels
        self.stem = ConvBNReLU(spec.in_channels, width, 3)
        self.pool = nn.MaxPool2d(2, padding=1)
        self.stacks = nn.ModuleList()
        for stack in range(STACKS):
            channels = spec.channels * 2**stack
            out = channels * space.nodes
            self.stacks.append(
                nn.ModuleList(
                    OneShotCell(options, out if i else width, channels) for i in range(spec.depth)
                )
            )
            width = out
        self.head = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(width, channels, 1, bias=False),
            nn.BatchNorm2d(channels, affine=False),
        )
        self.classifier = nn.Linear(channels, spec.classes)

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        """Class scores [n, classes] of images [n, in_channels, h, w].

        Args:
            x: images.
            gates: group "operations" [nodes, 3] and a group of one row for the inputs of each node
                that chooses among them, and of the output. Options that are not live are not
                executed, nor are nodes that do not reach the output by live inputs.
        """
        plan = self._plan(gates)
        x = self.stem(fused.quick_layout(x))
        for number, stack in enumerate(self.stacks):
            if number:
                x = self.pool(x)
            for cell in stack:  # type: ignore[attr-defined]
                x = cell(x, plan)
        scores: Tensor = self.classifier(self.head(x).mean((2, 3)))
        return scores

    def _options(self, choice: str, option: str) -> list[nn.Module]:
        cells = [cell for stack in self.stacks for cell in stack]  # type: ignore[attr-defined]
        for node in range(1, self.space.nodes + 1):
            if choice == operation_name(node):
                return [cell.nodes[node - 1][option] for cell in cells]
            # The cell's input, vertex 0, reaches a node through a projection of its own.
            if choice == self.space.inputs_choice(node):
                return [] if int(option) else [cell.projections[node - 1] for cell in cells]
        return [] if int(option) else [cell.output for cell in cells]

    def _plan(self, gates: Gates) -> _Plan:
        space, output = self.space, self.space.nodes + 1
        inputs: dict[int, list[tuple[int, Tensor | None]]] = {}
        operations: dict[int, list[tuple[str, Tensor | None]]] = {}
        made = {0}
        for node in range(1, output + 1):
            found = [(s, w) for s, w in self._inputs(node, gates) if s in made]
            inputs[node] = found
            if found and node < output:
                options = space.choice(operation_name(node)).options
                live, weights = gates.row(OPERATIONS, node - 1)
                operations[node] = [(options[i], None if gates.unit else weights[i]) for i in live]
                made |= {node} if live else set()
        reached = {output}
        for node in range(output, 0, -1):
            if node in reached:
                reached |= {s for s, _ in inputs[node]}
        return _Plan(inputs, {n: o for n, o in operations.items() if n in reached})

    def _inputs(self, node: int, gates: Gates) -> list[tuple[int, Tensor | None]]:
        """The live inputs of a node; all that come before it where there is no choice."""
        name = self.space.inputs_choice(node)
        if name not in self.space.groups:
            return [(source, None) for source in range(node)]
        options = self.space.choice(name).options
        live, weights = gates.row(name, 0)
        return [(int(options[i]), None if gates.unit else weights[i]) for i in live]


def _network(space: NASBench1Shot1, arch: Architecture, spec: NetworkSpec) -> NASBench101Network:
    return NASBench101Network(cell_of(space.check(arch)), spec)


register(NASBench1Shot1, supernet=NASBench1Shot1Supernet, network=_network)
