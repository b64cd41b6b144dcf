"""Stand-alone networks of the DARTS space and of S1 to S4, and what the supernet shares with them.

Liu, Simonyan and Yang, ICLR 2019, arXiv 1806.09055; composition as in quark0/darts: stem, `depth`
cells with reduction cells at depth // 3 and 2 * depth // 3 (channels double there), global average
pool, linear classifier; affine norms, none after pools, drop-path, and an auxiliary head after cell
2 * depth // 3. The same with kernels of one dimension takes signals (`supernets.dimensions`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from morphogen.core import Architecture, ConfigError, DataError
from morphogen.spaces.darts_cells import NODES, DARTSCells
from morphogen.supernets import fused
from morphogen.supernets.base import NetworkSpec
from morphogen.supernets.dimensions import Dimensions, of_network
from morphogen.supernets.operations import (
    FactorizedReduce,
    Pool,
    ReLUConvBN,
    drop_path,
    operation,
    strided,
)


class ImageNetStem(nn.Module):
    """Three strided 3x3 convolutions: the cells' first inputs, at 1/4 and 1/8 of the image's size.

    Args:
        spec: `channels` (even) and `in_channels`.
        dims: for images or signals; the norms are affine.
    """

    def __init__(self, spec: NetworkSpec, dims: Dimensions) -> None:
        super().__init__()
        c = spec.channels
        self.stem0 = nn.Sequential(
            dims.conv(spec.in_channels, c // 2, 3, stride=2),
            dims.norm(c // 2),
            nn.ReLU(),
            dims.conv(c // 2, c, 3, stride=2),
            dims.norm(c),
        )
        self.stem1 = nn.Sequential(nn.ReLU(), dims.conv(c, c, 3, stride=2), dims.norm(c))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[n, in_channels, h, w] -> [n, C, h / 4, w / 4] and [n, C, h / 8, w / 8]."""
        first = self.stem0(x)
        return first, self.stem1(first)


class CIFARStem(nn.Module):
    """3x3 convolution to 3C channels and batch norm: both inputs of the first cell.

    Args:
        spec: `channels` and `in_channels`.
        dims: for images or signals; the norm is affine.
    """

    def __init__(self, spec: NetworkSpec, dims: Dimensions) -> None:
        super().__init__()
        self.conv = dims.conv(spec.in_channels, 3 * spec.channels, 3)
        self.norm = dims.norm(3 * spec.channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[n, in_channels, h, w] -> twice [n, 3C, h, w]."""
        x = self.norm(self.conv(x))
        return x, x


@dataclass(frozen=True)
class Place:
    """Where a cell stands in the network."""

    c_before: int
    """Channels of the cell before the last."""
    c_last: int
    """Channels of the last cell."""
    channels: int
    """Channels of every node of this cell; its output has four times as many."""
    reduction: bool
    after_reduction: bool
    """The cell before was a reduction, so input 0 is twice as large as input 1."""
    kind: str
    """Group of choices that this cell reads."""


def cell_places(space: DARTSCells, spec: NetworkSpec) -> list[Place]:
    """The cells of a network, in order: `spec.depth` of them, or as many as the space says."""
    if spec.channels < 2 or spec.channels % 2:
        raise ConfigError(f"channels {spec.channels}: the DARTS space accepts even numbers from 2")
    depth = int(space.network_sizes().get("depth", spec.depth))
    if depth < 1:
        raise ConfigError(f"depth {depth}: the DARTS space accepts 1 cell or more")
    width = spec.channels
    before = last = width if spec.stem == "imagenet" else 3 * width
    after = spec.stem == "imagenet"
    places = []
    for i in range(depth):
        reduction = i in (depth // 3, 2 * depth // 3)
        width *= 2 if reduction else 1
        kind = space.cell(i, reduction=reduction)
        places.append(Place(before, last, width, reduction, after, kind))
        before, last, after = last, len(NODES) * width, reduction
    return places


def edge_operation(
    space: DARTSCells, name: str, place: Place, source: int, *, affine: bool, dims: Dimensions
) -> nn.Module:
    """The module of one operation on an edge from `source`; see `operation`."""
    stride = 2 if place.reduction and source < NODES[0] else 1
    module = operation(name, place.channels, stride, affine=affine, dims=dims)
    if space.normed_skips and isinstance(module, nn.Identity):
        return dims.norm(place.channels, affine=affine)
    if isinstance(module, Pool) and not space.normed_pools:
        module.norm = None
    return module


def make_stem(spec: NetworkSpec, dims: Dimensions) -> nn.Module:
    """What stands before the first cell and gives it both its inputs."""
    return ImageNetStem(spec, dims) if spec.stem == "imagenet" else CIFARStem(spec, dims)


class CellInputs(nn.Module):
    """The preprocessing of a cell's two inputs."""

    def __init__(self, place: Place, *, affine: bool, dims: Dimensions) -> None:
        super().__init__()
        first = FactorizedReduce if place.after_reduction else ReLUConvBN
        self.first = first(place.c_before, place.channels, affine=affine, dims=dims)
        self.second = ReLUConvBN(place.c_last, place.channels, affine=affine, dims=dims)

    def forward(self, s0: Tensor, s1: Tensor) -> list[Tensor]:
        """Outputs of the two cells before -> nodes 0 and 1, [n, channels, h, w] both."""
        return [self.first(s0), self.second(s1)]


class Cell(nn.Module):
    """One cell of one architecture: plain modules, no gates.

    Args:
        space: the space of `arch`.
        arch: the architecture.
        place: where the cell stands.
    """

    def __init__(self, space: DARTSCells, arch: Architecture, place: Place) -> None:
        super().__init__()
        dims = of_network(space)
        self.inputs = CellInputs(place, affine=True, dims=dims)
        self.reduction = place.reduction
        self.operations = nn.ModuleList()
        self.wiring: list[tuple[int, int]] = []
        """(source, target) of each operation."""
        for target in NODES:
            for name, source in space.kept(arch, place.kind, target):
                module = edge_operation(space, name, place, source, affine=True, dims=dims)
                self.operations.append(module)
                self.wiring.append((source, target))

    def forward(self, s0: Tensor, s1: Tensor, drop: float = 0.0) -> Tensor:
        """Outputs of the two cells before -> [n, 4 * channels, h, w] (h / 2, w / 2 if reduction).

        Args:
            s0: output of the cell before the last.
            s1: output of the last cell.
            drop: probability of drop-path, for every operation but the identity; train mode only.
        """
        nodes: list[Tensor] = self.inputs(s0, s1)
        for target in NODES:
            terms = []
            for module, (source, end) in zip(self.operations, self.wiring, strict=True):
                if end == target:
                    term = module(nodes[source])
                    if self.training and drop > 0.0 and not isinstance(module, nn.Identity):
                        term = drop_path(term, drop)
                    terms.append(term)
            if not terms:  # every edge into it is `none`
                terms = [torch.zeros_like(strided(nodes[0], 2 if self.reduction else 1))]
            nodes.append(sum(terms[1:], terms[0]))
        return torch.cat(nodes[NODES[0] :], 1)


class AuxiliaryHead(nn.Module):
    """A second classifier, part-way, that training adds to the loss (DARTS weighs it with 0.4).

    Args:
        channels: of its input.
        spec: `stem` says which of the two published heads, `classes` its outputs.
        dims: for images or signals.
    """

    def __init__(self, channels: int, spec: NetworkSpec, dims: Dimensions) -> None:
        super().__init__()
        large = spec.stem == "imagenet"
        self.dims = dims
        self.features = nn.Sequential(
            nn.ReLU(),
            dims.avg_pool(5, 2 if large else 3, 0),
            dims.conv(channels, 128, 1),
            dims.norm(128),
            nn.ReLU(),
            dims.conv(128, 768, 2, padding=0),
            # The authors left out this norm for ImageNet.
            nn.Identity() if large else dims.norm(768),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(768, spec.classes)
        self._least = 7 if large else 8

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] -> class scores [n, classes]; a `DataError` below 8x8 (7x7) pixels.

        Published sizes leave one pixel after the convolutions; larger images are averaged.
        """
        if min(x.shape[2:]) < self._least:
            size = "x".join(map(str, x.shape[2:]))
            raise DataError(
                f"the auxiliary head gets features of size {size}; accepted: {self._least} or more "
                "(larger images or longer signals, or auxiliary=False)"
            )
        scores: Tensor = self.classifier(self.dims.mean(self.features(x)))
        return scores


class DARTSNetwork(nn.Module):
    """The network of one architecture, trained from scratch.

    CIFAR: channels=36, depth=20; ImageNet: channels=48, depth=14, stem="imagenet".

    Args:
        space: the space that the architecture is from.
        arch: the architecture.
        spec: `channels` is C, `depth` the number of cells.
    """

    drop_path: float
    """Probability that an operation's output is dropped for a sample, in train mode. The trainer
    sets it each epoch e of E to p * e / E (DARTS: p = 0.2 on CIFAR, 0 on ImageNet)."""

    def __init__(self, space: DARTSCells, arch: Architecture, spec: NetworkSpec) -> None:
        super().__init__()
        arch = space.check(arch)
        places = cell_places(space, spec)
        self.drop_path = 0.0
        self.dims = of_network(space)
        self.stem = make_stem(spec, self.dims)
        self.cells = nn.ModuleList(Cell(space, arch, place) for place in places)
        self.auxiliary_cell = 2 * len(places) // 3
        self.auxiliary: AuxiliaryHead | None = None
        if spec.auxiliary:
            width = len(NODES) * places[self.auxiliary_cell].channels
            self.auxiliary = AuxiliaryHead(width, spec, self.dims)
        self.classifier = nn.Linear(len(NODES) * places[-1].channels, spec.classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Class scores [n, classes] of images [n, in_channels, h, w].

        Height and width must be multiples of 4 (CIFAR stem) or 32 (ImageNet stem). Of a space of
        signals: of signals [n, in_channels, t] of any length. With spec.auxiliary and in train
        mode, a pair: the scores, and those of the auxiliary head.
        """
        s0, s1 = self.stem(fused.quick_layout(x))
        extra: Tensor | None = None
        for i, cell in enumerate(self.cells):
            s0, s1 = s1, cell(s0, s1, self.drop_path)
            if self.training and self.auxiliary is not None and i == self.auxiliary_cell:
                extra = self.auxiliary(s1)
        scores: Tensor = self.classifier(self.dims.mean(s1))
        return scores if extra is None else (scores, extra)
