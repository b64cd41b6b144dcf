"""The sizes at which the networks of a space are published, where there is one usual size."""

from __future__ import annotations

from dataclasses import fields

from morphogen.core import UnknownNameError
from morphogen.spaces import SearchSpace, about
from morphogen.supernets import NetworkSpec

FIELDS = tuple(field.name for field in fields(NetworkSpec))


def published(space: SearchSpace) -> NetworkSpec:
    """The size at which figures of `space` are published; the default size where none is usual.

    A user's own module has its own size and does not read it.

    Raises:
        UnknownNameError: the space is registered with a size that networks do not have.
    """
    known = about(space)
    sizes = {**(known.network if known else {}), **space.network_sizes()}
    wrong = next((name for name in sizes if name not in FIELDS), None)
    if wrong is not None:
        raise UnknownNameError(f"size of the networks of space {space.name!r}", wrong, FIELDS)
    return NetworkSpec(**sizes)
