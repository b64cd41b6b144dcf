"""A search space in which only some architectures are accepted: those within a limit, say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, Self

import numpy as np

from morphogen.core import Architecture, SpaceError
from morphogen.spaces.base import SearchSpace

TRIES = 1_000
"""Draws after which an architecture is looked for, or a constraint counts as one that nothing
satisfies."""

FEW = 20
"""The same, where hardly any is known to satisfy it."""

STEPS = 100
"""Mutations tried at each distance before going one further."""


class Constrained(SearchSpace):
    """`space` without the architectures that `accept` refuses.

    It proposes none of them: `sample`, `mutate`, `crossover`, `neighbours` and `enumerate` reject.
    In all else it is the space: an instance of its class, with its capabilities, notation,
    encodings, networks and benchmark. `check` is the space's too, for it is about form; `allows`
    asks for the constraint, and `remarks` says when it is broken (`derive` of a supernet's scores
    knows nothing of it).

    Args:
        space: the whole space.
        accept: whether an architecture is within the constraint. Asked often: let it remember.
        words: the constraint for messages, e.g. `params <= 1.2M`.
        excess: how far an architecture is from being accepted, less is nearer. With it one that is
            not drawn within `tries` is looked for, by mutations that do not lead away.
        tries: draws that may be refused, one after the other.
    """

    inner: SearchSpace
    accept: Callable[[Architecture], bool]
    words: str
    excess: Callable[[Architecture], float] | None
    tries: int

    def __new__(
        cls,
        space: SearchSpace,
        accept: Callable[[Architecture], bool],
        words: str,
        excess: Callable[[Architecture], float] | None = None,
        tries: int = TRIES,
    ) -> Constrained:
        """An object whose class is both `Constrained` and the space's own."""
        kind: Any = _kind(type(space))  # type: ignore[arg-type]  # a class has a hash
        made: Constrained = object.__new__(kind)
        return made

    def __init__(
        self,
        space: SearchSpace,
        accept: Callable[[Architecture], bool],
        words: str,
        excess: Callable[[Architecture], float] | None = None,
        tries: int = TRIES,
    ) -> None:
        self.__dict__.update(space.__dict__)
        self.inner, self.accept, self.words = space, accept, words
        self.excess, self.tries = excess, tries

    def allows(self, arch: Architecture) -> bool:
        """Whether the constraint accepts `arch`; an `ArchitectureError` if it is not of the space.

        A space that was constrained twice asks both.
        """
        return self.accept(self.check(arch)) and self.inner.allows(arch)

    def size(self) -> int:
        """Number of architectures of the whole space, of which the constraint leaves fewer."""
        return self.inner.size()

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One accepted architecture, uniformly at random.

        After `tries` that were refused it is one that mutations lead to from the last of them, and
        no longer uniformly random.

        Raises:
            SpaceError: they lead to none.
        """
        for _ in range(self.tries):
            arch = self.inner.sample(rng)
            if self.accept(arch):
                return arch
        found = self._towards(arch, rng)
        if found is None:
            raise self._nothing(f"{self.tries:,} random architectures")
        return found

    def _towards(self, arch: Architecture, rng: np.random.Generator) -> Architecture | None:
        """An accepted architecture near a refused one, or None."""
        if self.excess is None:
            return None
        least = self.excess(arch)
        for _ in range(STEPS * len(self.choices)):
            if self.accept(arch):
                return arch
            child = self.inner.mutate(arch, rng)
            excess = self.excess(child)
            if excess <= least:
                arch, least = child, excess
        return None

    def neighbours(self, arch: Architecture) -> list[Architecture]:
        """The accepted ones of the space's neighbours; there may be none."""
        return [near for near in self.inner.neighbours(arch) if self.accept(near)]

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """A uniformly random accepted neighbour, or one from further away if none is accepted.

        Steps through refused architectures are taken only after 100 single ones (or `tries`, if
        these are fewer) were refused.

        Raises:
            SpaceError: nothing accepted within as many steps as there are choices.
        """
        steps = min(STEPS, self.tries)
        for distance in range(1, len(self.choices) + 1):
            for _ in range(steps):
                child = arch
                for _ in range(distance):
                    child = self.inner.mutate(child, rng)
                if child != arch and self.accept(child):
                    return child
        raise self._nothing(f"{steps * len(self.choices)} mutations of {self.format(arch)}")

    def crossover(
        self, first: Architecture, second: Architecture, rng: np.random.Generator
    ) -> Architecture:
        """An accepted child; after 100 refused ones (or `tries`) a parent, which is one, too."""
        for _ in range(min(STEPS, self.tries)):
            child = self.inner.crossover(first, second, rng)
            if self.accept(child):
                return child
        return self.check((first, second)[int(rng.integers(2))])

    def enumerate(self) -> list[Architecture]:
        """All accepted architectures, in the space's order."""
        return [arch for arch in self.inner.enumerate() if self.accept(arch)]

    def remarks(self, arch: Architecture) -> tuple[str, ...]:
        """As the space's, and a sentence if the constraint is broken."""
        broken = () if self.accept(self.check(arch)) else (f"it breaks the limit {self.words}",)
        return (*self.inner.remarks(arch), *broken)

    def restrict(self, allowed: Mapping[str, Collection[str]]) -> Self:
        """The sub-space, under the same constraint."""
        inner = self.inner.restrict(allowed)
        made: Any = Constrained(inner, self.accept, self.words, self.excess, self.tries)
        return made  # type: ignore[no-any-return]

    def _nothing(self, tried: str) -> SpaceError:
        return SpaceError(
            f"space {self.name!r}: none of {tried} satisfies {self.words}; accepted: a limit that "
            "more architectures keep"
        )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Constrained)
            and self.inner == other.inner
            and (self.accept, self.words) == (other.accept, other.words)
        )

    def __hash__(self) -> int:
        return hash((self.inner, self.words))

    def __reduce__(self) -> tuple[type[Constrained], tuple[Any, ...]]:
        # The class was made here, and cannot be found by name in another process.
        return Constrained, (self.inner, self.accept, self.words, self.excess, self.tries)


@cache
def _kind(kind: type[SearchSpace]) -> type[Constrained]:
    """The class of constrained spaces of one kind: supernets and benchmarks look for the kind."""
    if issubclass(kind, Constrained):
        return kind
    made: type[Constrained] = type(f"Constrained{kind.__name__}", (Constrained, kind), {})
    return made
