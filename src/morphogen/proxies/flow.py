"""Synaptic flow: how much reaches the output of a network with positive weights."""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from morphogen.proxies.passes import gradients, run, weights
from morphogen.proxies.watch import WithoutBatchNorm


def synflow(
    net: nn.Module, x: Tensor, y: Tensor | None = None, *, batch_norm: bool = False
) -> float:
    """Log of the sum of |W dR/dW|, R the sum of the outputs for an image of ones.

    Tanaka, Kunin, Yamins, Ganguli: Pruning Neural Networks without any Data. NeurIPS 2020, arXiv
    2006.05467, as in Abdelfattah et al., arXiv 2101.08134. All parameters and buffers are replaced
    by their absolute values, in float64; batch norms let everything through. Biases take part in R,
    not in the sum. No data, no labels.

    Args:
        net: the network.
        x: images; only the shape of one is used.
        y: not used.
        batch_norm: keep the batch norms (in train mode).

    Returns:
        The logarithm of the sum; minus infinity if nothing flows.
    """
    del y
    state = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    positive = {name: _positive(t) for name, t in state.items()}
    names = list(weights(net))
    for name in names:
        positive[name].requires_grad_()
    ones = torch.ones(1, *x.shape[1:], dtype=torch.float64, device=x.device)
    with torch.enable_grad(), nullcontext() if batch_norm else WithoutBatchNorm():
        flow = run(net, ones, positive).sum()
    chosen = [positive[name] for name in names]
    found = gradients(flow, chosen)
    total = sum(float((w.detach() * g).abs().sum()) for w, g in zip(chosen, found, strict=True))
    return math.log(total) if total > 0 else -math.inf


def _positive(tensor: Tensor) -> Tensor:
    """A copy with absolute values, in float64 where it is not made of integers."""
    value = tensor.detach().abs()
    return value.double() if value.is_floating_point() else value
