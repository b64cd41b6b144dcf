"""The sizes at which the networks of a space are published, where there is one usual size."""

from __future__ import annotations

from morphogen.spaces import SearchSpace
from morphogen.supernets import NetworkSpec

_SIZES = {
    "nasbench201": NetworkSpec(channels=16, depth=5),
    "darts": NetworkSpec(channels=36, depth=20),
}
"""By family of spaces: NAS-Bench-201 as its table was trained, DARTS as retrained on CIFAR-10."""


def published(space: SearchSpace) -> NetworkSpec:
    """The size at which figures of `space` are published; the default size where none is usual.

    Spaces that fix their own size (NAS-Bench-Macro, a user's own module) do not read it.
    """
    return _SIZES.get(space.name, _SIZES.get(space.name.partition("-")[0], NetworkSpec()))
