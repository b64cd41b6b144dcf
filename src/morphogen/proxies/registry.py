"""Proxies by name: one of them, or many at the price of few passes."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from morphogen.core import ConfigError
from morphogen.core.rng import seed_for
from morphogen.proxies import activations, gradient, jacobian, kernel, size
from morphogen.proxies.catalogue import PROXIES, WORST, Proxy, named
from morphogen.proxies.flow import synflow
from morphogen.proxies.passes import Loss
from morphogen.proxies.shared import Forward
from morphogen.proxies.zenscore import zen
from morphogen.supernets.nested import first, shapes

FROM_PASS: Mapping[str, Callable[[Forward, Any], float]] = {
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

ALONE: Mapping[str, Callable[[nn.Module, Any, torch.Generator], float]] = {
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
    x: Any,
    y: Any = None,
    *,
    generator: torch.Generator | None = None,
    loss: Loss = F.cross_entropy,
) -> float:
    """One proxy of one network; see `score_many`."""
    return score_many([name], net, x, y, generator=generator, loss=loss)[name]


def score_many(
    names: Collection[str],
    net: nn.Module,
    x: Any,
    y: Any = None,
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
        x: inputs of a batch, on the network's device: images [b, channels, height, width], any
            tensor, or a tuple or dict of tensors.
        y: its targets; needed by some.
        generator: of what proxies draw, on the CPU; by default one seeded with 0.
        loss: mean loss of the network's output and the targets.

    Returns:
        name -> score, higher is better; `WORST` where it is no finite number.

    Raises:
        UnknownNameError: there is no such proxy.
        ConfigError: targets are missing, a proxy does not apply to such data, or the network is
            none that a proxy can read.
    """
    proxies = named(names)
    for proxy in proxies:
        require_suited(proxy, x, y)
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
            value = ALONE[proxy.name](net, first(x, proxy.images), stream)
        found[proxy.name] = value if math.isfinite(value) else WORST
    return found


def require_suited(proxy: Proxy, x: Any, y: Any = None) -> None:
    """Refuse a proxy that cannot be computed on such data.

    Args:
        proxy: which.
        x: inputs of a batch.
        y: its targets, if there are any.

    Raises:
        ConfigError: it cannot.
    """
    if proxy.labels and y is None:
        raise ConfigError(f"y is None; accepted by {proxy.name}: targets, one per example")
    wrong = _unsuited(proxy, x, y)
    if wrong:
        others = [p.name for p in PROXIES.values() if not _unsuited(p, x, y)]
        raise ConfigError(
            f"proxy is {proxy.name!r}, which reads {wrong}; accepted for these data: "
            f"{', '.join(others)}"
        )


def suited(names: Collection[str], x: Any, y: Any = None) -> list[str]:
    """Those of some proxies that can be computed on such data.

    Args:
        names: keys of `PROXIES`.
        x: inputs of a batch.
        y: its targets, if there are any.
    """
    return [p.name for p in named(names) if not (p.labels and y is None) and not _unsuited(p, x, y)]


def _unsuited(proxy: Proxy, x: Any, y: Any) -> str:
    """What a proxy needs that these data are not; empty where it can be computed."""
    if proxy.classes and not (isinstance(y, Tensor) and y.dtype == torch.int64 and y.ndim == 1):
        return "classes, one for each example, as targets"
    if proxy.inputs != "any" and not (isinstance(x, Tensor) and x.is_floating_point()):
        return f"one tensor of floating-point numbers as inputs (these are {shapes(x)})"
    if proxy.inputs == "maps" and x.ndim < 3:
        return f"maps [examples, channels, ...] as inputs (these are {shapes(x)})"
    return ""


def _forward(
    net: nn.Module, x: Any, y: Any, needs: frozenset[str], loss: Loss, seed: int
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
