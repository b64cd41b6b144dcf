"""The network that a search is compared with: one that asks for no search."""

from __future__ import annotations

from dataclasses import dataclass

from morphogen.core import Architecture, MorphogenError
from morphogen.spaces.base import SearchSpace
from morphogen.spaces.constrained import Constrained
from morphogen.spaces.module import ModuleSpace
from morphogen.spaces.registry import about, make


@dataclass(frozen=True)
class Reference:
    """What the field compares with in a space, or what the user's own module has first."""

    architecture: Architecture
    space: SearchSpace
    """Which has it: the space itself, the whole one if options of it are left out, or another."""
    name: str
    """What it is called: ResNet."""
    reason: str
    """Why it is that one, in a sentence without its full stop."""


def reference_of(space: SearchSpace) -> Reference | None:
    """The reference of a space; None of a space that has none.

    Limits are not asked: a reference may break them.
    """
    if isinstance(space, Constrained):
        return reference_of(space.inner)
    if isinstance(space, ModuleSpace):
        first = {c.name: c.options[: max(1, c.least)] for c in space.choices}
        reason = "it is what the module has where it is written first"
        arch = space.check(Architecture(first))
        return Reference(arch, space, "the first option of every choice", reason)
    known = about(space)
    if known is None or not known.reference:
        return None
    if known.reference_space:
        other = make(known.reference_space)
        arch = other.parse(known.reference)
        return Reference(arch, other, known.reference_name, known.reference_reason)
    whole = known.build()
    if [c.name for c in whole.choices] != [c.name for c in space.choices]:
        return None  # of the same name, and made with other arguments
    try:
        arch, owner = space.parse(known.reference), space
    except MorphogenError:
        arch, owner = whole.parse(known.reference), whole
    return Reference(arch, owner, known.reference_name, known.reference_reason)


def reference_within(space: SearchSpace) -> Reference | None:
    """The reference, if it is an architecture of the space, within its limits."""
    found = reference_of(space)
    whole = space.inner if isinstance(space, Constrained) else space
    if found is None or found.space != whole:
        return None
    limited = isinstance(space, Constrained) and not space.allows(found.architecture)
    return None if limited else found
