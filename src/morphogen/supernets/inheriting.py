"""A new supernet that begins with the weights of another: transfer to new data.

Zhang et al., CVPR 2024, arXiv 2403.11380, section on transfer: all weights and statistics are kept,
and only the classifier is drawn anew.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from morphogen.core import SpaceError


def take_weights(
    net: nn.Module, weights: Mapping[str, Tensor], *, classes: int | None = None
) -> tuple[str, ...]:
    """Give `net` the weights and statistics of another network of the same shape, in place.

    Args:
        net: a new network; what is not taken stays as it was drawn.
        weights: the state dict of the other one.
        classes: number of classes of the other one, to leave its classifier behind: every linear
            layer of so many outputs. None takes everything.

    Returns:
        Names of the entries that were left as they were.

    Raises:
        SpaceError: an entry is missing or has another shape, or there is no such classifier.
    """
    own = net.state_dict()
    left = () if classes is None else tuple(_classifier(net, weights, classes))
    if classes is not None and not left:
        raise SpaceError(
            f"the supernet has no linear layer of {classes} outputs to draw anew for other data; "
            "accepted: a network that ends in nn.Linear"
        )
    names = [name for name in own if name not in left]
    for name in names:
        if name not in weights or weights[name].shape != own[name].shape:
            found = list(weights[name].shape) if name in weights else "nothing"
            raise SpaceError(
                f"the weights to begin with hold {found} for {name}; accepted: "
                f"{list(own[name].shape)}, a supernet of the same space and size"
            )
    with torch.no_grad():
        for name in names:
            own[name].copy_(weights[name])
    return left


def _classifier(net: nn.Module, weights: Mapping[str, Tensor], classes: int) -> list[str]:
    linear = [path for path, m in net.named_modules() if isinstance(m, nn.Linear)]
    # A network that gives scores for every pixel has 1x1 convolutions instead; inside they have no
    # bias, as all that a norm follows.
    linear = linear or [
        path
        for path, m in net.named_modules()
        if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.bias is not None
    ]
    heads = [
        path
        for path in linear
        if f"{path}.weight" in weights and len(weights[f"{path}.weight"]) == classes
    ]
    return [name for name in net.state_dict() if name.rpartition(".")[0] in heads]
