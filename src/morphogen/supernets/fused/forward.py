"""The forward pass of `Mix`: statistics first, then all sums in one walk over the rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

from morphogen.supernets.fused import blocks
from morphogen.supernets.fused.blocks import Work
from morphogen.supernets.fused.layout import (
    as_matrix,
    at_least_float32,
    channels_last,
    room,
)
from morphogen.supernets.fused.statistics import statistics
from morphogen.supernets.fused.terms import Wiring


class Sums:
    """Sums of terms. The first term of a sum writes it, the others add to what is there.

    Args:
        given: per sum the images it begins with, added to in place, or None.
        like: images of the sums' batch and size.
        width: channels of a sum.
    """

    def __init__(self, given: Sequence[Tensor | None], like: Tensor, width: int) -> None:
        self.images = list(given)
        self._columns = [None if t is None else as_matrix(t) for t in given]
        self._constants: list[Tensor | None] = [None] * len(given)
        self._terms: list[tuple[int, Any, Any, tuple[Tensor, ...]]] = []
        self._like, self._width = like, width

    def take(self, target: int, constant: Tensor) -> None:
        """Sum -= constant, per channel."""
        so_far = self._constants[target]
        self._constants[target] = -constant if so_far is None else so_far - constant

    def scaled(self, target: int, values: Tensor, factor: Tensor) -> None:
        """Sum += values * factor, per channel."""
        self._terms.append((target, blocks.put_scaled, blocks.add_scaled, (values, factor)))

    def product(self, target: int, values: Tensor, weight: Tensor) -> None:
        """Sum += values @ weight."""
        self._terms.append((target, blocks.put_product, blocks.add_product, (values, weight)))

    def multiple(self, target: int, values: Tensor, factor: Tensor) -> None:
        """Sum += values * factor, a single one; no constant is taken from a sum that begins so."""
        self._terms.append((target, blocks.put_multiple, blocks.add_scaled, (values, factor)))

    def write(self) -> None:
        """Compute all of it."""
        work: list[Work] = []
        for columns, constant in zip(self._columns, self._constants, strict=True):
            if columns is not None and constant is not None:
                work.append(partial(blocks.shift, columns, constant))
        for target, put, add, what in self._terms:
            so_far, constant = self._columns[target], self._constants[target]
            if so_far is None:
                first = () if constant is None else (constant,)
                work.append(partial(put, self._new(target), *first, *what))
            else:
                work.append(partial(add, so_far, *what))
        blocks.in_blocks(next((t for t in self._columns if t is not None), None), work)

    def _new(self, target: int) -> Tensor:
        """Room for a sum, as a matrix; the images are what is returned."""
        images = self.images[target] = room(self._like, self._width)
        columns = self._columns[target] = as_matrix(images)
        return columns


class Forward:
    """The terms of a mix, in the order of its gains: normed, linear, direct.

    Args:
        wiring: what goes where.
        eps: added to every variance.
        gains: one per term, or None for ones.
        sums: what the terms are added to.
    """

    def __init__(self, wiring: Wiring, eps: float, gains: Tensor | None, sums: Sums) -> None:
        self._wiring, self._eps, self._gains, self._sums = wiring, eps, gains, sums
        self._terms = 0
        self.statistics: list[Tensor] = []
        """Mean and variance of each normed output and linear piece."""
        self.scales: list[Tensor] = []
        """1 / sigma of each."""

    def normed(self, outputs: Sequence[Tensor]) -> None:
        """Outputs of convolutions, each cut into pieces of equal width."""
        for tensor, targets in zip(outputs, self._wiring.normed, strict=True):
            images = at_least_float32(channels_last(tensor))
            mean, variance = statistics(images)
            scale = self._scale(mean, variance)
            width = images.shape[1] // len(targets)
            columns = as_matrix(images)
            for piece, target in enumerate(targets):
                cut = slice(piece * width, (piece + 1) * width)
                factor = self._gain(scale[cut])
                self._sums.scaled(target, columns[:, cut], factor)
                self._sums.take(target, factor * mean[cut])

    def linear(self, source: Tensor, linear: Tensor) -> tuple[Tensor, Tensor]:
        """1x1 convolutions of the source; returns the source's mean and covariance."""
        matrix = at_least_float32(as_matrix(channels_last(source)))
        centre = matrix.sum(0) / matrix.shape[0]
        covariance = blocks.covariance(matrix, centre)
        targets = self._wiring.linear
        for target, weight in zip(targets, linear.chunk(len(targets)), strict=True):
            weight = at_least_float32(weight)
            mean = weight @ centre
            scale = self._scale(mean, ((weight @ covariance) * weight).sum(1))
            factor = self._gain(scale)
            self._sums.product(target, matrix, (factor[:, None] * weight).t())
            self._sums.take(target, factor * mean)
        return centre, covariance

    def direct(self, tensors: Sequence[Tensor]) -> None:
        """Tensors as they are."""
        for position, target in self._wiring.direct:
            values = at_least_float32(as_matrix(channels_last(tensors[position])))
            self._sums.multiple(target, values, self._gain(values.new_ones(())))

    def _scale(self, mean: Tensor, variance: Tensor) -> Tensor:
        scale = (variance + self._eps).rsqrt()
        self.statistics += [mean, variance]
        self.scales.append(scale)
        return scale

    def _gain(self, x: Tensor) -> Tensor:
        """`x` times the gain of the next term."""
        self._terms += 1
        return x if self._gains is None else x * self._gains[self._terms - 1]
