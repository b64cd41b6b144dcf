"""All proxies by name, and how to compute one, or many at the price of few passes."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from morphogen.core import ConfigError, UnknownNameError
from morphogen.core.rng import seed_for
from morphogen.proxies import activations, gradient, jacobian, kernel, size
from morphogen.proxies.passes import Loss
from morphogen.proxies.shared import Forward
from morphogen.proxies.synflow import synflow
from morphogen.proxies.zen import zen

WORST = -math.inf
"""The score of a network for which a proxy is not a finite number: below all others."""


@dataclass(frozen=True)
class Proxy:
    """What is known of a proxy without computing it. Every score is higher for better networks."""

    name: str
    summary: str
    """What it is, in a line."""
    source: str
    """Authors, year and arXiv id."""
    needs_labels: bool
    unit: str
    """Of the score; empty if it has none."""
    pass_needs: frozenset[str] = frozenset()
    """What it needs of the pass in train mode that it shares with others (`Forward`)."""
    images: int | None = None
    """How many images of the batch it reads, at most; None for all."""


_Alone = Callable[[nn.Module, Tensor, torch.Generator], float]
_FromPass = Callable[[Forward, Tensor | None], float]

_FROM_PASS: dict[str, _FromPass] = {}
_ALONE: dict[str, _Alone] = {}

PROXIES: dict[str, Proxy] = {}
"""Name -> proxy, in the order in which they are listed."""


def _add(proxy: Proxy, *, shared: _FromPass | None = None, alone: _Alone | None = None) -> None:
    PROXIES[proxy.name] = proxy
    if shared is not None:
        _FROM_PASS[proxy.name] = shared
    if alone is not None:
        _ALONE[proxy.name] = alone


NTK_IMAGES = 8
"""The kernel takes a backward pass over all images for each image."""

_ABDELFATTAH = "Abdelfattah et al. 2021, arXiv 2101.08134"
_MELLOR = "Mellor et al. 2021, arXiv 2006.04647"
_TENAS = "Chen et al. 2021, arXiv 2102.11535"

_add(
    Proxy(
        "nwot",
        "log det of the units on which images agree",
        _MELLOR,
        False,
        "",
        frozenset({"codes"}),
    ),
    shared=lambda f, y: f.agreement.score(),
)
_add(
    Proxy(
        "nwot_eval",
        "nwot with batch norms in eval mode",
        "Xiang et al. 2023, arXiv 2106.06799",
        False,
        "",
    ),
    alone=lambda net, x, g: activations.nwot(net, x, mode="eval"),
)
_add(
    Proxy(
        "synflow",
        "log of the synaptic flow, batch norms removed",
        "Tanaka et al. 2020, arXiv 2006.05467",
        False,
        "log",
    ),
    alone=lambda net, x, g: synflow(net, x),
)
_add(
    Proxy(
        "jacob_cov",
        "how little Jacobians of images correlate",
        _MELLOR,
        False,
        "",
        frozenset({"images"}),
    ),
    shared=lambda f, y: jacobian.jacob_cov_of(f),
)
_add(
    Proxy(
        "epe_nas",
        "correlations of Jacobians within classes",
        "Lopes et al. 2021, arXiv 2102.08099",
        True,
        "",
        frozenset({"images"}),
    ),
    shared=lambda f, y: jacobian.epe_nas_of(f, _labels(y)),
)
_add(
    Proxy(
        "snip",
        "sum of |weight x gradient|",
        "Lee et al. 2019, arXiv 1810.02340",
        True,
        "nats",
        frozenset({"loss"}),
    ),
    shared=lambda f, y: gradient.snip_of(f),
)
_add(
    Proxy(
        "grad_norm",
        "sum over layers of the gradient's norm",
        _ABDELFATTAH,
        True,
        "",
        frozenset({"loss"}),
    ),
    shared=lambda f, y: gradient.grad_norm_of(f),
)
_add(
    Proxy("plain", "sum of weight x gradient", _ABDELFATTAH, True, "nats", frozenset({"loss"})),
    shared=lambda f, y: gradient.plain_of(f),
)
_add(
    Proxy(
        "fisher",
        "Fisher information of the channels",
        "Turner et al. 2020, arXiv 1906.04113",
        True,
        "",
        frozenset({"loss", "maps"}),
    ),
    shared=lambda f, y: gradient.fisher_of(f),
)
_add(
    Proxy(
        "grasp",
        "minus weight x Hessian x gradient",
        "Wang et al. 2020, arXiv 2002.07376",
        True,
        "",
        frozenset({"loss", "curved"}),
    ),
    shared=lambda f, y: gradient.grasp_of(f),
)
_add(
    Proxy(
        "zen",
        "log change of the features of a network with normal weights",
        "Lin et al. 2021, arXiv 2102.01063",
        False,
        "log",
    ),
    alone=lambda net, x, g: zen(net, x, generator=g),
)
_add(
    Proxy(
        "ntk",
        "minus the condition number of the neural tangent kernel",
        _TENAS,
        False,
        "",
        images=NTK_IMAGES,
    ),
    alone=lambda net, x, g: kernel.ntk(net, x),
)
_add(
    Proxy("linear_regions", "different codes among tiny images of noise", _TENAS, False, "regions"),
    alone=lambda net, x, g: activations.linear_regions(net, activations.tiny_noise(x, g)),
)
_add(
    Proxy("l2_norm", "sum over layers of the weights' norm", _ABDELFATTAH, False, ""),
    alone=lambda net, x, g: size.l2_norm(net),
)
_add(
    Proxy("params", "trainable parameters", "a count", False, "millions"),
    alone=lambda net, x, g: size.params(net),
)
_add(
    Proxy("flops", "multiply-adds for one image", "a count", False, "millions"),
    alone=lambda net, x, g: size.flops(net, x),
)


def named(names: Collection[str]) -> list[Proxy]:
    """The proxies of these names.

    Raises:
        UnknownNameError: there is no such proxy.
        ConfigError: none is named, or one twice.
    """
    for name in names:
        if name not in PROXIES:
            raise UnknownNameError("proxy", name, PROXIES)
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            f"proxies are {', '.join(names) or 'none'}; accepted: one or more, each once"
        )
    return [PROXIES[name] for name in names]


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
            if proxy.needs_labels:
                raise ConfigError(f"y is None; accepted by {proxy.name}: labels, one per image")
    generator = generator or torch.Generator().manual_seed(0)
    base = int(torch.randint(2**62, (), generator=generator))
    needs = frozenset[str]().union(*(p.pass_needs for p in proxies))
    shared = _forward(net, x, y, needs, loss, base) if needs else None
    found: dict[str, float] = {}
    for proxy in proxies:
        if shared is not None and proxy.name in _FROM_PASS:
            value = _FROM_PASS[proxy.name](shared, y)
        else:
            stream = torch.Generator().manual_seed(seed_for(base, proxy.name))
            value = _ALONE[proxy.name](net, x[: proxy.images], stream)
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


def _labels(y: Tensor | None) -> Tensor:
    if y is None:
        raise ConfigError("y is None; accepted: labels, one per image")
    return y
