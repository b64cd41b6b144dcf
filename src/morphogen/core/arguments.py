"""Objects that somebody passes from Python: of the kind that is meant, or one sentence."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, SupportsIndex, TypeVar

from morphogen.core.errors import ConfigError
from morphogen.core.names import brief
from morphogen.core.ranges import Range

T = TypeVar("T")


def instance(name: str, value: Any, kind: type[T], accepted: str) -> T:
    """`value` if it is a `kind`.

    Raises:
        ConfigError: it is something else, or the class instead of an object of it.
    """
    if not isinstance(value, kind):
        raise ConfigError(f"{name} is {brief(value)}; accepted: {accepted}")
    return value


def function(name: str, value: T, accepted: str) -> T:
    """`value` if it can be called, or a `ConfigError`."""
    if not callable(value):
        raise ConfigError(f"{name} is {brief(value)}; accepted: {accepted}")
    return value


def whole(name: str, value: Any, accepted: Range) -> int:
    """`value` as a whole number of a range.

    Raises:
        ConfigError: it is none, or out of the range.
    """
    number: int | None = None
    if isinstance(value, SupportsIndex) and not isinstance(value, bool | type):
        number = value.__index__()
    if number is None or not accepted.least <= number <= accepted.most:
        raise ConfigError(
            f"{name} is {brief(value)}; accepted: a whole number from {accepted.least} to "
            f"{accepted.most}"
        )
    return number


def path(name: str, value: Any) -> Path:
    """`value` as a path.

    Raises:
        ConfigError: it is no path, or an empty one, or none that a system can have.
    """
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else b""
    if not (isinstance(text, str) and text and "\0" not in text and _possible(text)):
        raise ConfigError(f"{name} is {brief(value)}; accepted: a path, as text or pathlib.Path")
    return Path(text)


def encodable(text: str) -> bool:
    """Whether the system can take it as a name: not where half a letter stands in it."""
    try:
        os.fsencode(text)
    except UnicodeError:
        return False
    return True


def _possible(text: str) -> bool:
    """Whether a file could have that name; not one too long, or of letters that no name has."""
    if not encodable(text):
        return False
    try:
        os.lstat(text)
    except OSError as error:
        return error.errno != errno.ENAMETOOLONG
    return True
