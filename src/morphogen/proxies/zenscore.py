"""Zen-score: how much the features of a network with normal weights differ for close images."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from morphogen.core import ConfigError
from morphogen.proxies.passes import LAYERS, run
from morphogen.proxies.watch import BeforePooling

Normal = Callable[[torch.Size | tuple[int, ...]], Tensor]

STEP = 0.01
"""Distance of the two inputs, in standard deviations."""


def zen(
    net: nn.Module,
    x: Tensor,
    y: Tensor | None = None,
    *,
    generator: torch.Generator | None = None,
    images: int = 16,
    repeats: int = 1,
) -> float:
    """Log of the mean change of the features, plus the logarithms of the norms' deviations.

    Lin et al.: Zen-NAS. ICCV 2021, arXiv 2102.01063. Weights of convolutions and linear layers are
    drawn from N(0, 1), biases are 0, batch norms fresh; inputs are x1 and x1 + 0.01 x2 with x1, x2
    from N(0, 1). The features are those before the last global average pooling. For each batch norm
    log sqrt(mean of its running variance) is added, in train mode after both passes, with the
    momentum of the norm: no data, no labels.

    Args:
        net: the network.
        x: images; only the shape, type and device are used.
        y: not used.
        generator: of weights and inputs, on the CPU; by default one seeded with 0.
        images: inputs drawn (authors: 16).
        repeats: draws of weights and inputs that are averaged (authors: 32).

    Raises:
        ConfigError: the network pools nowhere over all pixels, or a norm has no running variance.
    """
    del y
    generator = generator or torch.Generator().manual_seed(0)
    scores = [sum(_terms(net, x, generator, images)) for _ in range(repeats)]
    return sum(scores) / repeats


def _terms(
    net: nn.Module, x: Tensor, generator: torch.Generator, images: int
) -> tuple[float, float]:
    """Log of the features' change, and the norms' part."""

    def normal(shape: torch.Size | tuple[int, ...]) -> Tensor:
        drawn = torch.randn(shape, generator=generator, dtype=torch.float32)
        return drawn.to(device=x.device, dtype=x.dtype)

    state = _fresh(net, normal)
    first, second = (normal((images, *x.shape[1:])) for _ in range(2))
    features = []
    for batch in (first, first + STEP * second):
        with torch.no_grad(), BeforePooling() as pooling:
            run(net, batch, state)
        if pooling.features is None:
            raise ConfigError(
                "the network never averages over all pixels; accepted by zen: a network with "
                "global average pooling (mean((2, 3)), AdaptiveAvgPool2d(1))"
            )
        features.append(pooling.features)
    change = float((features[0] - features[1]).abs().flatten(1).sum(1).mean())
    norms = 0.0
    for name, module in net.named_modules():
        if isinstance(module, _BatchNorm):
            norms += math.log(float(state[f"{name}.running_var"].mean())) / 2
    return (math.log(change) if change > 0 else -math.inf), norms


def _fresh(net: nn.Module, normal: Normal) -> dict[str, Tensor]:
    """New values of the parameters and buffers of all layers and batch norms, by name."""
    state: dict[str, Tensor] = {}
    known = dict(net.named_parameters())  # shared ones once
    for name, module in net.named_modules():
        if not isinstance(module, (*LAYERS, _BatchNorm)):
            continue
        norm = isinstance(module, _BatchNorm)
        if norm and module.running_var is None:
            raise ConfigError(
                f"norm {name!r} keeps no running statistics; accepted by zen: batch norms with "
                "track_running_stats=True"
            )
        for key, p in module.named_parameters(recurse=False):
            if f"{name}.{key}" not in known:
                continue
            if key == "bias":
                state[f"{name}.{key}"] = torch.zeros_like(p)
            else:
                state[f"{name}.{key}"] = torch.ones_like(p) if norm else normal(p.shape)
        for key, b in module.named_buffers(recurse=False):
            fresh = torch.ones_like(b) if key == "running_var" else torch.zeros_like(b)
            state[f"{name}.{key}"] = fresh
    return state
