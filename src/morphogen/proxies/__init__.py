"""Zero-cost proxies: what one batch through an untrained network says about it.

score("nwot", net, x), score_many(["snip", "nwot", "synflow"], net, x, y), or each as a function.
"""

from morphogen.proxies.activations import linear_regions, nwot
from morphogen.proxies.fresh import batch_of, fresh_network, score_architecture
from morphogen.proxies.gradient import fisher, grad_norm, grasp, plain, snip
from morphogen.proxies.jacobian import epe_nas, jacob_cov
from morphogen.proxies.kernel import ntk
from morphogen.proxies.registry import PROXIES, WORST, Proxy, named, score, score_many
from morphogen.proxies.size import flops, l2_norm, params
from morphogen.proxies.synflow import synflow
from morphogen.proxies.zen import zen

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
    "score",
    "score_architecture",
    "score_many",
    "snip",
    "synflow",
    "zen",
]
