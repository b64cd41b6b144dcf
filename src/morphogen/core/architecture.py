"""Choices and architectures: the two values everything else speaks of. Pure Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from morphogen.core.errors import ArchitectureError, SpaceError, UnknownNameError


@dataclass(frozen=True)
class Choice:
    """One decision of a search space, with named options.

    An architecture keeps between `least` and `most` of the options: exactly one for an edge of
    NAS-Bench-201, none or one for an edge of the DARTS cell (an edge may be dropped), two of
    three for the inputs of a node of NAS-Bench-1Shot1.
    """

    name: str
    options: tuple[str, ...]
    group: str = ""
    """Choices of one group are the rows of one matrix of architecture parameters, gates and scores;
    a choice without a group is a matrix of one row under its own name."""
    least: int = 1
    most: int = 1

    def __post_init__(self) -> None:
        if not self.options:
            raise SpaceError(f"choice {self.name!r} has no options; it needs at least one")
        if len(set(self.options)) != len(self.options):
            raise SpaceError(f"choice {self.name!r} has an option twice: {', '.join(self.options)}")
        if not 0 <= self.least <= self.most <= len(self.options):
            raise SpaceError(
                f"choice {self.name!r} keeps {self.least} to {self.most} of "
                f"{len(self.options)} options; accepted: 0 <= least <= most <= number of options"
            )
        object.__setattr__(self, "group", self.group or self.name)

    @cached_property
    def values(self) -> tuple[tuple[str, ...], ...]:
        """All values that the choice can have: the subsets of its options that it may keep."""
        return tuple(
            subset
            for k in range(self.least, self.most + 1)
            for subset in combinations(self.options, k)
        )

    def index(self, option: str) -> int:
        """Position of `option`; an `UnknownNameError` names the options there are."""
        if option not in self.options:
            raise UnknownNameError(f"option of choice {self.name!r}", option, self.options)
        return self.options.index(option)


class Architecture(Mapping[str, tuple[str, ...]]):
    """One value per choice: the options kept, in the choice's own order. Immutable and hashable.

    `arch["edge_0_1"]` is a tuple of option names: empty for a dropped edge, one name in most
    spaces. Equality ignores the order in which choices were given.
    """

    __slots__ = ("_hash", "_kept")

    def __init__(self, kept: Mapping[str, str | Iterable[str]]) -> None:
        self._kept: dict[str, tuple[str, ...]] = {
            name: (value,) if isinstance(value, str) else tuple(value)
            for name, value in kept.items()
        }
        self._hash = hash(frozenset(self._kept.items()))

    def __getitem__(self, name: str) -> tuple[str, ...]:
        return self._kept[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Architecture) and self._kept == other._kept

    def __repr__(self) -> str:
        inside = ", ".join(f"{k}={'+'.join(v) or '(dropped)'}" for k, v in self._kept.items())
        return f"Architecture({inside})"

    def __reduce__(self) -> tuple[type[Architecture], tuple[dict[str, tuple[str, ...]]]]:
        # Rebuilt, not copied: the hash of a string differs from process to process.
        return Architecture, (self._kept,)

    def one(self, name: str) -> str:
        """The single option kept by choice `name`, or an `ArchitectureError` if not just one is."""
        kept = self._kept[name]
        if len(kept) != 1:
            raise ArchitectureError(f"choice {name!r} keeps {len(kept)} options, not one")
        return kept[0]

    def replace(self, /, **changes: str | Iterable[str]) -> Architecture:
        """A new architecture in which the named choices have other values."""
        return Architecture({**self._kept, **changes})
