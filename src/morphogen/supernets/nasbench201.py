"""Supernet and stand-alone networks of NAS-Bench-201.

Dong and Yang, ICLR 2020, arXiv 2001.00326; composition as in D-X-Y/AutoDL-Projects. Stem (3x3
convolution to C channels, batch norm), then three stages of N cells at C, 2C and 4C channels with
a residual block that halves the image between them, then batch norm, ReLU, global average pool and
a linear classifier. In the supernet the operations of the cells have no bias and batch norms
without affine; in the stand-alone networks these norms are affine. Convolutions are drawn by
nn.Conv2d's own Kaiming-uniform rule, which the search networks of AutoDL-Projects keep too. The
same with kernels of one dimension takes signals (`supernets.dimensions`).

The supernet has one set of parameters, one module per option, and two ways to run them:

- `plain`: option after option, edge after edge, weighted and added. The reference.
- `fused`: the sums of `supernets.fused`, all options of all edges that leave a node at once; a
  path, whose edges have one option each, is quicker as it is in `plain`.

Both read and write the same parameters and buffers, so a state dict fits both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.core import Architecture, Choice, UnknownNameError
from morphogen.spaces.nasbench201 import EDGES, NODES, OPERATIONS, NASBench201, edge_name
from morphogen.supernets import fused
from morphogen.supernets.base import NetworkSpec, Supernet, register
from morphogen.supernets.dimensions import Dimensions, of_network, of_supernet
from morphogen.supernets.gates import Gates, weighted
from morphogen.supernets.partial import Channels, edge_weights

GROUP = "cell"
"""The group of the space's choices: one matrix of gates [6, options], shared by all cells."""

STAGES = (1, 2, 4)
"""Channels of the stages as multiples of C."""


# -- parts that both networks have ---------------------------------------------------------------


class ResidualBlock(nn.Module):
    """Halves the image: ReLU, conv3x3 /2, BN, ReLU, conv3x3, BN; plus avg-pool 2x2, conv1x1.

    Args:
        c_in: input channels.
        c_out: output channels.
        dims: for images or signals; the norms are affine.
    """

    def __init__(self, c_in: int, c_out: int, dims: Dimensions) -> None:
        super().__init__()
        self.dims = dims
        self.conv_a = dims.conv(c_in, c_out, 3, stride=2)
        self.norm_a = dims.norm(c_out)
        self.conv_b = dims.conv(c_out, c_out, 3)
        self.norm_b = dims.norm(c_out)
        self.shortcut = dims.conv(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[n, c_in, h, w] -> [n, c_out, h / 2, w / 2], no final ReLU."""
        y = self.norm_a(self.conv_a(F.relu(x)))
        y = self.norm_b(self.conv_b(F.relu(y)))
        result: Tensor = self.shortcut(self.dims.halved(x)) + y
        return result


class ReLUConvNorm(nn.Module):
    """ReLU, convolution (stride 1, no bias), batch norm; channels stay.

    Args:
        channels: input and output channels.
        size: 1 or 3, side of the kernel; the image keeps its size.
        dims: for images or signals.
        affine: whether the batch norm has scale and shift.
    """

    def __init__(self, channels: int, size: int, dims: Dimensions, *, affine: bool) -> None:
        super().__init__()
        self.conv = dims.conv(channels, channels, size)
        self.norm = dims.norm(channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] -> the same shape."""
        y: Tensor = self.norm(self.conv(F.relu(x)))
        return y


def operation(name: str, channels: int, dims: Dimensions, *, affine: bool) -> nn.Module:
    """The module of one option other than `none`; `affine` is for its norm, if it has one."""
    if name == "skip_connect":
        return nn.Identity()
    if name == "avg_pool_3x3":
        return dims.avg_pool(3, 1, 1)
    if name not in OPERATIONS:
        raise UnknownNameError("operation of NAS-Bench-201's supernet", name, OPERATIONS)
    size = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}[name]
    return ReLUConvNorm(channels, size, dims, affine=affine)


def stem(spec: NetworkSpec, dims: Dimensions) -> nn.Sequential:
    """3x3 convolution to C channels and batch norm, no ReLU."""
    return nn.Sequential(dims.conv(spec.in_channels, spec.channels, 3), dims.norm(spec.channels))


# -- the stand-alone network ---------------------------------------------------------------------


class Cell(nn.Module):
    """One architecture as a cell: plain modules, no gates; `none` edges do not exist."""

    def __init__(
        self, operations: Mapping[tuple[int, int], str], channels: int, dims: Dimensions
    ) -> None:
        super().__init__()
        self.edges = [edge for edge in EDGES if operations[edge] != "none"]
        self.operations = nn.ModuleDict(
            {
                edge_name(*edge): operation(operations[edge], channels, dims, affine=True)
                for edge in self.edges
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] -> the same shape; a node without inputs is zero."""
        nodes = [x]
        for target in range(1, NODES):
            terms = [
                self.operations[edge_name(s, t)](nodes[s]) for s, t in self.edges if t == target
            ]
            nodes.append(sum(terms[1:], terms[0]) if terms else torch.zeros_like(x))
        return nodes[-1]


class NASBench201Network(nn.Module):
    """The network of one architecture, as the benchmark trained it (C=16, N=5).

    Args:
        space: the space (or a part of it) that the architecture is from.
        arch: the architecture.
        spec: `channels` is C, `depth` is N.
    """

    def __init__(self, space: NASBench201, arch: Architecture, spec: NetworkSpec) -> None:
        super().__init__()
        arch = space.check(arch)
        chosen = {(s, t): arch.one(edge_name(s, t)) for s, t in EDGES}
        self.dims = dims = of_network(space)
        self.stem = stem(spec, dims)
        self.cells = nn.ModuleList()
        width = spec.channels
        for multiple in STAGES:
            if multiple > 1:
                self.cells.append(ResidualBlock(width, spec.channels * multiple, dims))
            width = spec.channels * multiple
            self.cells.extend(Cell(chosen, width, dims) for _ in range(spec.depth))
        self.norm = dims.norm(width)
        self.classifier = nn.Linear(width, spec.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores [n, classes] of images [n, in_channels, h, w], h and w at least 4.

        Of a space of signals: of signals [n, in_channels, t], of any length.
        """
        x = self.stem(fused.quick_layout(x))
        for cell in self.cells:
            x = cell(x)
        scores: Tensor = self.classifier(self.dims.mean(F.relu(self.norm(x))))
        return scores

    def layers(self) -> dict[str, list[nn.Module]]:
        """Name -> modules by depth: stem, each stage's edges (all its N cells), residual blocks.

        The same names for all architectures; an edge with `none` has no modules.
        """
        out: dict[str, list[nn.Module]] = {"stem": [self.stem]}
        stage = 1
        for cell in self.cells:
            if not isinstance(cell, Cell):
                stage += 1
                out[f"reduction_{stage}"] = [cell]
                continue
            for edge in EDGES:
                name = edge_name(*edge)
                members = out.setdefault(f"stage_{stage}_{name}", [])
                if edge in cell.edges:
                    members.append(cell.operations[name])
        return out


# -- the supernet --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Outgoing:
    """What leaves one node of the cell: terms in the order that `fused.mix` wants them."""

    conv3: tuple[str, ...]
    """Names of the edges with a live 3x3 convolution."""
    conv1: tuple[str, ...]
    """Names of the edges with a live 1x1 convolution."""
    direct: tuple[str, ...]
    """Which of `skip_connect`, `avg_pool_3x3` are live on any edge."""
    wiring: fused.Wiring
    """The sums are the nodes after this one, those that get something."""
    targets: tuple[int, ...]
    """Node of each sum."""
    idle: frozenset[str]
    """Names of the edges to nodes from which nothing reaches the output. They are run, for the sake
    of their running statistics, but their weights get no gradient, as in the plain form."""
    gates: tuple[int, ...]
    """Per term, the position of its gate in the flattened matrix of gates."""


_ORDER = ("nor_conv_3x3", "nor_conv_1x1", "skip_connect", "avg_pool_3x3")
"""Order of the terms, and so of their gates: normed, linear, direct (see `fused.Wiring`)."""


@lru_cache(maxsize=4096)
def _plan(
    choices: tuple[Choice, ...], live: tuple[tuple[int, ...], ...], *, passing: bool = False
) -> tuple[_Outgoing, ...]:
    """What each of the nodes 0 to 2 sends on, for the live options of each edge.

    Args:
        choices: the edges.
        live: their live options.
        passing: whether some channels pass every edge that has a live option.
    """
    widest = max(len(choice.options) for choice in choices)
    found: dict[str, dict[tuple[int, int], int]] = {name: {} for name in OPERATIONS}
    for row, (edge, choice, columns) in enumerate(zip(EDGES, choices, live, strict=True)):
        for column in columns:
            found[choice.options[column]][edge] = row * widest + column
    reach = {NODES - 1}
    for source in reversed(range(NODES - 1)):
        names = OPERATIONS if passing else _ORDER
        if any(e[0] == source and e[1] in reach for n in names for e in found[n]):
            reach.add(source)
    plans = []
    for source in range(NODES - 1):
        own = {
            n: {e[1]: g for e, g in edges.items() if e[0] == source} for n, edges in found.items()
        }
        targets = tuple(sorted({t for name in _ORDER for t in own[name]}))
        place = {t: i for i, t in enumerate(targets)}
        conv3, conv1 = own["nor_conv_3x3"], own["nor_conv_1x1"]
        direct = tuple(name for name in ("skip_connect", "avg_pool_3x3") if own[name])
        plans.append(
            _Outgoing(
                conv3=tuple(edge_name(source, t) for t in conv3),
                conv1=tuple(edge_name(source, t) for t in conv1),
                direct=direct,
                wiring=fused.Wiring(
                    sums=len(targets),
                    normed=(tuple(place[t] for t in conv3),) if conv3 else (),
                    linear=tuple(place[t] for t in conv1),
                    direct=tuple((i, place[t]) for i, name in enumerate(direct) for t in own[name]),
                ),
                targets=targets,
                idle=frozenset(edge_name(source, t) for t in targets if t not in reach),
                gates=tuple(g for name in _ORDER for g in own[name].values()),
            )
        )
    return tuple(plans)


class MixedCell(nn.Module):
    """A cell with the modules of every option of every edge.

    Args:
        space: says which options each edge has.
        channels: of every node.
        dims: for images or signals.
        parts: K of partial channels.
    """

    def __init__(
        self, space: NASBench201, channels: int, dims: Dimensions, *, parts: int = 1
    ) -> None:
        super().__init__()
        self.dims = dims
        self.partial = Channels(parts, channels, rows=dims.rows) if parts > 1 else None
        self.choices = space.groups[GROUP]
        self.edges = nn.ModuleDict(
            {
                choice.name: nn.ModuleDict(
                    {
                        name: operation(name, channels // parts, dims, affine=False)
                        for name in choice.options
                        if name != "none"
                    }
                )
                for choice in self.choices
            }
        )

    def option(self, edge: str, name: str) -> nn.Module:
        """The module of option `name` of the edge called `edge`."""
        options = self.edges[edge]
        module: nn.Module = options[name]  # type: ignore[index]
        return module

    def plain(self, x: Tensor, gates: Gates) -> Tensor:
        """One option after the other: node = sum over edges and live options of gate * option."""
        nodes = [x]
        sent = [self._split(x)]
        passing = edge_weights(gates, GROUP) if self.partial else {}
        for target in range(1, NODES):
            total: Tensor | None = None
            rest: Tensor | None = None
            for row, (source, end) in enumerate(EDGES):
                if end != target:
                    continue
                seen, beyond = sent[source]
                choice = self.choices[row]
                live, weights = gates.row(GROUP, row)
                for column in live:
                    if choice.options[column] == "none":
                        continue
                    term = self.option(choice.name, choice.options[column])(seen)
                    term = term if gates.unit else weighted(term, weights[column])
                    total = term if total is None else total + term
                if self.partial and row in passing:
                    term = self.partial.passed(beyond, passing[row])
                    rest = term if rest is None else rest + term
            nodes.append(self._joined(total, rest, x))
            if target < NODES - 1:
                sent.append(self._split(nodes[-1]))
        return nodes[-1]

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the operations see of a node, and what passes them by."""
        return self.partial.split(x) if self.partial else (x, x)

    def _joined(self, total: Tensor | None, rest: Tensor | None, x: Tensor) -> Tensor:
        """A node of these sums, None standing for zeros; `x` has its shape."""
        if not self.partial:
            return torch.zeros_like(x) if total is None else total
        seen, beyond = self.partial.split(x)
        return self.partial.join(
            torch.zeros_like(seen) if total is None else total,
            torch.zeros_like(beyond) if rest is None else rest,
        )

    def fused(
        self,
        x: Tensor,
        plans: Sequence[_Outgoing],
        gains: Sequence[Tensor | None],
        passing: Mapping[int, Tensor | None],
    ) -> Tensor:
        """The same, all that leaves a node at once.

        Args:
            x: channels-last [n, channels, h, w], float32 or float64.
            plans: what each of the nodes 0 to 2 sends on.
            gains: per node the gates of what it sends, in the plan's order; None means 1.
            passing: of partial channels the weights of edges by position, see `edge_weights`.
        """
        sums: list[Tensor | None] = [None] * NODES
        rests: list[Tensor | None] = [None] * NODES
        for source, (plan, gain) in enumerate(zip(plans, gains, strict=True)):
            if not plan.targets and not passing:
                continue
            node = self._joined(sums[source], rests[source], x) if source else x
            seen, beyond = self._split(node)
            if plan.targets:
                seen = fused.channels_last(seen) if self.partial else seen
                sent = self._send(seen, plan, gain, [sums[t] for t in plan.targets])
                for target, total in zip(plan.targets, sent, strict=True):
                    sums[target] = total
            for row, weight in passing.items():
                if self.partial and EDGES[row][0] == source:
                    term, so_far = self.partial.passed(beyond, weight), rests[EDGES[row][1]]
                    rests[EDGES[row][1]] = term if so_far is None else so_far + term
        return self._joined(sums[-1], rests[-1], x)

    def _send(
        self, x: Tensor, plan: _Outgoing, gain: Tensor | None, sums: Sequence[Tensor | None]
    ) -> list[Tensor]:
        conv3 = [self._convolution(edge, "nor_conv_3x3") for edge in plan.conv3]
        conv1 = [self._convolution(edge, "nor_conv_1x1") for edge in plan.conv1]
        norms = [c.norm for c in (*conv3, *conv1)]
        active = F.relu(x) if norms else None
        normed, linear = [], None
        if active is not None and conv3:
            weight = _stacked([c.conv.weight for c in conv3], plan.conv3, plan.idle)
            y = F.conv2d(active, weight, padding=self.dims.sides(1, 0))
            normed = [fused.at_least_float32(y)]
        if conv1:
            linear = _stacked([c.conv.weight.flatten(1) for c in conv1], plan.conv1, plan.idle)
        moments = None
        if not self.training:
            together = [[c.norm for c in conv3]] if conv3 else []
            moments = [fused.running_moments(n) for n in (*together, *([c.norm] for c in conv1))]
        mixed = fused.mix(
            plan.wiring,
            sums,
            normed=normed,
            source=active if conv1 else None,
            linear=linear,
            direct=[x if name == "skip_connect" else self._pooled(x) for name in plan.direct],
            gains=gain,
            moments=moments,
        )
        if self.training:
            fused.update_running(norms, mixed.moments, fused.joint_rows(fused.as_matrix(x)))
        return mixed.sums

    def _pooled(self, x: Tensor) -> Tensor:
        return fused.average_pool(x, rows=self.dims.rows)

    def _convolution(self, edge: str, name: str) -> ReLUConvNorm:
        module = self.option(edge, name)
        if not isinstance(module, ReLUConvNorm):
            raise TypeError(
                f"option {name} of {edge} is a {type(module).__name__}, not a ReLUConvNorm"
            )
        return module


def _stacked(weights: Sequence[Tensor], edges: Sequence[str], idle: frozenset[str]) -> Tensor:
    """Weights one under the other; those of idle edges without gradient."""
    used = [w.detach() if e in idle else w for w, e in zip(weights, edges, strict=True)]
    return used[0] if len(used) == 1 else torch.cat(used)


@lru_cache(maxsize=4096)
def _positions(gates: tuple[int, ...], device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(gates, dtype=torch.int64, device=device)  # there may be none


class NASBench201Supernet(Supernet):
    """All 15,625 networks (or those of a restricted space) in one.

    Args:
        space: the space; its group "cell" has one row of gates per edge, shared by all cells.
        spec: `channels` is C, `depth` is N; `execution` may be changed at any time
            (`net.execution = "plain"`), the parameters are the same.
    """

    takes_partial = True

    def __init__(self, space: NASBench201, spec: NetworkSpec) -> None:
        super().__init__()
        self.space = space
        self.execution = spec.execution
        self.parts = parts = spec.partial_channels
        self.dims = dims = of_supernet(space)
        self.stem = stem(spec, dims)
        self.cells = nn.ModuleList()
        width = spec.channels
        for multiple in STAGES:
            if multiple > 1:
                self.cells.append(ResidualBlock(width, spec.channels * multiple, dims))
            width = spec.channels * multiple
            self.cells.extend(MixedCell(space, width, dims, parts=parts) for _ in range(spec.depth))
        self.norm = dims.norm(width)
        self.classifier = nn.Linear(width, spec.classes)

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        """Class scores [n, classes] of images [n, in_channels, h, w], h and w at least 4.

        Args:
            x: images; signals [n, in_channels, t] of a space of signals.
            gates: group "cell", weights [6, options] (columns in each choice's own order).
        """
        x = self.dims.enter(x)
        plain = self.execution == "plain" or gates.examples or gates.path
        x = self._plain(x, gates) if plain else self._fused(x, gates)
        scores: Tensor = self.classifier(self.dims.mean(F.relu(self.norm(x))))
        return scores

    def _options(self, choice: str, option: str) -> list[nn.Module]:
        cells = [cell for cell in self.cells if isinstance(cell, MixedCell)]
        return [] if option == "none" else [cell.option(choice, option) for cell in cells]

    def backbone(self) -> list[nn.Module]:
        """The residual blocks between the stages."""
        return [part for c in self.cells if isinstance(c, ResidualBlock) for part in c.modules()]

    def _plain(self, x: Tensor, gates: Gates) -> Tensor:
        x = self.stem(fused.quick_layout(x))
        for cell in self.cells:
            x = cell.plain(x, gates) if isinstance(cell, MixedCell) else cell(x)
        return x

    def _fused(self, x: Tensor, gates: Gates) -> Tensor:
        partial = self.parts > 1
        plans = _plan(self.space.groups[GROUP], gates.live[GROUP], passing=partial)
        passing = edge_weights(gates, GROUP) if partial else {}
        gains: list[Tensor | None] = [None] * len(plans)
        if not gates.unit:
            flat = gates.weights[GROUP].reshape(-1)
            gains = [flat.index_select(0, _positions(p.gates, flat.device)) for p in plans]
        x = self.stem(fused.channels_last(x))
        for cell in self.cells:
            if isinstance(cell, MixedCell):
                # Nodes are sums of many terms and stay in full precision under autocast.
                x = cell.fused(
                    fused.channels_last(fused.at_least_float32(x)), plans, gains, passing
                )
            else:
                x = cell(x)
        return x


register(NASBench201, supernet=NASBench201Supernet, network=NASBench201Network)
