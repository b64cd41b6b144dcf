"""Weight sharing: gates, supernets and the stand-alone networks of each space."""

from morphogen.supernets.base import (
    NetworkSpec,
    Supernet,
    build,
    frozen_statistics,
    network,
    register,
)
from morphogen.supernets.gates import Gates, all_live

__all__ = [
    "Gates",
    "NetworkSpec",
    "Supernet",
    "all_live",
    "build",
    "frozen_statistics",
    "network",
    "register",
]
