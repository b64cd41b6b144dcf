"""The backward pass of `Mix` in differentiable operations: for Hessian-vector products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from morphogen.supernets.fused.blocks import products
from morphogen.supernets.fused.layout import as_images, as_matrix, at_least_float32, channels_last
from morphogen.supernets.fused.terms import Wiring


def backward_direct(
    ctx: Any,
    held: Sequence[Tensor | None],
    gains: Tensor | None,
    direct: Sequence[Tensor],
    by_gain: list[Tensor | None],
) -> list[Tensor | None]:
    """Gradients of the direct tensors, in differentiable operations."""
    wiring: Wiring = ctx.wiring
    wants = ctx.needs_input_grad[6 + len(wiring.normed) :]
    result: list[Tensor | None] = [None] * ctx.loose
    first = wiring.gains - len(wiring.direct)
    for number, (position, target) in enumerate(wiring.direct, first):
        d = held[target]
        if d is None:
            continue
        if ctx.keeps_direct:
            by_gain[number] = (at_least_float32(direct[position]) * d).sum()
        if wants[position]:
            part = d if gains is None else d * gains[number]
            so_far = result[position]
            result[position] = part if so_far is None else so_far + part
    return result


def backward_normed(
    wiring: Wiring,
    outer: Sequence[Tensor | None],
    gains: Tensor | None,
    normed: Sequence[Tensor],
    wants: Sequence[bool],
    eps: float,
    by_gain: list[Tensor | None],
) -> list[Tensor | None]:
    """Gradients of the normed terms, in differentiable operations from the statistics on."""
    result: list[Tensor | None] = []
    number = 0
    for tensor, targets, wanted in zip(normed, wiring.normed, wants, strict=False):
        matrix = at_least_float32(as_matrix(channels_last(tensor)))
        rows = matrix.shape[0]
        centred = matrix - matrix.sum(0) / rows
        scale = ((centred * centred).sum(0) / rows + eps).rsqrt()
        width = matrix.shape[1] // len(targets)
        parts: list[Tensor] = []
        for piece, target in enumerate(targets):
            cut = slice(piece * width, (piece + 1) * width)
            d, c, inverse = outer[target], centred[:, cut], scale[cut]
            if d is None:
                parts.append(torch.zeros_like(c))
            else:
                factor = inverse if gains is None else inverse * gains[number]
                s2 = (c * d).sum(0)
                by_gain[number] = (s2 * inverse).sum()
                if wanted:
                    slope = factor * s2 * inverse * inverse / rows
                    parts.append(d * factor - c * slope - factor * d.sum(0) / rows)
            number += 1
        if not wanted:
            result.append(None)
            continue
        gradient = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        result.append(as_images(gradient, tensor).to(tensor.dtype))
    return result


def backward_linear(
    wiring: Wiring,
    outer: Sequence[Tensor | None],
    gains: Tensor | None,
    source: Tensor | None,
    linear: Tensor | None,
    eps: float,
    by_gain: list[Tensor | None],
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of the linear terms, in differentiable operations from the statistics on."""
    if source is None or linear is None:
        return None, None
    matrix = at_least_float32(as_matrix(channels_last(source)))
    rows = matrix.shape[0]
    centred = matrix - matrix.sum(0) / rows
    covariance = products(centred, centred) / rows
    spread = torch.zeros_like(covariance)
    gradient: Tensor | None = None
    constant: Tensor = torch.zeros_like(covariance[0])
    by_weight: list[Tensor] = []
    first = wiring.pieces
    for piece, (target, weight) in enumerate(
        zip(wiring.linear, linear.chunk(len(wiring.linear)), strict=True)
    ):
        weight = at_least_float32(weight)
        d = outer[target]
        if d is None:
            by_weight.append(torch.zeros_like(weight))
            continue
        mixed = weight @ covariance
        scale = ((mixed * weight).sum(1) + eps).rsqrt()
        factor = scale if gains is None else scale * gains[first + piece]
        product = products(d, centred)
        s2 = (product * weight).sum(1)
        by_gain[first + piece] = (s2 * scale).sum()
        curve = -factor * s2 * scale * scale
        by_weight.append(factor[:, None] * product + curve[:, None] * mixed)
        spread = spread + weight.t() @ (curve[:, None] * weight)
        scaled = factor[:, None] * weight
        constant = constant - d.sum(0) @ scaled
        gradient = d @ scaled if gradient is None else torch.addmm(gradient, d, scaled)
    if gradient is None:
        return torch.zeros_like(source), torch.cat(by_weight).to(linear.dtype)
    gradient = torch.addmm(gradient, centred, spread / rows) + constant / rows
    by_linear = torch.cat(by_weight).to(linear.dtype)
    return as_images(gradient, source).to(source.dtype), by_linear
