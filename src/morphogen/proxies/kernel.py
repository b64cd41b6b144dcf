"""Condition of the neural tangent kernel (TE-NAS)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from morphogen.proxies.passes import gradients, leaves, run
from morphogen.supernets.nested import length_of


def ntk(net: nn.Module, x: Any, y: Any = None) -> float:
    """Minus the condition number of the neural tangent kernel of the batch.

    Chen, Gong, Wang: Neural Architecture Search on ImageNet in Four GPU Hours (TE-NAS). ICLR 2021,
    arXiv 2102.11535. Row i of G is the gradient of the sum of image i's class scores by all
    parameters whose name contains "weight" (norms included), in train mode; the kernel is G G^T.
    One backward pass for each image.

    Args:
        net: the network.
        x: inputs of a batch.
        y: not used.

    Returns:
        -(largest eigenvalue / smallest); NaN if the smallest is not above 0.
    """
    del y
    chosen = leaves({name: p for name, p in net.named_parameters() if "weight" in name})
    wanted = list(chosen.values())
    with torch.enable_grad():
        totals = run(net, x, chosen).reshape(length_of(x), -1).sum(1)
        rows = [torch.cat([g.flatten() for g in gradients(t, wanted)]).double() for t in totals]
    jacobian = torch.stack(rows)
    kernel = jacobian @ jacobian.T
    if not kernel.isfinite().all():
        return math.nan
    values = torch.linalg.eigvalsh(kernel)
    return -float(values[-1] / values[0]) if values[0] > 0 else math.nan
