"""What other installed packages add: modules that register something when they are imported.

A package names them as entry points of a group, in its own pyproject.toml:

    [project.entry-points."morphogen.spaces"]
    hexagon = "their_package.hexagon"

They are imported late, where a name is not known or everything is listed, and a package that does
not work takes nothing else along.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from morphogen.core.names import brief

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

PREFIX = "morphogen."
"""Of every group's name."""


@dataclass(frozen=True)
class Broken:
    """An entry point that could not be imported."""

    name: str
    """its name, usually that of what it would have registered"""
    sentence: str
    """what is wrong, for the user"""


_SEEN: dict[EntryPoint, Broken | None] = {}
"""Imported already, or found broken: each once in a process."""


def names(group: str) -> tuple[str, ...]:
    """Names of a group's entry points; nothing is imported."""
    return tuple(entry.name for entry in _entered(group))


def load(group: str) -> tuple[Broken, ...]:
    """Import every module that installed packages enter under a group, each once in a process.

    Args:
        group: without its prefix: `spaces`, `methods`, `tasks`.

    Returns:
        Those that could not be imported, in the order of their names.
    """
    found = _entered(group)
    for entry in found:
        if entry not in _SEEN:
            _SEEN[entry] = _import(entry)
    return tuple(broken for entry in found if (broken := _SEEN[entry]) is not None)


def _entered(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group by name, of what is installed now."""
    return _read(PREFIX + group, tuple(map(_state, sys.path)))


@lru_cache(maxsize=64)
def _read(group: str, _: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    """Read once for each state of the folders: it opens a file of every installed package."""
    from importlib.metadata import entry_points  # takes longer to import than most of this package

    found = entry_points(group=group)
    return tuple(sorted(found, key=lambda entry: (entry.name, entry.value)))


def _state(folder: str) -> tuple[str, int]:
    """A folder, and when something was last added to it or taken out; 0: there is none."""
    path = os.path.abspath(folder)  # of "" the working directory
    try:
        return path, os.stat(path).st_mtime_ns
    except OSError:
        return path, 0


def _import(entry: EntryPoint) -> Broken | None:
    try:
        entry.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - others' code may raise anything
        package = entry.dist.name if entry.dist is not None else "a package"
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        return Broken(
            entry.name,
            f"{package} adds {entry.name!r} to {entry.group} and cannot be imported "
            f"({entry.value}: {type(error).__name__}: {brief(reason)}); accepted: a version of it "
            "that can be imported, or to uninstall it",
        )
    return None
