"""Proxies by name: one of them, or many at the price of few passes."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from morphogen.core import ConfigError
from morphogen.core.rng import seed_for
from morphogen.proxies import activations, gradient, jacobian, kernel, size
from morphogen.proxies.catalogue import WORST, named
from morphogen.proxies.flow import synflow
from morphogen.proxies.passes import Loss
from morphogen.proxies.shared import Forward
from morphogen.proxies.zenscore import zen

FROM_PASS: Mapping[str, Callable[[Forward, Tensor | None], float]] = {
    "nwot": lambda f, y: f.agreement.score(),
    "jacob_cov": lambda f, y: jacobian.jacob_cov_of(f),
    "epe_nas": lambda f, y: math.nan if y is None else jacobian.epe_nas_of(f, y),
    "snip": lambda f, y: gradient.snip_of(f),
    "grad_norm": lambda f, y: gradient.grad_norm_of(f),
    "plain": lambda f, y: gradient.plain_of(f),
    "fisher": lambda f, y: gradient.fisher_of(f),
    "grasp": lambda f, y: gradient.grasp_of(f),
}
"""Those that share a pass: from it and the labels to the score."""

ALONE: Mapping[str, Callable[[nn.Module, Tensor, torch.Generator], float]] = {
    "nwot_eval": lambda net, x, g: activations.nwot(net, x, mode="eval"),
    "synflow": lambda net, x, g: synflow(net, x),
    "zen": lambda net, x, g: zen(net, x, generator=g),
    "ntk": lambda net, x, g: kernel.ntk(net, x),
    "linear_regions": lambda net, x, g: activations.linear_regions(
        net, activations.tiny_noise(x, g)
    ),
    "l2_norm": lambda net, x, g: size.l2_norm(net),
    "params": lambda net, x, g: size.params(net),
    "flops": lambda net, x, g: size.flops(net, x),
}
"""The others: from network, images and a generator of their own."""


def score(
    name: str,
    net: nn.Module,
    x: Tensor,
    y: Tensor | None = None,
    *,
    generator: torch.Generator | None = None,
    loss: Loss = F.cross_entropy,
) -> float:
    """One proxy of one network; see `score_many`."""
    return score_many([name], net, x, y, generator=generator, loss=loss)[name]


def score_many(
    names: Collection[str],
    net: nn.Module,
    x: Tensor,
    y: Tensor | None = None,
    *,
    generator: torch.Generator | None = None,
    loss: Loss = F.cross_entropy,
) -> dict[str, float]:
    """Several proxies of one network at its present weights, which stay as they are.

    All that read the batch in train mode share one forward pass, and one backward pass for all
    that ask for the same gradient. A proxy that draws has a stream of its own, so that its score
    does not depend on which others are asked for.

    Args:
        names: keys of `PROXIES`.
        net: a stand-alone network, a user's own module, or `supernets.Gated(supernet, gates)`
            built with NetworkSpec(execution="plain").
        x: images [b, channels, height, width], on the network's device.
        y: labels int64 [b]; needed by some.
        generator: of what proxies draw, on the CPU; by default one seeded with 0.
        loss: mean loss of class scores and labels.

    Returns:
        name -> score, higher is better; `WORST` where it is no finite number.

    Raises:
        UnknownNameError: there is no such proxy.
        ConfigError: labels are missing, or the network is none that a proxy can read.
    """
    proxies = named(names)
    if y is None:
        for proxy in proxies:
            if proxy.labels:
                raise ConfigError(f"y is None; accepted by {proxy.name}: labels, one per image")
    generator = generator or torch.Generator().manual_seed(0)
    base = int(torch.randint(2**62, (), generator=generator))
    needs = frozenset[str]().union(*(p.needs for p in proxies))
    shared = _forward(net, x, y, needs, loss, base) if needs else None
    found: dict[str, float] = {}
    for proxy in proxies:
        if shared is not None and proxy.name in FROM_PASS:
            value = FROM_PASS[proxy.name](shared, y)
        else:
            stream = torch.Generator().manual_seed(seed_for(base, proxy.name))
            value = ALONE[proxy.name](net, x[: proxy.images], stream)
        found[proxy.name] = value if math.isfinite(value) else WORST
    return found


def _forward(
    net: nn.Module, x: Tensor, y: Tensor | None, needs: frozenset[str], loss: Loss, seed: int
) -> Forward:
    """The pass that serves the union of several proxies' needs."""
    return Forward(
        net,
        x,
        y if "loss" in needs else None,
        loss=loss,
        maps="maps" in needs,
        images="images" in needs,
        curved="curved" in needs,
        codes="codes" in needs,
        seed=seed,
    )
