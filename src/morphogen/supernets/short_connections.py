"""Supernet and stand-alone networks of the grid of resolutions for segmentation.

A stem of three 3x3 convolutions brings the image to a fourth of its size; nodes of level s have
C s / 4 channels. A path is ReLU, 1x1 convolution and batch norm: into a coarser level with stride
2, into a finer one after bilinear enlargement. Every path and operation but the identity ends in a
batch norm without scale and shift, so that the weights of a sum say how much each of its terms
counts. The levels of the last layer are brought to a fourth of the image's size and added up; a
convolution, the scores, and bilinear enlargement to the image follow. Sizes need not be even: a
level of n pixels is halved to n / 2 rounded up, and what is enlarged gets the size of the level.

A node whose output no live path leads on is not run, in the supernet; the stand-alone network of an
architecture does not have it. There each kept option has a factor (`shares`), 1 unless a search
that delivers its network has put its own coefficient there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.core import Architecture
from morphogen.spaces.short_connections import (
    HEAD,
    LEVELS,
    Node,
    ShortConnections,
    operation_choice,
    path_choice,
    sources,
)
from morphogen.supernets import fused
from morphogen.supernets.base import NetworkSpec, Supernet, register
from morphogen.supernets.convolution import Conv2d
from morphogen.supernets.gates import Gates, weighted
from morphogen.supernets.operations import ReLUConvBN

Size = tuple[int, int]
"""Height and width."""

Kept = Callable[[str], tuple[str, ...]]
"""From the name of a choice to options of it."""

Terms = Callable[[str], Iterable[tuple[str, Tensor | None]]]
"""From the name of a choice to the options that are run, with their weights; None: 1."""

_HEAD = 4
"""Channels before the scores, as a multiple of C."""


class Path(nn.Module):
    """From a level of one layer to the same or a neighbouring one of the next.

    Args:
        channels: C.
        source: level from which it comes.
        level: to which it leads.
    """

    def __init__(self, channels: int, source: int, level: int) -> None:
        super().__init__()
        c_in, c_out = channels * source // LEVELS[0], channels * level // LEVELS[0]
        self.finer = source > level
        self.conv = Conv2d(c_in, c_out, 1, stride=max(level // source, 1), bias=False)
        self.norm = nn.BatchNorm2d(c_out, affine=False)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """[n, c_in, h, w] -> [n, c_out, *size]."""
        x = resized(x, size) if self.finer else x
        out: Tensor = self.norm(self.conv(F.relu(x)))
        return out


class Separable(nn.Module):
    """ReLU, depthwise k x k convolution, 1x1 convolution, batch norm.

    Half of the separable convolution of the DARTS cells, which has all this twice.

    Args:
        channels: input and output channels.
        size: k.
        dilation: of the depthwise convolution.
    """

    def __init__(self, channels: int, size: int, dilation: int) -> None:
        super().__init__()
        around = dilation * (size - 1) // 2
        self.depthwise = Conv2d(
            channels, channels, size, 1, around, dilation, groups=channels, bias=False
        )
        self.pointwise = Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] -> the same shape."""
        out: Tensor = self.norm(self.pointwise(self.depthwise(F.relu(x))))
        return out


class MobileConv(nn.Module):
    """ReLU, 1x1 to more channels, depthwise k x k, 1x1 back; norms, ReLU6 between; no sum.

    Args:
        channels: input and output channels.
        size: k.
        expansion: channels between, as a multiple.
    """

    def __init__(self, channels: int, size: int, expansion: int) -> None:
        super().__init__()
        c = channels * expansion
        self.expand = nn.Sequential(Conv2d(channels, c, 1, bias=False), nn.BatchNorm2d(c))
        self.depthwise = nn.Sequential(
            Conv2d(c, c, size, padding=size // 2, groups=c, bias=False), nn.BatchNorm2d(c)
        )
        self.project = Conv2d(c, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] -> the same shape."""
        x = F.relu6(self.depthwise(F.relu6(self.expand(F.relu(x)))))
        out: Tensor = self.norm(self.project(x))
        return out


def operation(name: str, channels: int) -> nn.Module:
    """The module of an operation of a node."""
    if name == "skip_connect":
        return nn.Identity()
    if name == "conv_1x1":
        return ReLUConvBN(channels, channels, affine=False)
    kind, _, sizes = name.partition("_conv_") if "_conv_" in name else name.partition("_")
    size = int(sizes[0])
    if kind == "mbconv":
        return MobileConv(channels, size, int(sizes[-1]))
    return Separable(channels, size, 2 if kind == "dil" else 1)


def resized(x: Tensor, size: Size) -> Tensor:
    """[n, c, h, w] -> [n, c, *size], bilinear; as it is if it has that size."""
    if tuple(x.shape[2:]) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def _conv(c_in: int, c_out: int, stride: int) -> nn.Sequential:
    conv = Conv2d(c_in, c_out, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out), nn.ReLU())


def _sum(terms: Iterable[tuple[Tensor, Tensor | None]]) -> Tensor:
    """The weighted sum of tensors."""
    ready = [x if weight is None else weighted(x, weight) for x, weight in terms]
    return sum(ready[1:], ready[0])


class Cell(nn.Module):
    """The paths into a node and its operations.

    Args:
        node: layer and level.
        channels: C.
        kept: options that it has.
    """

    def __init__(self, node: Node, channels: int, kept: Kept) -> None:
        super().__init__()
        self.node = node
        levels = kept(path_choice(node))
        self.paths = nn.ModuleDict({s: Path(channels, int(s), node[1]) for s in levels})
        self.operations = nn.ModuleDict(
            {
                name: operation(name, channels * node[1] // LEVELS[0])
                for name in kept(operation_choice(node))
            }
        )


class Grid(nn.Module):
    """The stem, the nodes and the head; which options are run is said at each call.

    Args:
        space: the space.
        nodes: those that there are.
        spec: `channels` is C; `depth` is the space's.
        kept: options of each choice that there are.
    """

    def __init__(
        self, space: ShortConnections, nodes: Iterable[Node], spec: NetworkSpec, kept: Kept
    ) -> None:
        super().__init__()
        c, wide = spec.channels, _HEAD * spec.channels
        self.layers = space.layers
        self.stem = nn.Sequential(_conv(spec.in_channels, c, 2), _conv(c, c, 1), _conv(c, c, 2))
        self.cells = nn.ModuleDict({operation_choice(node): Cell(node, c, kept) for node in nodes})
        self.levels = nn.ModuleDict(
            {s: Conv2d(c * int(s) // LEVELS[0], wide, 1, bias=False) for s in kept(HEAD)}
        )
        self.last = nn.Sequential(
            nn.BatchNorm2d(wide), nn.ReLU(), _conv(wide, wide, 1), Conv2d(wide, spec.classes, 1)
        )

    def forward(self, x: Tensor, terms: Terms) -> Tensor:
        """Scores `[n, classes, h, w]` of images `[n, in_channels, h, w]`."""
        first = self.stem(fused.quick_layout(x))
        done: dict[Node, Tensor] = {(0, LEVELS[0]): first}
        high, wide = first.shape[2:]
        size = {LEVELS[0]: (int(high), int(wide))}
        for level in LEVELS[1:]:
            high, wide = size[level // 2]
            size[level] = ((high + 1) // 2, (wide + 1) // 2)

        def output(node: Node) -> Tensor:
            """Of a node, when something asks for it."""
            if node not in done:
                paths = modules_of(self, path_choice(node))
                joined = _sum(
                    (paths[s](output((node[0] - 1, int(s))), size[node[1]]), weight)
                    for s, weight in terms(path_choice(node))
                )
                operations = modules_of(self, operation_choice(node))
                done[node] = _sum(
                    (operations[name](joined), weight)
                    for name, weight in terms(operation_choice(node))
                )
            return done[node]

        top = _sum(
            (resized(self.levels[s](output((self.layers, int(s)))), size[LEVELS[0]]), weight)
            for s, weight in terms(HEAD)
        )
        return resized(self.last(top), (int(x.shape[2]), int(x.shape[3])))


class ShortConnectionsSupernet(Supernet):
    """All networks of the grid in one.

    Args:
        space: the space, or a part of it.
        spec: `channels` is C; `depth`, `stem` and `execution` are not read.
    """

    space: ShortConnections
    additive = False

    def __init__(self, space: ShortConnections, spec: NetworkSpec) -> None:
        super().__init__()
        self.space, self.spec = space, spec
        self._options_of = options_of(space)
        self.grid = Grid(space, space.nodes, spec, self._options_of.__getitem__)
        self._rows = {
            choice.name: (group, row)
            for group, members in space.groups.items()
            for row, choice in enumerate(members)
        }

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        """Scores `[n, classes, h, w]` of images `[n, in_channels, h, w]`."""
        return self.grid(x, partial(self._terms, gates))  # type: ignore[no-any-return]

    def _terms(self, gates: Gates, choice: str) -> Iterator[tuple[str, Tensor | None]]:
        if choice not in self._rows:  # the one path into a node
            yield from ((option, None) for option in self._options_of[choice])
            return
        live, weights = gates.row(*self._rows[choice])
        options = self._options_of[choice]
        yield from ((options[i], None if gates.unit else weights[i]) for i in live)

    def alone(self, arch: Architecture, gates: Gates) -> nn.Module:
        """The live nodes with their weights; see `Supernet.alone`."""
        net = ShortConnectionsNetwork(self.space, arch, self.spec)
        held, taken = self.state_dict(), {}
        for name, value in net.state_dict().items():
            _, factor, choice = name.partition("shares.")
            if factor:
                _, weights = gates.row(*self._rows[choice])
                places = [self._options_of[choice].index(option) for option in net.kept[choice]]
                taken[name] = weights.detach()[places].to(value)
            else:
                taken[name] = held[name]
        net.load_state_dict(taken)
        return net.to(next(self.parameters()).device).train(self.training)

    def _options(self, choice: str, option: str) -> list[nn.Module]:
        module = modules_of(self.grid, choice)[option]
        return [] if isinstance(module, nn.Identity) else [module]


class ShortConnectionsNetwork(nn.Module):
    """The network of one architecture: its live nodes, and of each what it keeps.

    Args:
        space: the space, or a part of it.
        arch: the architecture.
        spec: as for the supernet.
    """

    def __init__(self, space: ShortConnections, arch: Architecture, spec: NetworkSpec) -> None:
        super().__init__()
        nodes = [node for node in space.nodes if node in space.live(arch)]
        self.kept = options_of(space) | dict(arch.items())
        self.grid = Grid(space, nodes, spec, self.kept.__getitem__)
        named = {c for node in nodes for c in (path_choice(node), operation_choice(node))}
        self.shares = nn.Module()
        """Buffers, one for each choice of a live node: the factor of each option that is kept."""
        for choice in space.choices:
            if choice.name in named or choice.name == HEAD:
                self.shares.register_buffer(choice.name, torch.ones(len(self.kept[choice.name])))

    def forward(self, x: Tensor) -> Tensor:
        """Scores `[n, classes, h, w]` of images `[n, in_channels, h, w]`."""
        return self.grid(x, self._terms)  # type: ignore[no-any-return]

    def _terms(self, choice: str) -> Iterator[tuple[str, Tensor | None]]:
        shares = getattr(self.shares, choice, None)
        for i, option in enumerate(self.kept[choice]):
            yield option, None if shares is None else shares[i]


def options_of(space: ShortConnections) -> dict[str, tuple[str, ...]]:
    """All options of each choice, and the one path into nodes that have no choice of paths."""
    alone = {path_choice(node): tuple(map(str, sources(node))) for node in space.nodes}
    return alone | {choice.name: choice.options for choice in space.choices}


def modules_of(grid: Grid, choice: str) -> Mapping[str, nn.Module]:
    """The modules of the options of a choice."""
    if choice == HEAD:
        return dict(grid.levels.items())
    cell = cast(Cell, grid.cells[choice.removesuffix("_from")])
    held = cell.paths if choice.endswith("_from") else cell.operations
    return dict(held.items())


register(ShortConnections, supernet=ShortConnectionsSupernet, network=ShortConnectionsNetwork)
