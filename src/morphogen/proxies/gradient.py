"""Proxies of the loss's gradient by the weights: grad_norm, snip, plain, grasp, fisher.

All sum over convolutions and linear layers, on one labelled batch in train mode. Those that the
comparison of Abdelfattah et al. (Zero-Cost Proxies for Lightweight NAS, ICLR 2021, arXiv
2101.08134) brought to architecture search are defined as there.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from morphogen.proxies.passes import Loss
from morphogen.proxies.shared import Forward


def grad_norm(net: nn.Module, x: Tensor, y: Tensor, *, loss: Loss = F.cross_entropy) -> float:
    """Sum over layers of the Frobenius norm of dL/dW (not the norm of all of them together).

    Args:
        net: the network.
        x: images [b, channels, height, width].
        y: labels int64 [b].
        loss: mean loss of class scores and labels.
    """
    return grad_norm_of(Forward(net, x, y, loss=loss))


def grad_norm_of(f: Forward) -> float:
    """`grad_norm` of a pass."""
    return sum(float(g.norm()) for _, g in f.by_weights)


def snip(net: nn.Module, x: Tensor, y: Tensor, *, loss: Loss = F.cross_entropy) -> float:
    """Sum of |W dL/dW|: how the loss would change if weights were masked.

    Lee, Ajanthan, Torr: SNIP. ICLR 2019, arXiv 1810.02340. Arguments as for `grad_norm`.
    """
    return snip_of(Forward(net, x, y, loss=loss))


def snip_of(f: Forward) -> float:
    """`snip` of a pass."""
    return sum(float((w * g).abs().sum()) for w, g in f.by_weights)


def plain(net: nn.Module, x: Tensor, y: Tensor, *, loss: Loss = F.cross_entropy) -> float:
    """Sum of W dL/dW, with its sign. Arguments as for `grad_norm`.

    It is 0 for every layer that a batch norm in train mode follows.
    """
    return plain_of(Forward(net, x, y, loss=loss))


def plain_of(f: Forward) -> float:
    """`plain` of a pass."""
    return sum(float((w * g).sum()) for w, g in f.by_weights)


def grasp(net: nn.Module, x: Tensor, y: Tensor, *, loss: Loss = F.cross_entropy) -> float:
    """Sum of -W (H g), g the gradient and H the Hessian of the loss: what keeps gradients flowing.

    Wang, Zhang, Grosse: Picking Winning Tickets Before Training by Preserving Gradient Flow. ICLR
    2020, arXiv 2002.07376; temperature 1. Arguments as for `grad_norm`.
    """
    return grasp_of(Forward(net, x, y, loss=loss, curved=True))


def grasp_of(f: Forward) -> float:
    """`grasp` of a pass."""
    return -sum(float((w * h).sum()) for w, h in f.curvature)


def fisher(net: nn.Module, x: Tensor, y: Tensor, *, loss: Loss = F.cross_entropy) -> float:
    """Fisher information of the layers' output channels, once for each weight of a channel.

    Turner et al.: BlockSwap. ICLR 2020, arXiv 1906.04113. With a channel's map a (before any norm)
    and g = dL/da: half the mean over images of (sum over pixels of a g)^2, summed over channels,
    times the weights that a channel has. Arguments as for `grad_norm`.
    """
    return fisher_of(Forward(net, x, y, loss=loss, maps=True))


def fisher_of(f: Forward) -> float:
    """`fisher` of a pass."""
    total = 0.0
    for fan_in, a, g in f.by_maps:
        per_image = (a * g).flatten(2).sum(2) if a.dim() > 2 else a * g
        total += fan_in * float((per_image**2).mean(0).sum()) / 2
    return total
