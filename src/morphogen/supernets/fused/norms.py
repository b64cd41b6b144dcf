"""Batch norms side by side, and their statistics over one process or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from morphogen.supernets.fused.blocks import products
from morphogen.supernets.fused.layout import (
    as_images,
    as_matrix,
    at_least_float32,
    channels_last,
    full_precision,
    joined,
)
from morphogen.supernets.fused.statistics import normalised, served

EPS = 1e-5
"""Added to variances, as in nn.BatchNorm2d and in every space's reference code."""

Moments = tuple[Tensor, Tensor]
"""Mean and population variance per channel, both [channels]."""


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
    return mean, _joint_sum(products(centred, centred)) / rows


class BatchNorm(nn.BatchNorm2d):
    """nn.BatchNorm2d whose batch statistics, in train mode, are those of all processes."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise `input` [batch, channels, height, width]; result in its dtype."""
        if not self.training:
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
        weight = joined([norm.weight for norm in norms])
        bias = joined([norm.bias for norm in norms])
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
    if served(x):
        result, mean, variance = normalised(x, weight, bias, first.eps)
        update_running(norms, [(mean, variance)], joint_rows(as_matrix(x)))
        return result
    if not first.track_running_stats or first.running_mean is None:
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=first.eps)
    if len(norms) == 1:
        return nn.BatchNorm2d.forward(first, x)
    # Momentum 1 makes the kernel hand over this batch's own statistics (unbiased variance).
    mean = torch.zeros(x.shape[1], device=x.device, dtype=first.running_mean.dtype)
    variance = torch.ones_like(mean)
    result = F.batch_norm(
        x, mean, variance, weight, bias, training=True, momentum=1.0, eps=first.eps
    )
    _move_running(norms, mean, variance)
    return result


def update_running(norms: Sequence[_BatchNorm], moments: Sequence[Moments], rows: float) -> None:
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
        mean = joined([mean for mean, _ in moments])
        variance = joined([variance for _, variance in moments])
        _move_running(norms, mean, variance * (rows / max(rows - 1.0, 1.0)))


def running_moments(norms: Sequence[_BatchNorm]) -> Moments:
    """Running statistics of several norms, their channels one after the other."""
    return (
        joined([_buffer(norm.running_mean) for norm in norms]),
        joined([_buffer(norm.running_var) for norm in norms]),
    )


def _move_running(norms: Sequence[_BatchNorm], mean: Tensor, variance: Tensor) -> None:
    """Running statistics go towards those of the batch; by the cumulative mean at momentum None."""
    sizes = [norm.num_features for norm in norms]
    with torch.no_grad():
        means = [_buffer(norm.running_mean) for norm in norms]
        variances = [_buffer(norm.running_var) for norm in norms]
        counts = [_buffer(norm.num_batches_tracked) for norm in norms]
        torch._foreach_add_(counts, 1)
        new_means = torch.split(mean.detach().to(means[0].dtype), sizes)
        new_variances = torch.split(variance.detach().to(means[0].dtype), sizes)
        if norms[0].momentum is not None:
            torch._foreach_lerp_(means, new_means, norms[0].momentum)
            torch._foreach_lerp_(variances, new_variances, norms[0].momentum)
            return
        for moved, new in ((means, new_means), (variances, new_variances)):
            for running, batch, count in zip(moved, new, counts, strict=True):
                running.lerp_(batch, 1.0 / float(count))


def _buffer(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise ValueError("a batch norm without running statistics has none to read or to move")
    return tensor
