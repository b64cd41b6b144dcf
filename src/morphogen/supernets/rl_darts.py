"""Supernet and stand-alone networks of the cells of RL-DARTS.

Miao et al., AutoML-Conf 2022, arXiv 2106.02229; layers as in `encoders`. A network is a 3x3
convolution, and in each stage a reduction cell and normal cells; features are flattened, and
through ReLU, 256 hidden units and ReLU become the outputs. A cell whose input has other channels
begins with a 1x1 convolution. In a reduction cell the edges from the input halve it: convolutions
by their stride, everything else after a 3x3 average pool.

The supernet has one set of parameters and two ways to run them. `plain`: one module per option.
`fused`: what a node sends on is computed at once. A convolution is linear, so that the sum over
targets i of p_i conv_i(x) has no need of the single ones: one convolution with the kernels p_i W_i
side by side gives the terms of all targets, and a skip connection is a kernel, too, the identity.
Nonlinearities have no parameters: each is computed once for all targets, and their weighted sums
are one product of matrices. A ReLU behind a convolution, as in the Classic set, allows neither;
such operations are run one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.core import Architecture
from morphogen.spaces.darts_cells import CELLS, NOISE
from morphogen.spaces.rl_darts import RLDARTS
from morphogen.supernets import fused
from morphogen.supernets.base import NetworkSpec, Supernet, register
from morphogen.supernets.edges import NOTHING, Term, flat, gates_of, plan
from morphogen.supernets.encoders import AveragePool, Head, SameConv2d, average_pool, halved
from morphogen.supernets.gates import Gates, weighted
from morphogen.supernets.operations import Noise, strided

EPS = 1e-3
"""Of `batch_stats`, as in Keras."""

NORMAL, REDUCTION = CELLS

_SHARED: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "tanh": torch.tanh}
"""Operations without parameters and without draws, but the skip connection."""


def operation(name: str, channels: int, stride: int) -> nn.Module:
    """The module of one operation, channels in = channels out.

    Args:
        name: any of a space's but `none`.
        channels: of input and output.
        stride: 1 or 2.
    """
    if name == NOISE:
        return Noise(stride)
    if "conv" in name:
        size, dilation = int(name.partition("conv_")[2][0]), 2 if name.startswith("dil") else 1
        conv = SameConv2d(channels, channels, size, stride=stride, dilation=dilation)
        return nn.Sequential(conv, nn.ReLU()) if name.endswith("_relu") else conv
    module = {"relu": nn.ReLU, "tanh": nn.Tanh, "skip_connect": nn.Identity}[name]()
    return nn.Sequential(AveragePool(), module) if stride == 2 else module


class CellEnds(nn.Module):
    """What a cell has beside its edges: the way in, the norm of its nodes, the way out.

    Args:
        space: the space.
        c_in: channels of the cell before.
        channels: of this one.
    """

    def __init__(self, space: RLDARTS, c_in: int, channels: int) -> None:
        super().__init__()
        self.mode, self.normed = space.output_mode, space.cell_norm == "batch_stats"
        self.project = SameConv2d(c_in, channels, 1) if c_in != channels else nn.Identity()
        self.combine = (
            SameConv2d(len(space.nodes) * channels, channels, 1)
            if self.mode == "concat"
            else nn.Identity()
        )

    def node(self, total: Tensor | None, shape: Tensor) -> Tensor:
        """A node of the sum of its edges; None stands for zeros, of this shape."""
        total = torch.zeros_like(shape) if total is None else total
        return F.batch_norm(total, None, None, training=True, eps=EPS) if self.normed else total

    def leave(self, nodes: Sequence[Tensor]) -> Tensor:
        """The cell's output."""
        if self.mode == "concat":
            out: Tensor = self.combine(torch.cat(list(nodes), 1))
            return out
        if self.mode == "last":
            return nodes[-1]
        total = sum(nodes[1:], nodes[0])
        return total / len(nodes) if self.mode == "average" else total


class MixedCell(nn.Module):
    """A cell with the modules of every option of every edge.

    Args:
        space: says which options each edge has.
        kind: normal or reduce, the group of choices that it reads.
        c_in: channels of the cell before.
        channels: of this one.
    """

    def __init__(self, space: RLDARTS, kind: str, c_in: int, channels: int) -> None:
        super().__init__()
        self.kind, self.first = kind, space.nodes[0]
        self.stride = 2 if kind == REDUCTION else 1
        self.ends = CellEnds(space, c_in, channels)
        self.edges = nn.ModuleDict()
        for (source, _), choice in zip(space.wiring, space.groups[kind], strict=True):
            stride = self.stride if source < self.first else 1
            self.edges[choice.name] = nn.ModuleDict(
                {o: operation(o, channels, stride) for o in choice.options if o != NOTHING}
            )

    def option(self, term: Term) -> nn.Module:
        """The module of one option of one edge."""
        module: nn.Module = self.edges[term.edge][term.option]  # type: ignore[index]
        return module

    def forward(
        self, x: Tensor, sends: Sequence[Sequence[Term]], gates: Tensor | None, execution: str
    ) -> Tensor:
        """[n, c_in, h, w] -> [n, channels, h, w], of a reduction cell ceil(h / 2), ceil(w / 2).

        Args:
            x: output of the cell before.
            sends: what each node sends on.
            gates: the flattened gates of this kind of cell, [options of all edges] or, in plain
                execution, [options of all edges, examples]; None means 1 for all that is live.
            execution: "plain" or "fused".
        """
        nodes: list[Tensor] = [self.ends.project(x)]
        shape = strided(nodes[0], self.stride)
        sums: dict[int, Tensor] = {}
        for source, terms in enumerate(sends):
            if source >= self.first:
                nodes.append(self.ends.node(sums.pop(source, None), shape))
            stride = self.stride if source < self.first else 1
            if gates is None or execution == "plain":
                self._plain(nodes[source], terms, gates, sums)
            else:
                self._fused(nodes[source], terms, gates, sums, stride)
        nodes.append(self.ends.node(sums.pop(len(sends), None), shape))
        return self.ends.leave(nodes[self.first :])

    def _plain(
        self, x: Tensor, terms: Sequence[Term], gates: Tensor | None, sums: dict[int, Tensor]
    ) -> None:
        """One option after the other: node = sum over edges and live options of gate * option."""
        for term in terms:
            value = self.option(term)(x)
            value = value if gates is None else weighted(value, gates[term.gate])
            _add(sums, term.target, value)

    def _fused(
        self, x: Tensor, terms: Sequence[Term], gates: Tensor, sums: dict[int, Tensor], stride: int
    ) -> None:
        """The same, computed at once where it can be."""
        convolved = [t for t in terms if isinstance(self.option(t), SameConv2d)]
        targets = {t.target for t in convolved}
        skips = [t for t in terms if t.option == "skip_connect"]
        folded = [t for t in skips if stride == 1 and t.target in targets]
        shared = [t for t in terms if t.option in _SHARED or (t in skips and t not in folded)]
        done = {*convolved, *folded, *shared}
        self._plain(x, [t for t in terms if t not in done], gates, sums)
        sent: Tensor | None = None
        ends = [t.target for t in convolved]
        if convolved:
            y = self._convolved(x, convolved, folded, gates)
            sent = y.reshape(len(y), len(ends), -1, *y.shape[2:])
        if shared:
            others = sorted({t.target for t in shared})
            pooled = average_pool(x) if stride == 2 else x
            if others == ends:
                sent = _mixed(pooled, shared, ends, gates, sent)
            else:
                mixed = _mixed(pooled, shared, others, gates)
                for end, value in zip(others, mixed.unbind(1), strict=True):
                    _add(sums, end, value)
        if sent is not None:
            for end, value in zip(ends, sent.unbind(1), strict=True):
                _add(sums, end, value)

    def _convolved(
        self, x: Tensor, terms: Sequence[Term], folded: Sequence[Term], gates: Tensor
    ) -> Tensor:
        """Gate times convolution of each term, side by side; with the skips to the same targets."""
        convs = [conv for t in terms if isinstance(conv := self.option(t), SameConv2d)]
        gains = gates_of(terms, gates)
        kernels = torch.stack([conv.weight for conv in convs])  # [terms, c, c, k, k]
        kernels = gains.reshape(-1, 1, 1, 1, 1) * kernels
        if folded:
            places = torch.tensor([[t.target == s.target for s in folded] for t in terms])
            shares = places.to(gates) @ gates_of(folded, gates)
            kernels = kernels + shares.reshape(-1, 1, 1, 1, 1) * _identity(convs[0])
        bias = torch.stack([c.bias for c in convs if c.bias is not None])
        bias = gains[:, None] * bias
        return convs[0].convolve(x, kernels.flatten(0, 1), bias.flatten())


def _add(sums: dict[int, Tensor], target: int, value: Tensor) -> None:
    sums[target] = sums[target] + value if target in sums else value


def _identity(conv: SameConv2d) -> Tensor:
    """The kernel [c, c, k, k] that gives back its input."""
    eye = torch.eye(conv.out_channels, dtype=conv.weight.dtype, device=conv.weight.device)
    return F.pad(eye[:, :, None, None], [conv.reach] * 4)


def _mixed(
    x: Tensor,
    terms: Sequence[Term],
    ends: Sequence[int],
    gates: Tensor,
    to: Tensor | None = None,
) -> Tensor:
    """Sums of operations without parameters: [n, c, h, w] -> [n, ends, c, h, w].

    Args:
        x: the input of all of them.
        terms: the operations.
        ends: targets, in the order of the result.
        gates: flattened.
        to: what they are added to, of the result's shape; None: zeros.
    """
    names = list(dict.fromkeys(t.option for t in terms))
    values = torch.stack([_SHARED[o](x) if o in _SHARED else x for o in names], 1)
    places = torch.tensor(
        [ends.index(t.target) * len(names) + names.index(t.option) for t in terms]
    )
    weights = torch.zeros(len(ends) * len(names), dtype=gates.dtype, device=gates.device)
    weights = weights.index_put((places.to(gates.device),), gates_of(terms, gates))
    n = len(x)
    matrix = weights.reshape(1, len(ends), len(names)).expand(n, -1, -1)
    rows = values.flatten(2)
    if to is None:
        mixed = torch.bmm(matrix, rows)
    else:
        mixed = torch.baddbmm(to.flatten(2).to(rows.dtype), matrix.to(rows.dtype), rows)
    return mixed.reshape(n, len(ends), *x.shape[1:])


class Frame(nn.Module):
    """The network around its cells.

    Args:
        space: the space.
        spec: `channels` is C, `classes` the outputs; `depth` is the space's.
    """

    def __init__(self, space: RLDARTS, spec: NetworkSpec) -> None:
        super().__init__()
        first = spec.channels * space.stages[0]
        self.initial = SameConv2d(spec.in_channels, first, 3) if space.initial else nn.Identity()
        grid = halved(space.side, len(space.stages))
        self.head = Head(spec.channels * space.stages[-1], grid, spec.classes)


def places(space: RLDARTS, spec: NetworkSpec) -> list[tuple[str, int, int]]:
    """The cells of a network, in order: kind, input channels, channels."""
    found = []
    before = spec.channels * space.stages[0] if space.initial else spec.in_channels
    for multiple in space.stages:
        channels = spec.channels * multiple
        for kind in (REDUCTION, *[NORMAL] * space.normals):
            found.append((kind, before, channels))
            before = channels
    return found


class RLDARTSSupernet(Supernet):
    """All networks of the space in one.

    Args:
        space: the space; its groups "normal" and "reduce" have one row of gates per edge, shared by
            all cells of the type.
        spec: `channels` is C; `execution` may be changed at any time (`net.execution = "plain"`),
            the parameters are the same.
    """

    space: RLDARTS

    def __init__(self, space: RLDARTS, spec: NetworkSpec) -> None:
        super().__init__()
        self.space, self.execution = space, spec.execution
        self.frame = Frame(space, spec)
        self.cells = nn.ModuleList(MixedCell(space, *place) for place in places(space, spec))

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        """[n, outputs] of images [n, in_channels, h, w]; a live `none` is not executed."""
        execution = "plain" if gates.examples else self.execution
        space = self.space
        plans = {k: plan(space.wiring, space.groups[k], gates.live[k]) for k in CELLS}
        given = {k: None if gates.unit else flat(gates.weights[k]) for k in CELLS}
        x = self.frame.initial(x)
        for cell in self.cells:
            if isinstance(cell, MixedCell):
                x = cell(x, plans[cell.kind], given[cell.kind], execution)
        out: Tensor = self.frame.head(x)
        return out

    def _options(self, choice: str, option: str) -> list[nn.Module]:
        kind = self.space.choice(choice).group
        cells = [c for c in self.cells if isinstance(c, MixedCell) and c.kind == kind]
        return [] if option == NOTHING else [c.edges[choice][option] for c in cells]  # type: ignore[index]

    def backbone(self) -> list[nn.Module]:
        """Nothing, as in other spaces of cells."""
        return []


class Cell(nn.Module):
    """One cell of one architecture: plain modules, no gates, no weights of its sums.

    Args:
        space: the space of `arch`.
        arch: the architecture.
        kind: normal or reduce.
        c_in: channels of the cell before.
        channels: of this one.
    """

    def __init__(
        self, space: RLDARTS, arch: Architecture, kind: str, c_in: int, channels: int
    ) -> None:
        super().__init__()
        self.nodes = space.nodes
        self.stride = 2 if kind == REDUCTION else 1
        self.ends = CellEnds(space, c_in, channels)
        self.operations = nn.ModuleList()
        self.wiring: list[tuple[int, int]] = []
        """(source, target) of each operation."""
        for target in space.nodes:
            for name, source in space.kept(arch, kind, target):
                stride = self.stride if source < self.nodes[0] else 1
                self.operations.append(operation(name, channels, stride))
                self.wiring.append((source, target))

    def forward(self, x: Tensor) -> Tensor:
        """[n, c_in, h, w] -> [n, channels, h, w], of a reduction cell ceil(h / 2), ceil(w / 2)."""
        nodes: list[Tensor] = [self.ends.project(x)]
        shape = strided(nodes[0], self.stride)
        for target in self.nodes:
            pairs = zip(self.operations, self.wiring, strict=True)
            terms = [op(nodes[source]) for op, (source, end) in pairs if end == target]
            nodes.append(self.ends.node(sum(terms[1:], terms[0]), shape))
        return self.ends.leave(nodes[self.nodes[0] :])


class RLDARTSNetwork(nn.Module):
    """The network of one architecture, trained from scratch.

    Args:
        space: the space that the architecture is from.
        arch: the architecture.
        spec: `channels` is C; `depth` is the space's.
    """

    def __init__(self, space: RLDARTS, arch: Architecture, spec: NetworkSpec) -> None:
        super().__init__()
        arch = space.check(arch)
        self.frame = Frame(space, spec)
        self.cells = nn.Sequential(*(Cell(space, arch, *place) for place in places(space, spec)))

    def forward(self, x: Tensor) -> Tensor:
        """[n, outputs] of images [n, in_channels, h, w]."""
        out: Tensor = self.frame.head(self.cells(self.frame.initial(fused.quick_layout(x))))
        return out


register(RLDARTS, supernet=RLDARTSSupernet, network=RLDARTSNetwork)
