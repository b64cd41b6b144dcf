"""Weight sharing: gates, supernets and the stand-alone networks of each space."""

from morphogen.supernets.base import (
    Layered,
    NetworkSpec,
    Supernet,
    build,
    frozen_statistics,
    network,
    register,
)
from morphogen.supernets.gated import Gated
from morphogen.supernets.gates import Gates, all_live
from morphogen.supernets.inheriting import take_weights
from morphogen.supernets.own import (
    ModuleSpace,
    ModuleSupernet,
    OneOf,
    inherit,
    reinitialise,
    space_of,
)
from morphogen.supernets.relaxed import Relaxed, masked_softmax

__all__ = [
    "Gated",
    "Gates",
    "Layered",
    "ModuleSpace",
    "ModuleSupernet",
    "NetworkSpec",
    "OneOf",
    "Relaxed",
    "Supernet",
    "all_live",
    "build",
    "frozen_statistics",
    "inherit",
    "masked_softmax",
    "network",
    "register",
    "reinitialise",
    "space_of",
    "take_weights",
]
