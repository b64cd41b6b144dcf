"""The backward pass of `Mix`, in two walks over the rows; notation as in `Mix`.

Inner products come first, then, with what follows from them, the gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from morphogen.supernets.fused import blocks
from morphogen.supernets.fused.blocks import Work
from morphogen.supernets.fused.layout import (
    as_matrix,
    at_least_float32,
    channels_last,
    joined,
    room,
    there,
)
from morphogen.supernets.fused.terms import Wiring


class Saved(NamedTuple):
    """What the forward pass kept."""

    gains: Tensor | None
    source: Tensor | None
    linear: Tensor | None
    centre: Tensor | None
    covariance: Tensor | None
    normed: list[Tensor]
    means: list[Tensor]
    """Of the normed outputs."""
    scales: list[Tensor]
    """1 / sigma of the normed outputs, then of the linear pieces."""
    direct: list[Tensor]
    """Empty where nobody reads them."""

    @classmethod
    def of(cls, ctx: Any) -> Saved:
        """From the context of the autograd function."""
        gains, source, linear, centre, covariance, *rest = ctx.saved_tensors
        count = len(ctx.wiring.normed)
        scales = 2 * count + count + len(ctx.wiring.linear)
        return cls(
            gains,
            source,
            linear,
            centre,
            covariance,
            normed=rest[:count],
            means=rest[count : 2 * count],
            scales=rest[2 * count : scales],
            direct=rest[scales:],
        )


class Gradients(NamedTuple):
    """Of the inputs of a mix; None for those that nobody asked for."""

    normed: list[Tensor | None]
    source: Tensor | None
    linear: Tensor | None
    direct: list[Tensor | None]


class Piece(NamedTuple):
    """A part of a normed output: which output, which of its channels, which sum it goes to."""

    output: int
    cut: slice
    target: int


class Backward:
    """Gradients by blocks of rows, not differentiable themselves.

    Args:
        ctx: the context of the autograd function.
        template: images of the sums' batch and size.
        outer: gradient of each sum as a matrix, or None.
        by_gain: where the gradients of the gains go.
    """

    def __init__(
        self,
        ctx: Any,
        template: Tensor,
        outer: Sequence[Tensor | None],
        by_gain: list[Tensor | None],
    ) -> None:
        self._ctx, self._template, self._outer, self._by_gain = ctx, template, outer, by_gain
        self._wiring: Wiring = ctx.wiring
        self._saved = Saved.of(ctx)
        self._work: list[Work] = []
        self._columns = [at_least_float32(as_matrix(channels_last(t))) for t in self._saved.normed]
        source = self._saved.source
        self._matrix = (
            None if source is None else at_least_float32(as_matrix(channels_last(source)))
        )

    def gradients(self) -> Gradients:
        """All that is asked for; those of the gains are left in `by_gain`."""
        like = next((d for d in self._outer if d is not None), None)
        if like is None:
            return Gradients(
                [None for _ in self._saved.normed], None, None, [None] * self._ctx.loose
            )
        width = like.shape[1]
        self._rows, self._one = like.shape[0], like.new_ones(())
        self._pieces = [
            Piece(output, slice(number * width, (number + 1) * width), target)
            for output, targets in enumerate(self._wiring.normed)
            for number, target in enumerate(targets)
        ]
        self._inner_products()
        self._walk(like)
        normed = self._by_normed()
        source, linear = self._by_linear()
        direct = self._by_direct()
        self._walk(like)
        saved = self._saved
        return Gradients(
            [g if g is None else g.to(t.dtype) for g, t in zip(normed, saved.normed, strict=True)],
            source if source is None else source.to(there(saved.source).dtype),
            linear,
            direct,
        )

    def _walk(self, like: Tensor) -> None:
        blocks.in_blocks(like, self._work)
        self._work = []

    def _gain(self, x: Tensor, number: int) -> Tensor:
        gains = self._saved.gains
        return x if gains is None else x * gains[number]

    def _inner_products(self) -> None:
        """s1 per sum; sum(d * c) per normed piece; d' r per linear piece; d . x per direct term."""
        self._totals = [None if d is None else torch.zeros_like(d[0]) for d in self._outer]
        for d, total in zip(self._outer, self._totals, strict=True):
            if d is not None and total is not None:
                self._work.append(partial(blocks.sum_columns, total, d))
        self._raw: list[Tensor | None] = []
        for piece in self._pieces:
            d = self._outer[piece.target]
            sums = None if d is None else torch.zeros_like(d[0])
            self._raw.append(sums)
            if d is not None and sums is not None:
                part = self._columns[piece.output][:, piece.cut]
                self._work.append(partial(blocks.multiply_columns, sums, part, d))
        self._crossed: list[Tensor | None] = []
        for target in self._wiring.linear:
            d, matrix, sums = self._outer[target], self._matrix, None
            if d is not None and matrix is not None:
                sums = d.new_zeros(d.shape[1], matrix.shape[1])
                self._work.append(partial(blocks.cross, sums, d, matrix))
            self._crossed.append(sums)
        if not self._ctx.keeps_direct:
            return
        values = [at_least_float32(as_matrix(channels_last(t))) for t in self._saved.direct]
        for number, position, d in self._direct_terms():
            inner = self._by_gain[number] = d.new_zeros(())
            self._work.append(partial(blocks.multiply, inner, values[position], d))

    def _direct_terms(self) -> list[tuple[int, int, Tensor]]:
        """(number of the gain, position among the direct tensors, d), where there is a d."""
        first = self._wiring.gains - len(self._wiring.direct)
        terms = [
            (number, position, self._outer[target])
            for number, (position, target) in enumerate(self._wiring.direct, first)
        ]
        return [(number, position, d) for number, position, d in terms if d is not None]

    def _by_normed(self) -> list[Tensor | None]:
        """Piece by piece: dc = a d - a s1 / M - a (c - mean) s2 / (sigma^2 M)."""
        saved = self._saved
        factors: list[Tensor] = []
        slopes: list[list[Tensor]] = [[] for _ in saved.normed]
        constants: list[list[Tensor]] = [[] for _ in saved.normed]
        for number, (i, cut, target) in enumerate(self._pieces):
            scale, s1, product = saved.scales[i][cut], self._totals[target], self._raw[number]
            factor = self._gain(scale, number)  # a
            factors.append(factor)
            if s1 is None or product is None:
                slopes[i].append(torch.zeros_like(scale))
                constants[i].append(torch.zeros_like(scale))
                continue
            mean = saved.means[i][cut]
            s2 = product - mean * s1
            self._by_gain[number] = torch.dot(s2, scale)
            slopes[i].append(-factor * s2 * scale.square() / self._rows)
            constants[i].append(-factor * s1 / self._rows - mean * slopes[i][-1])
        made: list[Tensor | None] = []
        for i, tensor in enumerate(saved.normed):
            wanted = self._ctx.needs_input_grad[6 + i]
            made.append(room(tensor, tensor.shape[1]) if wanted else None)
            if wanted:
                into, columns = as_matrix(there(made[i])), self._columns[i]
                constant, slope = joined(constants[i]), joined(slopes[i])
                self._work.append(partial(blocks.put_scaled, into, constant, columns, slope))
        for (i, cut, target), factor in zip(self._pieces, factors, strict=True):
            image, d = made[i], self._outer[target]
            if image is not None and d is not None:
                part = as_matrix(image)[:, cut]
                self._work.append(partial(blocks.add_scaled, part, d, factor))
        return made

    def _by_linear(self) -> tuple[Tensor | None, Tensor | None]:
        """Of source and weights; what is in every row is in a constant, what follows r in Q."""
        source, linear, matrix = self._saved.source, self._saved.linear, self._matrix
        if matrix is None or source is None or linear is None:
            return None, None
        centre, covariance = there(self._saved.centre), there(self._saved.covariance)
        by_weight: list[Tensor] = []
        maps: list[tuple[Tensor, Tensor]] = []
        spread = torch.zeros_like(covariance)  # Q
        constant = torch.zeros_like(centre)
        weights = at_least_float32(linear).chunk(len(self._wiring.linear))
        for piece, (target, weight) in enumerate(zip(self._wiring.linear, weights, strict=True)):
            d, s1, product = self._outer[target], self._totals[target], self._crossed[piece]
            if d is None or s1 is None or product is None:
                by_weight.append(torch.zeros_like(weight))
                continue
            number = self._wiring.pieces + piece
            scale = self._saved.scales[len(self._saved.normed) + piece]
            product -= torch.outer(s1, centre)  # P
            s2 = (product * weight).sum(1)
            self._by_gain[number] = torch.dot(s2, scale)
            factor = self._gain(scale, number)  # a
            curve = -factor * s2 * scale.square()  # h
            by_weight.append(factor[:, None] * product + curve[:, None] * (weight @ covariance))
            spread += weight.t() @ (curve[:, None] * weight)
            scaled = factor[:, None] * weight
            constant -= s1 @ scaled
            maps.append((d, scaled))
        constant -= centre @ spread
        by_source = room(source, matrix.shape[1])
        into, rows = as_matrix(by_source), self._rows
        self._work.append(partial(blocks.put_product, into, constant / rows, matrix, spread / rows))
        self._work += [partial(blocks.add_product, into, d, scaled) for d, scaled in maps]
        return by_source, torch.cat(by_weight).to(linear.dtype)

    def _by_direct(self) -> list[Tensor | None]:
        """Gain times d, summed over the terms of a tensor."""
        made: list[Tensor | None] = [None] * self._ctx.loose
        for number, position, d in self._direct_terms():
            if not self._ctx.needs_input_grad[6 + len(self._saved.normed) + position]:
                continue
            factor = self._gain(self._one, number)
            image = made[position]
            if image is None:
                image = made[position] = room(self._template, d.shape[1])
                self._work.append(partial(blocks.put_multiple, as_matrix(image), d, factor))
            else:
                self._work.append(partial(blocks.add_scaled, as_matrix(image), d, factor))
        return made
