"""What an architecture costs: parameters, FLOPs, memory traffic, measured latency.

cost = morphogen.cost.of(space, arch, NetworkSpec(channels=16, depth=5), image=(3, 32, 32))
cost.params, cost.macs, cost.flops
"""

from morphogen.cost.additive import Counts
from morphogen.cost.count import Cost, Input, count, of
from morphogen.cost.demand import SMALLER, require
from morphogen.cost.latency import Latency, latency
from morphogen.cost.options import OptionCosts, of_options
from morphogen.cost.paths import PathCost, Paths
from morphogen.cost.sizes import published

__all__ = [
    "SMALLER",
    "Cost",
    "Counts",
    "Input",
    "Latency",
    "OptionCosts",
    "PathCost",
    "Paths",
    "count",
    "latency",
    "of",
    "of_options",
    "published",
    "require",
]
