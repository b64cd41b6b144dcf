"""The autograd function behind `mix`, its passes written out by hand elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from morphogen.supernets.fused.again import backward_direct, backward_linear, backward_normed
from morphogen.supernets.fused.backward import Backward, Saved
from morphogen.supernets.fused.forward import Forward, Sums
from morphogen.supernets.fused.layout import (
    as_matrix,
    at_least_float32,
    channels_last,
    full_precision,
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

        begun = [next(given) if here else None for here in present]
        ctx.mark_dirty(*[t for t in begun if t is not None])
        sums = Sums(begun, like, _width(wiring, normed, linear, direct))
        terms = Forward(wiring, eps, gains, sums)
        centre = covariance = None
        with full_precision(like):
            terms.normed(normed)
            if source is not None and linear is not None:
                centre, covariance = terms.linear(source, linear)
            terms.direct(direct)
            sums.write()

        # A direct term is read again only by the gradient of its gain.
        ctx.keeps_direct = gains is not None and ctx.needs_input_grad[3]
        ctx.save_for_backward(
            gains, source, linear, centre, covariance, *normed,
            *terms.statistics[: 2 * count : 2], *terms.scales,
            *(direct if ctx.keeps_direct else ()),
        )  # fmt: skip
        ctx.mark_non_differentiable(*terms.statistics)
        return (*(there(t) for t in sums.images), *terms.statistics)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of all inputs; only those that somebody needs are computed."""
        wiring: Wiring = ctx.wiring
        gains, source, linear, _, _, normed, _, _, direct = Saved.of(ctx)
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
                d_normed, d_source, d_linear, d_direct = Backward(
                    ctx, like, outer, by_gain
                ).gradients()
            d_gains = None
            if gains is not None and wants[3]:
                zero = gains.new_zeros(())
                d_gains = torch.stack([zero if g is None else g.to(gains.dtype) for g in by_gain])
            by_direct = [
                None if image is None else image.to(dtype)
                for image, dtype in zip(d_direct, ctx.direct_dtypes, strict=True)
            ]
        return (None, None, None, d_gains, d_source, d_linear, *d_normed, *by_direct, *passed)
