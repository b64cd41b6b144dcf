"""Batch norms of a supernet under one path: whose statistics they use, and how these are remade.

While paths are trained, a norm's running statistics mix those of all paths through it; of a single
path they say little. So a path's own are estimated anew before it is scored (SPOS, section 3.4;
Guo et al., ECCV 2020, arXiv 1904.00420), or its batches' own are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from morphogen.supernets import evaluating, frozen_norms


def tracking_norms(net: nn.Module) -> list[nn.Module]:
    """The modules of `net` that move running statistics, fused or not; none of a frozen part."""
    frozen = set(frozen_norms(net))
    return [
        m
        for m in net.modules()
        if getattr(m, "track_running_stats", False) is True
        and getattr(m, "num_batches_tracked", None) is not None
        and m not in frozen
    ]


@contextmanager
def batch_statistics(net: nn.Module) -> Iterator[None]:
    """The net in eval mode but for its norms, which use their batch's statistics; undone after.

    What holds a norm is in train mode too, since fused execution asks it; dropout stays off. Norms
    of frozen parts use their own.
    """
    with evaluating(net):
        for module in net.modules():
            module.training = any(
                getattr(m, "track_running_stats", False) is True for m in module.modules()
            )
        for norm in frozen_norms(net):
            norm.eval()
        yield


@contextmanager
def kept_statistics(net: nn.Module) -> Iterator[None]:
    """Whatever the block does to running statistics, they are afterwards what they were."""
    norms = tracking_norms(net)
    before = [[b.clone() for b in norm.buffers(recurse=False)] for norm in norms]
    try:
        yield
    finally:
        for norm, values in zip(norms, before, strict=True):
            for buffer, value in zip(norm.buffers(recurse=False), values, strict=True):
                buffer.copy_(value)


def recalibrate(net: nn.Module, forward: Callable[[Any], Any], batches: Iterable[Any]) -> None:
    """Estimate the running statistics of the norms that `forward` executes anew.

    They become the cumulative mean over the batches, each counting once whatever was before: of the
    batches' means, and of their unbiased variances. Norms that are not executed, weights and modes
    stay as they are, to the bit.

    Args:
        net: what holds the norms.
        forward: a pass through a path of `net`.
        batches: inputs, at least one batch; drawn from the part that trains weights.
    """
    norms = tracking_norms(net)
    before = [[b.clone() for b in norm.buffers(recurse=False)] for norm in norms]
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()  # type: ignore[operator]
            norm.momentum = None  # type: ignore[assignment]
        with batch_statistics(net), torch.no_grad():
            for x in batches:
                forward(x)
    finally:
        for norm, values, momentum in zip(norms, before, momenta, strict=True):
            norm.momentum = momentum
            if not int(norm.num_batches_tracked):  # type: ignore[arg-type]
                for buffer, value in zip(norm.buffers(recurse=False), values, strict=True):
                    buffer.copy_(value)
