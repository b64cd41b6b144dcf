"""The sizes at which the networks of a space are published, where there is one usual size."""

from __future__ import annotations

from morphogen.spaces import SearchSpace, about
from morphogen.supernets import NetworkSpec


def published(space: SearchSpace) -> NetworkSpec:
    """The size at which figures of `space` are published; the default size where none is usual.

    A user's own module has its own size and does not read it.
    """
    known = about(space)
    return NetworkSpec(**{**(known.network if known else {}), **space.network_sizes()})
