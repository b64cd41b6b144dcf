"""The space of a user's own module, as data: the choices that `OneOf` marks in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from morphogen.core import Architecture, Choice
from morphogen.spaces.base import Differentiable, SearchSpace

Route = tuple[tuple[str, str], ...]
"""The (choice, option) pairs inside of which a choice stands, from the outermost."""


class ModuleSpace(SearchSpace, Differentiable):
    """The space of all networks that a module with `OneOf` in it stands for.

    Made by `supernets.space_of`. Every choice is a group of its own, with one row. A choice inside
    an option of another is a choice like any other, also where that option is not taken: such
    architectures are counted apart although their networks are equal, and `remarks` says so.

    Equality, hash and notation are those of the choices; the module is carried along only to build
    networks from. A space without one (read back from a run directory, say) answers everything
    else, and equals the one found in the module.

    Args:
        name: how the run directory calls the space.
        choices: the decisions.
        module: the torch module they were found in; neither changed nor called.
        routes: choice -> each of its routes, where it stands inside options of others.
    """

    spatial_dims: ClassVar[int | None] = None

    def __init__(
        self,
        name: str,
        choices: Sequence[Choice],
        module: Any = None,
        routes: Mapping[str, Sequence[Route]] | None = None,
    ) -> None:
        super().__init__(name, choices)
        self.module = module
        self.routes = {choice: tuple(ways) for choice, ways in (routes or {}).items()}

    def remarks(self, arch: Architecture) -> tuple[str, ...]:
        """A sentence for every choice without effect: one inside options that are not taken."""
        arch = self.check(arch)
        return tuple(
            f"choice {name!r} has no effect: it is inside an option that is not taken"
            for name, routes in self.routes.items()
            if not any(all(arch[c] == (o,) for c, o in route) for route in routes)
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> ModuleSpace:
        """The space itself: it is never changed, and its module need not be held twice."""
        return self
