"""morphogen: weight-sharing neural architecture search.

The names below are imported when first used, so that what needs no torch does not wait for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from morphogen.supernets import OneOf, space_of

_LAZY = {"OneOf": "morphogen.supernets", "space_of": "morphogen.supernets"}

__all__ = ["OneOf", "space_of"]


def __getattr__(name: str) -> Any:
    """The public object called `name`, imported from its module."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    """Names of this module, the lazy ones among them."""
    return sorted({*globals(), *_LAZY})
