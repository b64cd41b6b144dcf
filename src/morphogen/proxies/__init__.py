"""Zero-cost proxies: what one batch through an untrained network says about it.

score("nwot", net, x), score_many(["snip", "nwot", "synflow"], net, x, y), or each as a function.
What there is (`PROXIES`) is known without torch, which is imported when something is computed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from morphogen.proxies.catalogue import PROXIES, WORST, Proxy, named

if TYPE_CHECKING:
    from morphogen.proxies.activations import linear_regions, nwot
    from morphogen.proxies.combine import rank_sum
    from morphogen.proxies.flow import synflow
    from morphogen.proxies.fresh import batch_of, fresh_network, score_architecture
    from morphogen.proxies.gradient import fisher, grad_norm, grasp, plain, snip
    from morphogen.proxies.jacobian import epe_nas, jacob_cov
    from morphogen.proxies.kernel import ntk
    from morphogen.proxies.registry import score, score_many, suited
    from morphogen.proxies.size import flops, l2_norm, params
    from morphogen.proxies.zenscore import zen

_HOME = {
    "batch_of": "fresh",
    "epe_nas": "jacobian",
    "fisher": "gradient",
    "flops": "size",
    "fresh_network": "fresh",
    "grad_norm": "gradient",
    "grasp": "gradient",
    "jacob_cov": "jacobian",
    "l2_norm": "size",
    "linear_regions": "activations",
    "ntk": "kernel",
    "nwot": "activations",
    "params": "size",
    "plain": "gradient",
    "rank_sum": "combine",
    "score": "registry",
    "score_architecture": "fresh",
    "score_many": "registry",
    "snip": "gradient",
    "suited": "registry",
    "synflow": "flow",
    "zen": "zenscore",
}
"""Function -> module of this package that defines it."""

__all__ = [
    "PROXIES",
    "WORST",
    "Proxy",
    "batch_of",
    "epe_nas",
    "fisher",
    "flops",
    "fresh_network",
    "grad_norm",
    "grasp",
    "jacob_cov",
    "l2_norm",
    "linear_regions",
    "named",
    "ntk",
    "nwot",
    "params",
    "plain",
    "rank_sum",
    "score",
    "score_architecture",
    "score_many",
    "snip",
    "suited",
    "synflow",
    "zen",
]


def __getattr__(name: str) -> Any:
    """The function called `name`, imported from its module."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
