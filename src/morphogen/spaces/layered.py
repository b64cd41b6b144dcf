"""Spaces of one choice per layer, written as a digit per layer, input to output."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from morphogen.core import Architecture, ArchitectureError, SpaceError
from morphogen.core.names import brief
from morphogen.spaces.base import Differentiable, SearchSpace
from morphogen.spaces.printed import digits_of

DEEPEST = 1000
"""Layers of a network at most."""

GROUP = "layers"
"""The group of the choices: one matrix of scores with a row per layer."""

WHOLE, ONE_OR_TWO = "a whole number from 1", "1 or 2"
SHARE = "a number from 0 to below 1"

_LISTS = ("repeats", "widths", "strides")

Rule = tuple[str, float, bool, str]
"""The name of a size, its value, whether that is accepted, and what is."""


def layer_name(layer: int) -> str:
    """Name of the choice of the `layer`-th layer, from 1 at the input."""
    return f"layer_{layer}"


@dataclass(frozen=True)
class Layer:
    """Sizes of one layer."""

    c_in: int
    """Channels of its input."""
    c_out: int
    """Channels of its output."""
    stride: int
    """2: the image is halved."""

    @property
    def keeps_shape(self) -> bool:
        """Whether its output has the shape of its input, so that they can be added."""
        return self.stride == 1 and self.c_in == self.c_out


class Layered(SearchSpace, Differentiable):
    """One choice per layer; a layer may lack some of the operations."""

    operations: ClassVar[tuple[str, ...]]
    """The position is the digit of the notation."""

    def format(self, arch: Architecture) -> str:
        """A digit per layer, e.g. `00120212`."""
        arch = self.check(arch)
        return "".join(str(self.operations.index(arch.one(c.name))) for c in self.choices)

    def read(self, text: str) -> Architecture:
        """Read a digit per layer, or a list of them (`(2, 1, 0, ...)`).

        Raises:
            ArchitectureError: says what else was found.
        """
        digits, known = self.digits(text), {str(i): op for i, op in enumerate(self.operations)}
        if len(digits) != len(self.choices) or set(digits) - set(known):
            raise ArchitectureError(
                f"cannot read architecture {brief(text)}; accepted: {len(self.choices)} digits, "
                "one per layer: " + ", ".join(f"{i} = {name}" for i, name in known.items())
            )
        kept = {c.name: known[digit] for c, digit in zip(self.choices, digits, strict=True)}
        return self.check(Architecture(kept))

    def digits(self, text: str) -> str:
        """The digits of what else is read; of any other text itself."""
        return digits_of(text)


class Staged(Layered):
    """Layers in stages of one width each; the space carries the sizes of its networks.

    Its constructor sets what it takes, and then calls `require_sizes`.
    """

    numbers: ClassVar[tuple[str, ...]]
    """Names of the sizes that are one number, as the constructor calls them."""

    repeats: tuple[int, ...]
    """Layers of each stage."""
    widths: tuple[int, ...]
    """Channels of each stage, where the stem has as many as published."""
    strides: tuple[int, ...]
    """Of the first layer of each stage; the other layers have 1."""
    stem: int
    """Channels after the first convolution, as published."""
    stem_stride: int
    """Of the first convolution."""

    def arguments(self) -> dict[str, Any]:
        """The sizes."""
        lists = {name: list(getattr(self, name)) for name in _LISTS}
        return {**lists, **{name: getattr(self, name) for name in self.numbers}}

    def network_sizes(self) -> dict[str, Any]:
        """The channels of the stem, to which all widths are in proportion."""
        return {"channels": self.stem}


def require_sizes(name: str, space: Staged, rules: Iterable[Rule]) -> None:
    """Raise `SpaceError` with the first size of a space `name` that is impossible.

    Args:
        name: of the space.
        space: with its sizes.
        rules: of those that its kind has beside stages and strides.
    """
    for field in _LISTS:
        values = getattr(space, field)
        if not values or len(values) != len(space.widths):
            raise SpaceError(
                f"space {name!r}: {field} has {len(values)} numbers; accepted: one per stage, as "
                f"many as widths ({len(space.widths)}), and at least one"
            )
    if sum(n for n in space.repeats if n > 0) > DEEPEST:
        raise SpaceError(
            f"space {name!r}: repeats are {brief(space.repeats)}; accepted: at most {DEEPEST} "
            "layers in all"
        )
    of_stages: list[Rule] = [
        *(("repeats", n, n >= 1, WHOLE) for n in space.repeats),
        *(("strides", n, n in (1, 2), ONE_OR_TWO) for n in space.strides),
        ("stem_stride", space.stem_stride, space.stem_stride in (1, 2), ONE_OR_TWO),
    ]
    for field, value, fits, accepted in (*of_stages, *rules):
        if not fits:
            raise SpaceError(f"space {name!r}: {field} has {value}; accepted: {accepted}")
