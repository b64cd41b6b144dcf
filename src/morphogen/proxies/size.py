"""Proxies that need no pass over data: l2_norm, params, flops."""

from __future__ import annotations

from typing import Any

from torch import nn

from morphogen import cost
from morphogen.proxies.passes import weights
from morphogen.supernets.nested import first


def l2_norm(net: nn.Module, x: Any = None, y: Any = None) -> float:
    """Sum over convolutions and linear layers of the norm of their weights.

    Abdelfattah et al.: Zero-Cost Proxies for Lightweight NAS. ICLR 2021, arXiv 2101.08134. A
    supernet's options count whether or not they are used.

    Args:
        net: the network.
        x: not used.
        y: not used.
    """
    del x, y
    return sum(float(w.detach().norm()) for w in weights(net).values())


def params(net: nn.Module, x: Any = None, y: Any = None) -> float:
    """Trainable parameters in millions; a supernet's options count whether or not they are used.

    Args:
        net: the network.
        x: not used.
        y: not used.
    """
    del x, y
    return sum(p.numel() for p in net.parameters() if p.requires_grad) / 1e6


def flops(net: nn.Module, x: Any, y: Any = None) -> float:
    """Multiply-adds of convolutions and matrix products for one input, in millions.

    Args:
        net: the network.
        x: inputs of a batch, of which the first is used.
        y: not used.
    """
    del y
    return cost.count(net, first(x, 1)).macs / 1e6
