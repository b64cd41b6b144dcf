"""Fast execution: the sums of gated, normalised convolutions that searchable cells are made of.

One module per option reads and writes every activation a dozen times. Here the options of a cell
share their work: ReLU and pooling once per node, one convolution for all edges that leave a node,
and `mix`, which normalises, weights and adds everything that leaves a node in as few passes over
memory as torch's kernels allow. Tensors are channels-last, so that a batch of images is a matrix
[batch * height * width, channels] and a batch norm a column operation.

Three facts are used:

- A batch norm without affine, then a gate g, is c -> a * c + b with a = g / sigma, b = -a * mu
  per channel. Adding it to a node is one pass.
- The statistics of a 1x1 convolution W r follow from those of its input: mean W m and variance
  diag(W Cov(r) W'). So gate, norm and convolution are ONE matrix, (g / sigma) W, and the output of
  the convolution is never written. The covariance is taken of centred r, so nothing cancels.
- Every gate gradient is an inner product that the backward pass of the norm forms anyway.

`mix` has a hand-written backward. When that backward is itself to be differentiated (iDARTS), in
eval mode, and with several processes, `mix_plain` says the same in differentiable operations.

With several processes (`torch.distributed`, world size above 1) batch statistics in train mode are
those of the joint batch; gradients averaged over processes are then those of the joint batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-5
"""Added to variances, as in nn.BatchNorm2d and in every space's reference code."""

Moments = tuple[Tensor, Tensor]
"""Mean and population variance per channel, both [channels]."""


def channels_last(x: Tensor) -> Tensor:
    """`x` [batch, channels, height, width] laid out with channels innermost."""
    return x.contiguous(memory_format=torch.channels_last)


def as_matrix(x: Tensor) -> Tensor:
    """View of a channels-last `x` [n, c, h, w] as a matrix [n * h * w, c]; never a copy."""
    return x.permute(0, 2, 3, 1).view(-1, x.shape[1])


def full_precision(x: Tensor) -> AbstractContextManager[Any]:
    """Context without autocast: statistics and sums stay in float32 (or float64)."""
    return torch.autocast(x.device.type, enabled=False)


def at_least_float32(x: Tensor) -> Tensor:
    """`x` itself, or in float32 if it has fewer bits."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


# -- several processes -------------------------------------------------------------------------


class _SumOverProcesses(torch.autograd.Function):
    """All-reduce; its own adjoint, so differentiable any number of times."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return sum_over_processes(grad)


def sum_over_processes(x: Tensor) -> Tensor:
    """Sum of `x` over all processes, differentiable; every process must call it in turn."""
    total: Tensor = _SumOverProcesses.apply(x)  # type: ignore[no-untyped-call]
    return total


def several_processes() -> bool:
    """Whether batch statistics have to be shared."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


# -- statistics --------------------------------------------------------------------------------


def joint_rows(x: Tensor) -> float:
    """Rows of the matrix `x` [rows, channels], over all processes."""
    if not several_processes():
        return float(x.shape[0])
    total = torch.tensor(float(x.shape[0]), device=x.device, dtype=torch.float64)
    dist.all_reduce(total)
    return float(total)


def _joint_sum(x: Tensor) -> Tensor:
    return sum_over_processes(x) if several_processes() else x


def moments_plain(x: Tensor) -> Moments:
    """Mean and population variance of the columns of `x` [rows, channels], differentiable."""
    rows = joint_rows(x)
    mean = _joint_sum(x.sum(0)) / rows
    centred = x - mean
    return mean, _joint_sum((centred * centred).sum(0)) / rows


def covariance_plain(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [channels] and population covariance [channels, channels] of the columns of `x`."""
    rows = joint_rows(x)
    mean = _joint_sum(x.sum(0)) / rows
    centred = x - mean
    return mean, _joint_sum(centred.t() @ centred) / rows


class BatchNorm(nn.BatchNorm2d):
    """nn.BatchNorm2d whose batch statistics, in train mode, are those of all processes."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise `input` [batch, channels, height, width]; result in its dtype."""
        if not (self.training and several_processes()):
            return super().forward(input)
        return batch_norm(input, [self])


def batch_norm(x: Tensor, norms: Sequence[nn.BatchNorm2d]) -> Tensor:
    """Several batch norms side by side in one operation.

    Args:
        x: channels-last [batch, sum of the norms' features, height, width].
        norms: modules whose buffers (and affine parameters, all or none) are used; their train
            mode and `track_running_stats` are those of the first.

    Returns:
        The normalised `x`, as the modules would give it piece by piece.
    """
    first = norms[0]
    weight = bias = None
    if first.affine:
        weight = _joined([norm.weight for norm in norms])
        bias = _joined([norm.bias for norm in norms])
    if not first.training and first.running_mean is not None:
        return F.batch_norm(
            x,
            *running_moments(norms),
            weight,
            bias,
            eps=first.eps,
        )
    if several_processes():
        matrix = at_least_float32(as_matrix(channels_last(x)))
        with full_precision(x):
            mean, variance = moments_plain(matrix)
            scale = (variance + first.eps).rsqrt()
            scale = scale if weight is None else scale * weight
            result = (matrix - mean) * scale
            result = result if bias is None else result + bias
        update_running(norms, [(mean, variance)], joint_rows(matrix))
        return as_images(result.to(x.dtype), x)
    if not first.track_running_stats or first.running_mean is None:
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=first.eps)
    if len(norms) == 1:
        return first(x)  # type: ignore[no-any-return]
    # Momentum 1 makes the kernel hand over this batch's own statistics (unbiased variance).
    mean = torch.zeros(x.shape[1], device=x.device, dtype=first.running_mean.dtype)
    variance = torch.ones_like(mean)
    result = F.batch_norm(
        x, mean, variance, weight, bias, training=True, momentum=1.0, eps=first.eps
    )
    _move_running(norms, mean, variance)
    return result


def update_running(
    norms: Sequence[nn.BatchNorm2d], moments: Sequence[Moments], rows: float
) -> None:
    """Let running statistics follow the batch, as nn.BatchNorm2d does in train mode.

    Args:
        norms: modules in the order of the channels of `moments`; nothing happens if the first
            does not track (see `supernets.frozen_statistics`).
        moments: batch means and population variances, their channels in the order of `norms`.
        rows: number of values per channel, over all processes.
    """
    if not norms or not norms[0].track_running_stats or norms[0].running_mean is None:
        return
    with torch.no_grad():
        mean = _joined([mean for mean, _ in moments])
        variance = _joined([variance for _, variance in moments])
        _move_running(norms, mean, variance * (rows / max(rows - 1.0, 1.0)))


def running_moments(norms: Sequence[nn.BatchNorm2d]) -> Moments:
    """Running statistics of several norms, their channels one after the other."""
    return (
        _joined([_buffer(norm.running_mean) for norm in norms]),
        _joined([_buffer(norm.running_var) for norm in norms]),
    )


def _move_running(norms: Sequence[nn.BatchNorm2d], mean: Tensor, variance: Tensor) -> None:
    sizes = [norm.num_features for norm in norms]
    momentum = 0.1 if norms[0].momentum is None else norms[0].momentum
    with torch.no_grad():
        means = [_buffer(norm.running_mean) for norm in norms]
        variances = [_buffer(norm.running_var) for norm in norms]
        torch._foreach_lerp_(means, torch.split(mean.detach().to(means[0].dtype), sizes), momentum)
        torch._foreach_lerp_(
            variances, torch.split(variance.detach().to(means[0].dtype), sizes), momentum
        )
        torch._foreach_add_([_buffer(norm.num_batches_tracked) for norm in norms], 1)


def _buffer(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise ValueError("a batch norm without running statistics has none to read or to move")
    return tensor


def _there(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise ValueError("a sum to which nothing is added has no value; give it a term")
    return tensor


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))


def as_images(matrix: Tensor, like: Tensor) -> Tensor:
    """Inverse of `as_matrix`: [n * h * w, c] as channels-last [n, c, h, w], n, h, w of `like`."""
    n, _, h, w = like.shape
    return matrix.view(n, h, w, -1).permute(0, 3, 1, 2)


# -- pooling -----------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _window_sizes(
    channels: int, height: int, width: int, stride: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """A depthwise 3x3 kernel of ones, and 1 / (pixels that the window finds inside the image)."""
    with torch.inference_mode(False), torch.no_grad():
        ones = torch.ones(1, 1, height, width, device=device, dtype=torch.float64)
        kernel = torch.ones(1, 1, 3, 3, device=device, dtype=torch.float64)
        inside = F.conv2d(ones, kernel, stride=stride, padding=1)
        share = channels_last(inside.reciprocal().repeat(1, channels, 1, 1)).to(dtype)
        return torch.ones(channels, 1, 3, 3, device=device, dtype=dtype), share


class _AveragePool(torch.autograd.Function):
    """share * (ones conv x). The convolution is its own adjoint at stride 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        with full_precision(x):
            kernel, share = _window_sizes(*x.shape[1:], 1, x.device, x.dtype)
            return F.conv2d(x, kernel, padding=1, groups=x.shape[1]).mul_(share)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        with full_precision(grad):
            kernel, share = _window_sizes(*grad.shape[1:], 1, grad.device, grad.dtype)
            return F.conv2d(channels_last(grad) * share, kernel, padding=1, groups=grad.shape[1])


def average_pool(x: Tensor, stride: int = 1) -> Tensor:
    """3x3 average pooling, padding 1 and not counted: F.avg_pool2d(count_include_pad=False).

    On the CPU as a depthwise convolution, which is several times as fast as torch's pooling.

    Args:
        x: channels-last [batch, channels, height, width].
        stride: 1 or 2.
    """
    if x.device.type != "cpu" or x.dtype == torch.float64:
        return F.avg_pool2d(x, 3, stride, 1, count_include_pad=False)
    if stride == 1:
        pooled: Tensor = _AveragePool.apply(x)  # type: ignore[no-untyped-call]
        return pooled
    with full_precision(x):
        kernel, share = _window_sizes(*x.shape[1:], stride, x.device, x.dtype)
        return F.conv2d(x, kernel, stride=stride, padding=1, groups=x.shape[1]) * share


# -- mix ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wiring:
    """What `mix` adds to which sum. Every gain belongs to one entry, in the order below."""

    sums: int
    """Number of sums."""
    normed: tuple[tuple[int, ...], ...] = ()
    """Per convolution output: the sum that each of its pieces (of equal width) goes to."""
    linear: tuple[int, ...] = ()
    """Sums of the 1x1 convolutions of the source."""
    direct: tuple[tuple[int, int], ...] = ()
    """(position among the direct tensors, sum)."""

    @cached_property
    def pieces(self) -> int:
        """Number of normed pieces."""
        return sum(len(targets) for targets in self.normed)

    @property
    def gains(self) -> int:
        """Number of gains: normed pieces, then linear, then direct."""
        return self.pieces + len(self.linear) + len(self.direct)


@dataclass(frozen=True)
class Mixed:
    """What `mix` returns."""

    sums: list[Tensor]
    """Per sum [batch, channels, height, width], float32 (or float64)."""
    moments: list[Moments]
    """Batch statistics, of each convolution output, then of each linear piece; without gradient."""


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
    out = _Mix.apply(  # type: ignore[no-untyped-call]
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
    return Mixed([as_images(_there(t), like) for t in out], found)


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


def _room(like: Tensor, channels: int) -> Tensor:
    """Channels-last [n, channels, h, w], n, h, w of `like`, at least float32, not filled.

    Results are written into it through `as_matrix`, not viewed from a matrix: autograd adds to a
    gradient in place only if it owns it alone, and a view shares it.
    """
    return torch.empty(
        (like.shape[0], channels, *like.shape[2:]),
        dtype=torch.promote_types(like.dtype, torch.float32),
        device=like.device,
        memory_format=torch.channels_last,
    )


def _width(
    wiring: Wiring, normed: Sequence[Tensor], linear: Tensor | None, direct: Sequence[Tensor]
) -> int:
    """Channels of the sums."""
    if normed:
        return normed[0].shape[1] // len(wiring.normed[0])
    if linear is not None:
        return linear.shape[0] // len(wiring.linear)
    return direct[0].shape[1]


def _column_products(x: Tensor, y: Tensor) -> Tensor:
    """Inner products of the columns of `x` with those of `y`, [channels]."""
    if x.shape[1] <= NARROW:
        # A few columns: one matrix product reads both once, its other entries cost little.
        return (x.t() @ y).diagonal()
    return (x * y).sum(0)


NARROW = 32
"""Widest matrix [rows, channels] whose column products are taken as the diagonal of a product."""


class _Mix(torch.autograd.Function):
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
            images = _room(like, _width(wiring, normed, linear, direct))
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
                covariance = _covariance(matrix, centre)
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
                    work.append(partial(_shift, so_far, constant))
            for target, values, factor in terms:
                so_far = out[target]
                if so_far is None:
                    constant = _there(bias[target])
                    work.append(partial(_put_scaled, new_sum(target), constant, values, factor))
                else:
                    work.append(partial(_add_scaled, so_far, values, factor))
            for target, weight in products:
                so_far = out[target]
                if so_far is None:
                    constant = _there(bias[target])
                    work.append(
                        partial(_put_product, new_sum(target), constant, matrix, weight.t())
                    )
                else:
                    work.append(partial(_add_product, so_far, matrix, weight.t()))
            one = torch.ones(
                (), device=like.device, dtype=torch.promote_types(like.dtype, torch.float32)
            )
            for position, target in wiring.direct:
                values = at_least_float32(as_matrix(channels_last(direct[position])))
                factor = one if gains is None else gains[number]
                so_far = out[target]
                if so_far is None:
                    work.append(partial(_put_multiple, new_sum(target), values, factor))
                else:
                    work.append(partial(_add_scaled, so_far, values, factor))
                number += 1
            _in_blocks(next((t for t in out if t is not None), None), work)

        # A direct term is read again only by the gradient of its gain.
        ctx.keeps_direct = gains is not None and ctx.needs_input_grad[3]
        ctx.save_for_backward(
            gains, source, linear, centre, covariance, *normed, *statistics[: 2 * count : 2],
            *scales, *(direct if ctx.keeps_direct else ()),
        )  # fmt: skip
        ctx.mark_non_differentiable(*statistics)
        return (*(_there(t) for t in sums), *statistics)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
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
                d_normed = _backward_normed_again(
                    wiring, outer, gains, normed, wants[6:], ctx.eps, by_gain
                )
                d_source, d_linear = _backward_linear_again(
                    wiring, outer, gains, source, linear, ctx.eps, by_gain
                )
                d_direct = _backward_direct_again(ctx, held, gains, direct, by_gain)
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
    """What `_Mix.forward` kept: gains, source, linear, centre, covariance, and lists.

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
            work.append(partial(_sum_columns, total, d))
    pieces = [(i, j, t) for i, targets in enumerate(wiring.normed) for j, t in enumerate(targets)]
    cuts = [slice(j * like.shape[1], (j + 1) * like.shape[1]) for _, j, _ in pieces]
    raw: list[Tensor | None] = []  # sum(d * c)
    for (i, _, target), cut in zip(pieces, cuts, strict=True):
        d = outer[target]
        if d is None:
            raw.append(None)
        else:
            raw.append(sums := torch.zeros_like(d[0]))
            work.append(partial(_multiply_columns, sums, columns[i][:, cut], d))
    crossed: list[Tensor | None] = []  # d' r
    for target in wiring.linear:
        d = outer[target]
        if d is None or matrix is None:
            crossed.append(None)
        else:
            crossed.append(sums := d.new_zeros(d.shape[1], matrix.shape[1]))
            work.append(partial(_cross, sums, d, matrix))
    first = wiring.gains - len(wiring.direct)
    if ctx.keeps_direct:
        for number, (position, target) in enumerate(wiring.direct, first):
            d = outer[target]
            if d is not None:
                inner = by_gain[number] = d.new_zeros(())
                work.append(partial(_multiply, inner, values[position], d))
    _in_blocks(like, work)

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
        d_normed.append(_room(tensor, tensor.shape[1]) if wants[6 + i] else None)
        if d_normed[i] is not None:
            into = as_matrix(_there(d_normed[i]))
            constant, slope = _joined(constants[i]), _joined(slopes[i])
            work.append(partial(_put_scaled, into, constant, columns[i], slope))
    for number, ((i, _, target), cut) in enumerate(zip(pieces, cuts, strict=True)):
        image, d = d_normed[i], outer[target]
        if image is not None and d is not None:
            work.append(partial(_add_scaled, as_matrix(image)[:, cut], d, factors[number]))

    d_source = d_linear = None
    if matrix is not None and source is not None and linear is not None:
        d_source = _room(source, matrix.shape[1])
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
        work.append(partial(_put_product, into, constant / rows, matrix, spread / rows))
        work += [partial(_add_product, into, d, scaled) for d, scaled in maps]
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
            image = d_direct[position] = _room(template, d.shape[1])
            work.append(partial(_put_multiple, as_matrix(image), d, factor))
        else:
            work.append(partial(_add_scaled, as_matrix(image), d, factor))
    _in_blocks(like, work)

    d_normed = [g if g is None else g.to(t.dtype) for g, t in zip(d_normed, normed, strict=True)]
    if d_source is not None and source is not None:
        d_source = d_source.to(source.dtype)
    return d_normed, d_source, d_linear, d_direct


# -- operations on some of the rows ------------------------------------------------------------

Work = Callable[[slice], object]
"""Does its part for the rows in the slice."""

BLOCK_BYTES = 256 * 1024
"""Of one matrix, per thread: small enough that the handful of matrices that meet in a node stay in
a core's own cache between one operation and the next, large enough that calls cost little."""


def _in_blocks(like: Tensor | None, work: Sequence[Work]) -> None:
    """All of `work` for the first rows, then for the next ones, over the rows of matrix `like`."""
    if like is None or not work:
        return
    rows = like.shape[0]
    size = rows
    if like.device.type == "cpu":
        block = BLOCK_BYTES * torch.get_num_threads()
        size = max(block // (like.shape[1] * like.element_size()), 1)
    for start in range(0, rows, size):
        some = slice(start, start + size)
        for step in work:
            step(some)


def _covariance(matrix: Tensor, centre: Tensor) -> Tensor:
    """Population covariance of the columns, given their mean."""
    total = matrix.new_zeros(matrix.shape[1], matrix.shape[1])

    def add(some: slice) -> None:
        centred = matrix[some] - centre
        total.addmm_(centred.t(), centred)

    _in_blocks(matrix, [add])
    return total / matrix.shape[0]


def _shift(out: Tensor, constant: Tensor, some: slice) -> None:
    out[some].add_(constant)


def _put_scaled(out: Tensor, constant: Tensor, x: Tensor, factor: Tensor, some: slice) -> None:
    torch.addcmul(constant, x[some], factor, out=out[some])


def _add_scaled(out: Tensor, x: Tensor, factor: Tensor, some: slice) -> None:
    out[some].addcmul_(x[some], factor)


def _put_product(out: Tensor, constant: Tensor, x: Tensor, weight: Tensor, some: slice) -> None:
    torch.addmm(constant, x[some], weight, out=out[some])


def _add_product(out: Tensor, x: Tensor, weight: Tensor, some: slice) -> None:
    out[some].addmm_(x[some], weight)


def _put_multiple(out: Tensor, x: Tensor, factor: Tensor, some: slice) -> None:
    torch.mul(x[some], factor, out=out[some])


def _sum_columns(total: Tensor, x: Tensor, some: slice) -> None:
    total.add_(x[some].sum(0))


def _multiply_columns(total: Tensor, x: Tensor, y: Tensor, some: slice) -> None:
    total.add_(_column_products(x[some], y[some]))


def _cross(total: Tensor, x: Tensor, y: Tensor, some: slice) -> None:
    total.addmm_(x[some].t(), y[some])


def _multiply(total: Tensor, x: Tensor, y: Tensor, some: slice) -> None:
    total.add_(torch.dot(x[some].reshape(-1), y[some].reshape(-1)))


# -- the backward pass, differentiable -----------------------------------------------------------


def _backward_direct_again(
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


def _backward_normed_again(
    wiring: Wiring,
    outer: Sequence[Tensor | None],
    gains: Tensor | None,
    normed: Sequence[Tensor],
    wants: Sequence[bool],
    eps: float,
    by_gain: list[Tensor | None],
) -> list[Tensor | None]:
    """`_backward_normed` in differentiable operations, from the statistics on."""
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


def _backward_linear_again(
    wiring: Wiring,
    outer: Sequence[Tensor | None],
    gains: Tensor | None,
    source: Tensor | None,
    linear: Tensor | None,
    eps: float,
    by_gain: list[Tensor | None],
) -> tuple[Tensor | None, Tensor | None]:
    """`_backward_linear` in differentiable operations, from the statistics on."""
    if source is None or linear is None:
        return None, None
    matrix = at_least_float32(as_matrix(channels_last(source)))
    rows = matrix.shape[0]
    centred = matrix - matrix.sum(0) / rows
    covariance = centred.t() @ centred / rows
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
        product = d.t() @ centred
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
