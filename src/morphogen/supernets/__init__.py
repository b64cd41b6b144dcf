"""Weight sharing: gates, supernets and the stand-alone networks of each space."""

from morphogen.supernets.base import (
    Layered,
    NetworkSpec,
    Supernet,
    build,
    evaluating,
    frozen_statistics,
    has_supernet,
    network,
    register,
)
from morphogen.supernets.failures import enough_values, explained
from morphogen.supernets.fresh import frozen_norms, frozen_parts, reinitialise, train_mode
from morphogen.supernets.gated import Gated
from morphogen.supernets.gates import Gates, all_live, live_masks, weighted
from morphogen.supernets.inheriting import take_weights
from morphogen.supernets.oneof import OneOf
from morphogen.supernets.own import ModuleSupernet, inherit, space_of
from morphogen.supernets.relaxed import Relaxed
from morphogen.supernets.reversible import ReversibleSequence

__all__ = [
    "Gated",
    "Gates",
    "Layered",
    "ModuleSupernet",
    "NetworkSpec",
    "OneOf",
    "Relaxed",
    "ReversibleSequence",
    "Supernet",
    "all_live",
    "build",
    "enough_values",
    "evaluating",
    "explained",
    "frozen_norms",
    "frozen_parts",
    "frozen_statistics",
    "has_supernet",
    "inherit",
    "live_masks",
    "network",
    "register",
    "reinitialise",
    "space_of",
    "take_weights",
    "train_mode",
    "weighted",
]
