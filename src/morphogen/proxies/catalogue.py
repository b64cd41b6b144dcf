"""What proxies there are. No torch: the command line lists them at once."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from morphogen.core import ConfigError, UnknownNameError

WORST = -math.inf
"""The score of a network for which a proxy is not a finite number: below all others."""

NTK_IMAGES = 8
"""Images of the kernel by name: it takes a backward pass over all images for each image."""


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """What is known of a proxy without computing it. Every score is higher for better networks."""

    name: str
    summary: str
    """What it is, in a line."""
    source: str
    """Authors, year and arXiv id."""
    labels: bool = False
    """Whether it reads the targets."""
    data: bool = True
    """Whether it reads the inputs."""
    unit: str = ""
    """Of the score; empty if it has none."""
    needs: frozenset[str] = frozenset()
    """What it needs of the pass in train mode that it shares with others (`shared.Forward`)."""
    images: int | None = None
    """How many examples of the batch it reads, at most; None for all."""
    classes: bool = False
    """Whether the targets have to be classes, one int64 for each example."""
    inputs: Literal["any", "numbers", "maps"] = "any"
    """What the inputs have to be: anything; one tensor of floating-point numbers, which are drawn
    anew or differentiated by; or such a tensor of maps [examples, channels, ...], as of images."""


_ABDELFATTAH = "Abdelfattah et al. 2021, arXiv 2101.08134"
_MELLOR = "Mellor et al. 2021, arXiv 2006.04647"
_TENAS = "Chen et al. 2021, arXiv 2102.11535"

_ALL = (
    Proxy(
        name="nwot",
        summary="NASWOT: log det of the numbers of live units on which two images agree",
        source=_MELLOR,
        needs=frozenset({"codes"}),
    ),
    Proxy(
        name="nwot_eval",
        summary="the same with batch norms in evaluation mode, as in Zero-Cost-PT",
        source="Xiang et al. 2023, arXiv 2106.06799",
    ),
    Proxy(
        name="synflow",
        summary="log of what flows through the network with positive weights, batch norms removed",
        source="Tanaka et al. 2020, arXiv 2006.05467",
        data=False,
        inputs="numbers",
    ),
    Proxy(
        name="jacob_cov",
        summary="how little the images' Jacobians correlate (NASWOT's first version)",
        source=_MELLOR,
        needs=frozenset({"images"}),
        inputs="numbers",
    ),
    Proxy(
        name="epe_nas",
        summary="correlations of the Jacobians within each class",
        source="Lopes et al. 2021, arXiv 2102.08099",
        labels=True,
        needs=frozenset({"images"}),
        classes=True,
        inputs="numbers",
    ),
    Proxy(
        name="snip",
        summary="sum of |weight x gradient|",
        source="Lee et al. 2019, arXiv 1810.02340",
        labels=True,
        unit="nats",
        needs=frozenset({"loss"}),
    ),
    Proxy(
        name="grad_norm",
        summary="sum over layers of the norm of the gradient",
        source=_ABDELFATTAH,
        labels=True,
        needs=frozenset({"loss"}),
    ),
    Proxy(
        name="plain",
        summary="sum of weight x gradient",
        source=_ABDELFATTAH,
        labels=True,
        unit="nats",
        needs=frozenset({"loss"}),
    ),
    Proxy(
        name="fisher",
        summary="Fisher information of the channels",
        source="Turner et al. 2020, arXiv 1906.04113",
        labels=True,
        needs=frozenset({"loss", "maps"}),
    ),
    Proxy(
        name="grasp",
        summary="minus weight x (Hessian x gradient)",
        source="Wang et al. 2020, arXiv 2002.07376",
        labels=True,
        needs=frozenset({"loss", "curved"}),
    ),
    Proxy(
        name="zen",
        summary="log of how much the features change with the image, at normal weights",
        source="Lin et al. 2021, arXiv 2102.01063",
        data=False,
        inputs="numbers",
    ),
    Proxy(
        name="ntk",
        summary=f"minus the condition of the neural tangent kernel of {NTK_IMAGES} images",
        source=_TENAS,
        images=NTK_IMAGES,
    ),
    Proxy(
        name="linear_regions",
        summary="different codes of 3000 tiny images of noise; only for very thin networks",
        source=_TENAS,
        data=False,
        unit="regions",
        inputs="maps",
    ),
    Proxy(
        name="l2_norm",
        summary="sum over layers of the norm of the weights",
        source=_ABDELFATTAH,
        data=False,
    ),
    Proxy(
        name="params", summary="trainable parameters", source="Counted", data=False, unit="millions"
    ),
    Proxy(
        name="flops",
        summary="multiply-adds for one image",
        source="Counted",
        data=False,
        unit="millions",
    ),
)

PROXIES: Mapping[str, Proxy] = {proxy.name: proxy for proxy in _ALL}
"""Name -> proxy, in the order in which they are listed."""


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
