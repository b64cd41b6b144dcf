"""The autograd function behind `mix`, its passes written out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from morphogen.supernets.fused import blocks
from morphogen.supernets.fused.again import backward_direct, backward_linear, backward_normed
from morphogen.supernets.fused.blocks import Work
from morphogen.supernets.fused.layout import (
    as_matrix,
    at_least_float32,
    channels_last,
    full_precision,
    joined,
    room,
    there,
)
from morphogen.supernets.fused.terms import Wiring


def _width(
    wiring: Wiring, normed: Sequence[Tensor], linear: Tensor | None, direct: Sequence[Tensor]
) -> int:
    """Channels of the sums."""
    if normed:
        return normed[0].shape[1] // len(wiring.normed[0])
    if linear is not None:
        return linear.shape[0] // len(wiring.linear)
    return direct[0].shape[1]


class Mix(torch.autograd.Function):
    """`mix` with batch statistics of one process. Inputs as in `mix`, its tensors flattened.

    Notation: for one term c of a sum, y = gain * (c - mean) / sigma, and d is the gradient of the
    sum. With s1 = sum(d), s2 = sum(d * (c - mean)) over the rows, M rows, a = gain / sigma:
    dgain = sum_channels(s2 / sigma),  dc = a * (d - s1 / M - (c - mean) * s2 / (sigma^2 M)).
    For c = W r that is never formed, with P = d' (r - m) [channels, inputs], C the covariance:
    s2 = rowsum(P * W),  h = -a s2 / sigma^2,  dW = a P + h W C,
    dr = d (a W) + (r - m) Q / M,  Q = W' diag(h) W,  then its mean over rows of d (a W) removed.
    """

    @staticmethod
    def forward(
        ctx: Any,
        wiring: Wiring,
        eps: float,
        present: tuple[bool, ...],
        gains: Tensor | None,
        source: Tensor | None,
        linear: Tensor | None,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        """The sums, then mean and variance of each normed output and linear piece."""
        count = len(wiring.normed)
        loose = len(tensors) - count - sum(present)
        normed, direct = tensors[:count], tensors[count : count + loose]
        given = iter(tensors[count + loose :])
        like = next(t for t in (*normed, source, *direct) if t is not None)
        ctx.set_materialize_grads(False)
        ctx.wiring, ctx.eps, ctx.loose, ctx.present = wiring, eps, loose, present
        ctx.direct_dtypes = [t.dtype for t in direct]

        sums: list[Tensor | None] = [next(given) if here else None for here in present]
        ctx.mark_dirty(*[t for t in sums if t is not None])
        out: list[Tensor | None] = [None if t is None else as_matrix(t) for t in sums]
        bias: list[Tensor | None] = [None] * wiring.sums
        terms: list[tuple[int, Tensor, Tensor]] = []  # sum, matrix, factor per channel
        products: list[tuple[int, Tensor]] = []  # sum, matrix of the 1x1 convolution
        statistics: list[Tensor] = []
        scales: list[Tensor] = []
        number = 0

        def gain(x: Tensor) -> Tensor:
            nonlocal number
            number += 1
            return x if gains is None else x * gains[number - 1]

        def shift(target: int, by: Tensor) -> None:
            so_far = bias[target]
            bias[target] = -by if so_far is None else so_far - by

        def new_sum(target: int) -> Tensor:
            """Room for a sum, as a matrix; the images are what is returned."""
            images = room(like, _width(wiring, normed, linear, direct))
            sums[target] = images
            fresh = out[target] = as_matrix(images)
            return fresh

        with full_precision(like):
            for tensor, targets in zip(normed, wiring.normed, strict=True):
                images = at_least_float32(channels_last(tensor))
                mean, variance = torch.batch_norm_update_stats(images, None, None, 0.0)
                scale = (variance + eps).rsqrt()
                statistics += [mean, variance]
                scales.append(scale)
                width = images.shape[1] // len(targets)
                columns = as_matrix(images)
                for piece, target in enumerate(targets):
                    cut = slice(piece * width, (piece + 1) * width)
                    factor = gain(scale[cut])
                    terms.append((target, columns[:, cut], factor))
                    shift(target, factor * mean[cut])
            centre = covariance = None
            if source is not None and linear is not None:
                matrix = at_least_float32(as_matrix(channels_last(source)))
                centre = matrix.sum(0) / matrix.shape[0]
                covariance = blocks.covariance(matrix, centre)
                for target, weight in zip(
                    wiring.linear, linear.chunk(len(wiring.linear)), strict=True
                ):
                    weight = at_least_float32(weight)
                    mean = weight @ centre
                    variance = ((weight @ covariance) * weight).sum(1)
                    scale = (variance + eps).rsqrt()
                    statistics += [mean, variance]
                    scales.append(scale)
                    factor = gain(scale)
                    products.append((target, factor[:, None] * weight))
                    shift(target, factor * mean)
            work: list[Work] = []
            for so_far, constant in zip(out, bias, strict=True):
                if so_far is not None and constant is not None:
                    work.append(partial(blocks.shift, so_far, constant))
            for target, values, factor in terms:
                so_far = out[target]
                if so_far is None:
                    constant = there(bias[target])
                    work.append(
                        partial(blocks.put_scaled, new_sum(target), constant, values, factor)
                    )
                else:
                    work.append(partial(blocks.add_scaled, so_far, values, factor))
            for target, weight in products:
                so_far = out[target]
                if so_far is None:
                    constant = there(bias[target])
                    work.append(
                        partial(blocks.put_product, new_sum(target), constant, matrix, weight.t())
                    )
                else:
                    work.append(partial(blocks.add_product, so_far, matrix, weight.t()))
            one = torch.ones(
                (), device=like.device, dtype=torch.promote_types(like.dtype, torch.float32)
            )
            for position, target in wiring.direct:
                values = at_least_float32(as_matrix(channels_last(direct[position])))
                factor = one if gains is None else gains[number]
                so_far = out[target]
                if so_far is None:
                    work.append(partial(blocks.put_multiple, new_sum(target), values, factor))
                else:
                    work.append(partial(blocks.add_scaled, so_far, values, factor))
                number += 1
            blocks.in_blocks(next((t for t in out if t is not None), None), work)

        # A direct term is read again only by the gradient of its gain.
        ctx.keeps_direct = gains is not None and ctx.needs_input_grad[3]
        ctx.save_for_backward(
            gains, source, linear, centre, covariance, *normed, *statistics[: 2 * count : 2],
            *scales, *(direct if ctx.keeps_direct else ()),
        )  # fmt: skip
        ctx.mark_non_differentiable(*statistics)
        return (*(there(t) for t in sums), *statistics)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of all inputs; only those that somebody needs are computed."""
        wiring: Wiring = ctx.wiring
        gains, source, linear, _, _, normed, _, _, direct = _saved(ctx)
        count = len(normed)
        held = [None if g is None else channels_last(g) for g in grads[: wiring.sums]]
        passed = [g for g, here in zip(held, ctx.present, strict=True) if here]
        like = next((g for g in held if g is not None), None)
        none: tuple[None, ...] = (None,) * (count + ctx.loose)
        if like is None:
            return (None, None, None, None, None, None, *none, *passed)
        wants = ctx.needs_input_grad
        outer = [None if g is None else at_least_float32(as_matrix(g)) for g in held]
        by_gain: list[Tensor | None] = [None] * wiring.gains
        with full_precision(like):
            if torch.is_grad_enabled():
                d_normed = backward_normed(
                    wiring, outer, gains, normed, wants[6:], ctx.eps, by_gain
                )
                d_source, d_linear = backward_linear(
                    wiring, outer, gains, source, linear, ctx.eps, by_gain
                )
                d_direct = backward_direct(ctx, held, gains, direct, by_gain)
            else:
                d_normed, d_source, d_linear, d_direct = _backward_in_blocks(
                    ctx, like, outer, by_gain
                )
            d_gains = None
            if gains is not None and wants[3]:
                zero = gains.new_zeros(())
                d_gains = torch.stack([zero if g is None else g.to(gains.dtype) for g in by_gain])
            by_direct = [
                None if image is None else image.to(dtype)
                for image, dtype in zip(d_direct, ctx.direct_dtypes, strict=True)
            ]
        return (None, None, None, d_gains, d_source, d_linear, *d_normed, *by_direct, *passed)


def _saved(ctx: Any) -> tuple[Any, ...]:
    """What `Mix.forward` kept: gains, source, linear, centre, covariance, and lists.

    The lists: normed, their means, all scales, direct (empty where nobody reads them).
    """
    first, rest = ctx.saved_tensors[:5], list(ctx.saved_tensors[5:])
    count = len(ctx.wiring.normed)
    scales = 2 * count + count + len(ctx.wiring.linear)
    return (*first, rest[:count], rest[count : 2 * count], rest[2 * count : scales], rest[scales:])


def _backward_in_blocks(
    ctx: Any, template: Tensor, outer: Sequence[Tensor | None], by_gain: list[Tensor | None]
) -> tuple[list[Tensor | None], Tensor | None, Tensor | None, list[Tensor | None]]:
    """Gradients of normed, source, linear and direct; those of the gains go into `by_gain`.

    Two walks over the rows: inner products first, then, with what follows from them, the gradients.
    """
    wiring: Wiring = ctx.wiring
    wants = ctx.needs_input_grad
    gains, source, linear, centre, covariance, normed, means, scales, direct = _saved(ctx)
    columns = [at_least_float32(as_matrix(channels_last(t))) for t in normed]
    like = next((d for d in outer if d is not None), None)
    if like is None:
        return [None] * len(normed), None, None, [None] * ctx.loose
    rows = like.shape[0]
    matrix = None if source is None else at_least_float32(as_matrix(channels_last(source)))
    weights = [] if linear is None else at_least_float32(linear).chunk(len(wiring.linear))
    values = [at_least_float32(as_matrix(channels_last(t))) for t in direct]

    def gain(x: Tensor, number: int) -> Tensor:
        return x if gains is None else x * gains[number]

    # First walk.
    work: list[Work] = []
    totals = [None if d is None else torch.zeros_like(d[0]) for d in outer]  # s1
    for d, total in zip(outer, totals, strict=True):
        if d is not None and total is not None:
            work.append(partial(blocks.sum_columns, total, d))
    pieces = [(i, j, t) for i, targets in enumerate(wiring.normed) for j, t in enumerate(targets)]
    cuts = [slice(j * like.shape[1], (j + 1) * like.shape[1]) for _, j, _ in pieces]
    raw: list[Tensor | None] = []  # sum(d * c)
    for (i, _, target), cut in zip(pieces, cuts, strict=True):
        d = outer[target]
        if d is None:
            raw.append(None)
        else:
            raw.append(sums := torch.zeros_like(d[0]))
            work.append(partial(blocks.multiply_columns, sums, columns[i][:, cut], d))
    crossed: list[Tensor | None] = []  # d' r
    for target in wiring.linear:
        d = outer[target]
        if d is None or matrix is None:
            crossed.append(None)
        else:
            crossed.append(sums := d.new_zeros(d.shape[1], matrix.shape[1]))
            work.append(partial(blocks.cross, sums, d, matrix))
    first = wiring.gains - len(wiring.direct)
    if ctx.keeps_direct:
        for number, (position, target) in enumerate(wiring.direct, first):
            d = outer[target]
            if d is not None:
                inner = by_gain[number] = d.new_zeros(())
                work.append(partial(blocks.multiply, inner, values[position], d))
    blocks.in_blocks(like, work)

    # Second walk.
    work = []
    d_normed: list[Tensor | None] = []
    factors: list[Tensor] = []
    slopes: list[list[Tensor]] = [[] for _ in normed]
    constants: list[list[Tensor]] = [[] for _ in normed]
    for number, ((i, _, target), cut) in enumerate(zip(pieces, cuts, strict=True)):
        scale, s1, product = scales[i][cut], totals[target], raw[number]
        factor = gain(scale, number)  # a
        factors.append(factor)
        if s1 is None or product is None:
            slopes[i].append(torch.zeros_like(scale))
            constants[i].append(torch.zeros_like(scale))
            continue
        s2 = product - means[i][cut] * s1
        by_gain[number] = torch.dot(s2, scale)
        slopes[i].append(-factor * s2 * scale.square() / rows)
        constants[i].append(-factor * s1 / rows - means[i][cut] * slopes[i][-1])
    for i, tensor in enumerate(normed):
        d_normed.append(room(tensor, tensor.shape[1]) if wants[6 + i] else None)
        if d_normed[i] is not None:
            into = as_matrix(there(d_normed[i]))
            constant, slope = joined(constants[i]), joined(slopes[i])
            work.append(partial(blocks.put_scaled, into, constant, columns[i], slope))
    for number, ((i, _, target), cut) in enumerate(zip(pieces, cuts, strict=True)):
        image, d = d_normed[i], outer[target]
        if image is not None and d is not None:
            work.append(partial(blocks.add_scaled, as_matrix(image)[:, cut], d, factors[number]))

    d_source = d_linear = None
    if matrix is not None and source is not None and linear is not None:
        d_source = room(source, matrix.shape[1])
        by_weight: list[Tensor] = []
        maps: list[tuple[Tensor, Tensor]] = []
        spread = torch.zeros_like(covariance)  # Q
        constant = torch.zeros_like(centre)
        for piece, (target, weight) in enumerate(zip(wiring.linear, weights, strict=True)):
            d, s1, product = outer[target], totals[target], crossed[piece]
            if d is None or s1 is None or product is None:
                by_weight.append(torch.zeros_like(weight))
                continue
            number, scale = wiring.pieces + piece, scales[len(normed) + piece]
            product -= torch.outer(s1, centre)  # P
            s2 = (product * weight).sum(1)
            by_gain[number] = torch.dot(s2, scale)
            factor = gain(scale, number)
            curve = -factor * s2 * scale.square()  # h
            by_weight.append(factor[:, None] * product + curve[:, None] * (weight @ covariance))
            spread += weight.t() @ (curve[:, None] * weight)
            scaled = factor[:, None] * weight
            constant -= s1 @ scaled
            maps.append((d, scaled))
        constant -= centre @ spread
        into = as_matrix(d_source)
        work.append(partial(blocks.put_product, into, constant / rows, matrix, spread / rows))
        work += [partial(blocks.add_product, into, d, scaled) for d, scaled in maps]
        d_linear = torch.cat(by_weight).to(linear.dtype)

    one = like.new_ones(())
    d_direct: list[Tensor | None] = [None] * ctx.loose
    for number, (position, target) in enumerate(wiring.direct, first):
        d = outer[target]
        if d is None or not wants[6 + len(normed) + position]:
            continue
        factor = one if gains is None else gains[number]
        image = d_direct[position]
        if image is None:
            image = d_direct[position] = room(template, d.shape[1])
            work.append(partial(blocks.put_multiple, as_matrix(image), d, factor))
        else:
            work.append(partial(blocks.add_scaled, as_matrix(image), d, factor))
    blocks.in_blocks(like, work)

    d_normed = [g if g is None else g.to(t.dtype) for g, t in zip(d_normed, normed, strict=True)]
    if d_source is not None and source is not None:
        d_source = d_source.to(source.dtype)
    return d_normed, d_source, d_linear, d_direct
