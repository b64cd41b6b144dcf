"""Supernet of the DARTS space and of S1 to S4.

Liu, Simonyan and Yang, ICLR 2019, arXiv 1806.09055. The stem and the places of the cells are those
of the stand-alone networks; batch norms of the operations and preprocessing layers are not affine,
and pools are followed by one, unless the space has them bare.

The supernet has one set of parameters and two ways to run them. `plain`: one module per option,
edge after edge; a path is run so in any case, since its edges have one option each. `fused`: all
that leaves a node at once, channels-last:

- ReLU and pooling once per node. The norm of a pool has no parameters, so in train mode the edges
  that leave a node agree on it: computed once, it is added to each target with that edge's gate.
- Dilated convolutions work on the four grids of every second pixel (`convolution.split_phases`),
  where they are ordinary ones; their sum is put together once per node.
- `fused.mix` folds the gate into the last norm of each option and adds into the nodes in place.

A space of signals is run as one of images of one row (`supernets.dimensions`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from morphogen.spaces.darts_cells import EDGES, NODES, DARTSCells
from morphogen.supernets import fused
from morphogen.supernets.base import NetworkSpec, Supernet, register
from morphogen.supernets.convolution import depthwise, join_phases, split_phases
from morphogen.supernets.darts_network import (
    CellInputs,
    DARTSNetwork,
    Place,
    cell_places,
    edge_operation,
    make_stem,
)
from morphogen.supernets.dimensions import Dimensions, of_supernet
from morphogen.supernets.edges import Term, flat, gates_of, plan
from morphogen.supernets.gates import Gates, weighted
from morphogen.supernets.operations import (
    DilConv,
    FactorizedReduce,
    Noise,
    Pool,
    SepConv,
    strided,
)
from morphogen.supernets.partial import Channels, edge_weights


class _Sums:
    """The nodes of a cell while they grow: two sums each, one of them split in phases.

    Args:
        rows: see `split_phases`.
    """

    def __init__(self, *, rows: bool) -> None:
        self.rows = rows
        self.whole: dict[int, Tensor] = {}
        self.split: dict[int, Tensor] = {}

    def take(self, node: int) -> Tensor | None:
        """The node's value, None if nothing was added."""
        whole, split = self.whole.pop(node, None), self.split.pop(node, None)
        if split is None:
            return whole
        joined = join_phases(split, rows=self.rows)
        return joined if whole is None else whole + joined


class MixedCell(nn.Module):
    """A cell with the modules of every option of every edge.

    Args:
        space: says which options each edge has.
        place: where the cell stands.
        dims: for images or signals.
        parts: K of partial channels.
    """

    def __init__(
        self, space: DARTSCells, place: Place, dims: Dimensions, *, parts: int = 1
    ) -> None:
        super().__init__()
        self.dims = dims
        self.kind = place.kind
        self.reduction = place.reduction
        self.inputs = CellInputs(place, affine=False, dims=dims)
        self.partial = Channels(parts, place.channels, rows=dims.rows) if parts > 1 else None
        place = replace(place, channels=place.channels // parts)
        self.edges = nn.ModuleDict()
        for (source, _), choice in zip(EDGES, space.groups[place.kind], strict=True):
            self.edges[choice.name] = nn.ModuleDict(
                {
                    name: edge_operation(space, name, place, source, affine=False, dims=dims)
                    for name in choice.options
                    if name != "none"
                }
            )

    def option(self, term: Term) -> nn.Module:
        """The module of one option of one edge."""
        module: nn.Module = self.edges[term.edge][term.option]  # type: ignore[index]
        return module

    def forward(
        self,
        s0: Tensor,
        s1: Tensor,
        plan: Sequence[Sequence[Term]],
        gates: Tensor | None,
        execution: str,
        passing: Mapping[int, Tensor | None],
    ) -> Tensor:
        """Outputs of the two cells before -> [n, 4 * channels, h, w] (h / 2, w / 2 if reduction).

        Args:
            s0: output of the cell before the last.
            s1: output of the last cell.
            plan: what each node sends on.
            gates: the flattened gates of this kind of cell, [options of all edges] or, in plain
                execution, [options of all edges, examples]; None means 1 for all that is live.
            execution: "plain" or "fused".
            passing: of partial channels the weights of edges by position, see `edge_weights`.
        """
        nodes: list[Tensor] = self.inputs(s0, s1)
        step = 2 if self.reduction else 1
        shape = strided(nodes[0], step)
        rests: dict[int, Tensor] = {}
        run = self._plain if execution == "plain" else self._fused
        sums = _Sums(rows=self.dims.rows)
        for source, terms in enumerate(plan):
            if source >= NODES[0]:
                nodes.append(self._node(sums.take(source), rests.get(source), shape))
            stride = step if source < NODES[0] else 1
            seen = nodes[source]
            if self.partial:
                seen, beyond = self.partial.split(seen)
                for row, weight in passing.items():
                    if EDGES[row][0] == source:
                        target = EDGES[row][1]
                        term = self.partial.passed(beyond, weight, stride)
                        rests[target] = rests[target] + term if target in rests else term
            if terms:
                run(seen, terms, gates, sums, stride)
        nodes.append(self._node(sums.take(NODES[-1]), rests.get(NODES[-1]), shape))
        return torch.cat(nodes[NODES[0] :], 1)

    def _node(self, total: Tensor | None, rest: Tensor | None, shape: Tensor) -> Tensor:
        """A node of the sums of its edges, None standing for zeros."""
        if not self.partial:
            return torch.zeros_like(shape) if total is None else total
        seen, beyond = self.partial.split(shape)
        return self.partial.join(
            torch.zeros_like(seen) if total is None else total,
            torch.zeros_like(beyond) if rest is None else rest,
        )

    def _plain(
        self, x: Tensor, terms: Sequence[Term], gates: Tensor | None, sums: _Sums, stride: int
    ) -> None:
        """One option after the other: node = sum over edges and live options of gate * option."""
        for term in terms:
            value = self.option(term)(x)
            value = value if gates is None else weighted(value, gates[term.gate])
            so_far = sums.whole.get(term.target)
            sums.whole[term.target] = value if so_far is None else so_far + value

    def _fused(
        self, x: Tensor, terms: Sequence[Term], gates: Tensor | None, sums: _Sums, stride: int
    ) -> None:
        """The same, shared and in as few passes over memory as possible."""
        x = fused.channels_last(fused.at_least_float32(x))
        active: Tensor | None = None
        phases: Tensor | None = None
        rows = self.dims.rows
        splits = stride == 1 and (rows or x.shape[2] % 2 == 0) and x.shape[3] % 2 == 0
        whole, split = _Batch(), _Batch()
        pooled: dict[str, list[Term]] = {}
        for term in terms:
            module = self.option(term)
            if isinstance(module, Pool):
                pooled.setdefault(term.option, []).append(term)
            elif isinstance(module, Noise):
                whole.add_direct(module(x), term)
            elif isinstance(module, nn.Identity):
                whole.add_direct(x, term)
            elif isinstance(module, _BatchNorm):  # a skip connection with a norm
                whole.add_normed(x, module, term)
            else:
                if active is None:
                    active = F.relu(x)
                if isinstance(module, DilConv):
                    if phases is None and (splits or stride == 2):
                        phases = (
                            split_phases(active, rows=rows) if splits else _every_second(active)
                        )
                    if phases is None:  # odd sizes have no equal phases
                        y = module.pointwise(module.depthwise(active))
                    else:
                        y = module.pointwise(depthwise(phases, module.depthwise.weight))
                    (split if splits else whole).add_normed(y, module.norm, term)
                elif isinstance(module, SepConv):
                    y = module.pointwise1(depthwise(active, module.depthwise1.weight, stride))
                    y = F.relu(module.norm1(y))
                    y = module.pointwise2(depthwise(y, module.depthwise2.weight))
                    whole.add_normed(y, module.norm2, term)
                elif isinstance(module, FactorizedReduce):
                    whole.add_normed(module.convolve(active), module.norm, term)
                else:
                    raise TypeError(f"no fused form of operation {term.option!r}")
        for name, group in pooled.items():
            self._pools(x, name, group, whole, stride)
        whole.send(sums.whole, gates, training=self.training)
        split.send(sums.split, gates, training=self.training)

    def _pools(
        self, x: Tensor, name: str, terms: Sequence[Term], batch: _Batch, stride: int
    ) -> None:
        """One pool for all edges; one norm, too, where all norms agree: in train mode."""
        modules = [m for t in terms if isinstance(m := self.option(t), Pool)]
        norms = [m.norm for m in modules if isinstance(m.norm, _BatchNorm)]
        y = (
            modules[0].pool(x)
            if name == "max_pool_3x3"
            else fused.average_pool(x, stride, rows=self.dims.rows)
        )
        if not norms:
            for term in terms:
                batch.add_direct(y, term)
            return
        if not self.training:
            for term, norm in zip(terms, norms, strict=True):
                batch.add_normed(y, norm, term)
            return
        normed, moments = _norm_once(y, norms[0])
        fused.update_running(
            norms, [moments] * len(norms), fused.joint_rows(fused.as_matrix(normed))
        )
        for term in terms:
            batch.add_direct(normed, term)


class _Batch:
    """What one node sends on in one layout, in the order that `fused.mix` wants it."""

    def __init__(self) -> None:
        self.normed: list[Tensor] = []
        self.norms: list[_BatchNorm] = []
        self.normed_terms: list[Term] = []
        self.direct: list[Tensor] = []
        self.direct_terms: list[tuple[int, Term]] = []

    def add_normed(self, y: Tensor, norm: _BatchNorm, term: Term) -> None:
        """Add gate * norm(y) to the term's target."""
        self.normed.append(y)
        self.norms.append(norm)
        self.normed_terms.append(term)

    def add_direct(self, y: Tensor, term: Term) -> None:
        """Add gate * y to the term's target."""
        place = next((i for i, t in enumerate(self.direct) if t is y), None)
        if place is None:
            place = len(self.direct)
            self.direct.append(y)
        self.direct_terms.append((place, term))

    def send(self, sums: dict[int, Tensor], gates: Tensor | None, *, training: bool) -> None:
        """Add everything into the nodes of `sums`; running statistics follow in train mode."""
        terms = [*self.normed_terms, *(t for _, t in self.direct_terms)]
        if not terms:
            return
        targets = sorted({t.target for t in terms})
        place = {target: i for i, target in enumerate(targets)}
        wiring = fused.Wiring(
            sums=len(targets),
            normed=tuple((place[t.target],) for t in self.normed_terms),
            direct=tuple((i, place[t.target]) for i, t in self.direct_terms),
        )
        gains = None
        if gates is not None:
            gains = gates_of(terms, gates)
        mixed = fused.mix(
            wiring,
            [sums.get(target) for target in targets],
            normed=self.normed,
            direct=self.direct,
            gains=gains,
            moments=None if training else [fused.running_moments([n]) for n in self.norms],
        )
        if training:
            rows = fused.joint_rows(fused.as_matrix(mixed.sums[0]))
            fused.update_running(self.norms, mixed.moments, rows)
        sums.update(zip(targets, mixed.sums, strict=True))


def _norm_once(y: Tensor, norm: _BatchNorm) -> tuple[Tensor, fused.Moments]:
    """`y` normalised by its batch's statistics without affine, and those statistics."""
    if fused.several_processes():
        matrix = fused.at_least_float32(fused.as_matrix(fused.channels_last(y)))
        with fused.full_precision(y):
            mean, variance = fused.moments_plain(matrix)
            normed = (matrix - mean) * (variance + norm.eps).rsqrt()
        return fused.as_images(normed, y), (mean, variance)
    if fused.served(y):
        normed, mean, variance = fused.normalised(y, None, None, norm.eps)
        return normed, (mean, variance)
    mean, variance = (torch.zeros(y.shape[1], dtype=y.dtype, device=y.device) for _ in range(2))
    # Momentum 1 makes the kernel hand over the batch's own statistics, with unbiased variance.
    normed = F.batch_norm(y, mean, variance, training=True, momentum=1.0, eps=norm.eps)
    rows = fused.as_matrix(y).shape[0]
    return normed, (mean, variance * ((rows - 1) / rows))


def _every_second(x: Tensor) -> Tensor:
    return fused.channels_last(strided(x, 2))


class DARTSSupernet(Supernet):
    """All networks of a DARTS space in one.

    Args:
        space: the space; its groups have one row of gates per edge, shared by all cells that read
            the group: those of a type ("normal", "reduce"), or one cell.
        spec: `channels` is C (even), `depth` the number of cells (DARTS: 16 and 8); `execution`
            may be changed at any time (`net.execution = "plain"`), the parameters are the same.
    """

    space: DARTSCells
    takes_partial = True

    def __init__(self, space: DARTSCells, spec: NetworkSpec) -> None:
        super().__init__()
        self.space = space
        self.execution = spec.execution
        self.parts = parts = spec.partial_channels
        self.dims = dims = of_supernet(space)
        places = cell_places(space, spec)
        self.stem = make_stem(spec, dims)
        self.cells = nn.ModuleList(MixedCell(space, place, dims, parts=parts) for place in places)
        self.classifier = nn.Linear(len(NODES) * places[-1].channels, spec.classes)

    def _options(self, choice: str, option: str) -> list[nn.Module]:
        kind = self.space.choice(choice).group
        cells = [c for c in self.cells if isinstance(c, MixedCell) and c.kind == kind]
        return [] if option == "none" else [c.edges[choice][option] for c in cells]  # type: ignore[index]

    def backbone(self) -> list[nn.Module]:
        """Nothing: stem, preprocessing of cells and classifier are left out."""
        return []

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        """Class scores [n, classes] of images [n, in_channels, h, w].

        Args:
            x: images; height and width multiples of 4 (CIFAR stem) or 32 (ImageNet stem); or
                signals [n, in_channels, t] of a space of signals.
            gates: the groups of the space, weights [14, options], columns in each choice's
                own order. A live `none` is not executed and adds nothing.
        """
        execution = "plain" if gates.examples or gates.path else self.execution
        plain = execution == "plain"
        kinds = self.space.cells
        plans = {kind: plan(EDGES, self.space.groups[kind], gates.live[kind]) for kind in kinds}
        given = {kind: None if gates.unit else flat(gates.weights[kind]) for kind in kinds}
        partial = self.parts > 1
        passing = {kind: edge_weights(gates, kind) if partial else {} for kind in kinds}
        x = self.dims.enter(x)
        s0, s1 = self.stem(fused.quick_layout(x) if plain else fused.channels_last(x))
        for cell in self.cells:
            if isinstance(cell, MixedCell):
                kind = cell.kind
                s0, s1 = s1, cell(s0, s1, plans[kind], given[kind], execution, passing[kind])
        scores: Tensor = self.classifier(self.dims.mean(s1))
        return scores


register(DARTSCells, supernet=DARTSSupernet, network=DARTSNetwork)
