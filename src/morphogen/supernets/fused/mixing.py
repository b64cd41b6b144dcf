"""`mix`: gated, normalised terms added to sums, by kernel or in plain operations."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from morphogen.supernets.fused.kernel import Mix
from morphogen.supernets.fused.layout import (
    as_images,
    as_matrix,
    at_least_float32,
    channels_last,
    full_precision,
    there,
)
from morphogen.supernets.fused.norms import (
    EPS,
    Moments,
    covariance_plain,
    moments_plain,
    several_processes,
)
from morphogen.supernets.fused.terms import Mixed, Wiring


def mix(
    wiring: Wiring,
    sums: Sequence[Tensor | None],
    *,
    normed: Sequence[Tensor] = (),
    source: Tensor | None = None,
    linear: Tensor | None = None,
    direct: Sequence[Tensor] = (),
    gains: Tensor | None = None,
    moments: Sequence[Moments] | None = None,
    eps: float = EPS,
) -> Mixed:
    """Add gated terms to sums: gain * BN(conv piece), gain * BN(conv1x1(source)), gain * tensor.

    Args:
        wiring: which term goes to which sum; every sum without a tensor needs a term.
        sums: what the sums hold already, channels-last [n, c, h, w] in float32 and written in place
            (nobody else may need them), or None.
        normed: convolution outputs [n, pieces * c, h, w], any floating dtype.
        source: input [n, c_in, h, w] of the 1x1 convolutions.
        linear: their weights, one under the other, [pieces * c, c_in].
        direct: tensors [n, c, h, w] that are added as they are.
        gains: one per term, [wiring.gains]; None means 1 everywhere.
        moments: fixed statistics in the order of `Mixed.moments` (eval mode); None means those of
            the batch.
        eps: added to variances.
    """
    if moments is not None or several_processes():
        return mix_plain(
            wiring, sums, normed=normed, source=source, linear=linear, direct=direct,
            gains=gains, moments=moments, eps=eps,
        )  # fmt: skip
    present = [t for t in sums if t is not None]
    out = Mix.apply(  # type: ignore[no-untyped-call]
        wiring, eps, tuple(t is not None for t in sums), gains, source, linear,
        *normed, *direct, *present,
    )  # fmt: skip
    flat = out[wiring.sums :]
    return Mixed(list(out[: wiring.sums]), list(zip(flat[::2], flat[1::2], strict=True)))


def mix_plain(
    wiring: Wiring,
    sums: Sequence[Tensor | None],
    *,
    normed: Sequence[Tensor] = (),
    source: Tensor | None = None,
    linear: Tensor | None = None,
    direct: Sequence[Tensor] = (),
    gains: Tensor | None = None,
    moments: Sequence[Moments] | None = None,
    eps: float = EPS,
) -> Mixed:
    """`mix` in differentiable operations, nothing in place; the same arguments and result."""
    like = next(t for t in (*normed, source, *direct) if t is not None)
    out, found = _add_plain(
        wiring, sums, normed=normed, source=source, linear=linear, direct=direct,
        gains=gains, moments=moments, eps=eps,
    )  # fmt: skip
    return Mixed([as_images(there(t), like) for t in out], found)


def _add_plain(
    wiring: Wiring,
    sums: Sequence[Tensor | None],
    *,
    normed: Sequence[Tensor],
    source: Tensor | None,
    linear: Tensor | None,
    direct: Sequence[Tensor],
    gains: Tensor | None,
    moments: Sequence[Moments] | None,
    eps: float,
) -> tuple[list[Tensor | None], list[Moments]]:
    """The sums as matrices [rows, c], None where nothing was added, and the moments."""
    out: list[Tensor | None] = [None if t is None else as_matrix(t) for t in sums]
    given = iter(moments or ())
    found: list[Moments] = []
    gain = iter(range(wiring.gains))

    def scaled(x: Tensor) -> Tensor:
        """`x` times the next gain."""
        i = next(gain)
        return x if gains is None else x * gains[i]

    def add(target: int, term: Tensor) -> None:
        so_far = out[target]
        out[target] = term if so_far is None else so_far + term

    for tensor, targets in zip(normed, wiring.normed, strict=True):
        with full_precision(tensor):
            matrix = at_least_float32(as_matrix(channels_last(tensor)))
            mean, variance = moments_plain(matrix) if moments is None else next(given)
            found.append((mean.detach(), variance.detach()))
            scale = (variance + eps).rsqrt()
            width = matrix.shape[1] // len(targets)
            for piece, target in enumerate(targets):
                cut = slice(piece * width, (piece + 1) * width)
                add(target, (matrix[:, cut] - mean[cut]) * scaled(scale[cut]))
    if source is not None and linear is not None:
        with full_precision(source):
            matrix = at_least_float32(as_matrix(channels_last(source)))
            covariance = None if moments is not None else covariance_plain(matrix)
            for target, weight in zip(wiring.linear, linear.chunk(len(wiring.linear)), strict=True):
                weight = at_least_float32(weight)
                if covariance is None:
                    mean, variance = next(given)
                else:
                    mean = weight @ covariance[0]
                    variance = ((weight @ covariance[1]) * weight).sum(1)
                found.append((mean.detach(), variance.detach()))
                scale = scaled((variance + eps).rsqrt())
                add(target, matrix @ (scale[:, None] * weight).t() - scale * mean)
    for position, target in wiring.direct:
        tensor = direct[position]
        with full_precision(tensor):
            add(target, scaled(at_least_float32(as_matrix(channels_last(tensor)))))
    return out, found
