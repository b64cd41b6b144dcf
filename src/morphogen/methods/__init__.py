"""One file per published system, each read beside its paper; see `_contract` for what they keep."""

from morphogen.methods._contract import (
    AskTell,
    Method,
    MethodInfo,
    Metrics,
    Phase,
    Phased,
    Relaxing,
    Stage,
    Staged,
    Stepwise,
    find,
    method,
    methods,
)

__all__ = [
    "AskTell",
    "Method",
    "MethodInfo",
    "Metrics",
    "Phase",
    "Phased",
    "Relaxing",
    "Stage",
    "Staged",
    "Stepwise",
    "find",
    "method",
    "methods",
]
