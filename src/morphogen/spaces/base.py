"""The contract of a search space: a set of architectures, and what can be asked of it.

Pure Python and numpy. A space never names a method; a method names the capabilities it needs.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from morphogen.core import Architecture, ArchitectureError, Choice, SpaceError, UnknownNameError
from morphogen.core.names import brief

LONGEST, LONGEST_OF_CHOICE = 10_000, 200
"""Signs of an architecture's text at most, in all and for each choice."""

OptionScores = Mapping[str, NDArray[np.floating]]
"""Group name -> array [choices of the group, widest number of options]: what `derive` reads."""


DecisionPlan = tuple[tuple[str, ...], ...]
"""Stages of decisions, one after the other: the names of the choices of each."""


class Capability:
    """Something a space can do and a method may need. Spaces inherit it; methods list it."""


class Discrete(Capability):
    """Architectures can be sampled, mutated, crossed and listed."""


class Differentiable(Capability):
    """A supernet with gates exists, and scores over its options can be discretised (`derive`)."""


class Encodable(Capability):
    """An architecture has a fixed-length numeric encoding."""


class Restrictable(Capability):
    """A sub-space with fewer options is again a space of the same kind."""


class Weighing(Capability):
    """An architecture may keep several options of a choice, and its network weighs them.

    The network has a factor for each, 1 unless a search that delivers it says otherwise:
    `Supernet.alone` makes it of a supernet and its gates.
    """


def capabilities(space: SearchSpace) -> tuple[type[Capability], ...]:
    """The capabilities of `space`, in a fixed order."""
    known = (Discrete, Differentiable, Encodable, Restrictable, Weighing)
    return tuple(c for c in known if isinstance(space, c))


def is_skip(option: str) -> bool:
    """Whether an option is a skip connection, by its name: `skip_connect`, `identity`."""
    return option.startswith(("skip", "identity"))


@dataclass(frozen=True)
class EdgeSelection:
    """Choices of which only `keep` have a value in the end: the edges into one node of a cell."""

    choices: tuple[str, ...]
    keep: int
    nothing: str = "none"
    """The option with which a choice carries nothing, and is the first to be dropped."""


class SearchSpace(Discrete, Encodable, Restrictable):
    """Every combination of one value per choice; the base of all spaces, and a space by itself.

    Spaces whose choices constrain one another override `check`, `size`, `sample`, `moves` and
    `derive`; spaces with a notation of their own override `read` and `format`.

    Args:
        name: how the command line and the run directory call the space.
        choices: the decisions, in a fixed order.
    """

    spatial_dims: ClassVar[int | None] = 2
    """Axes of what its networks take, beside the channels: 2 of images, 1 of signals, 0 of tokens
    (`supernets.sequences`); None: what the user's own module takes."""
    dense: ClassVar[bool] = False
    """Whether its networks give scores for every place along these axes, as for every pixel, or for
    every token, and not one row of them for all."""

    def __init__(self, name: str, choices: Sequence[Choice]) -> None:
        self.name = name
        self.choices = tuple(choices)
        names = [c.name for c in self.choices]
        double = sorted({n for n in names if names.count(n) > 1})
        if double:
            raise SpaceError(f"space {name!r} has two choices of one name: {', '.join(double)}")
        if not self.choices:
            raise SpaceError(f"space {name!r} has no choices; it needs at least one")

    # -- structure ---------------------------------------------------------------------------

    @cached_property
    def groups(self) -> Mapping[str, tuple[Choice, ...]]:
        """Group name -> its choices; row i of a group's matrix belongs to choice i."""
        grouped: dict[str, list[Choice]] = {}
        for choice in self.choices:
            grouped.setdefault(choice.group, []).append(choice)
        return {name: tuple(members) for name, members in grouped.items()}

    @cached_property
    def masks(self) -> Mapping[str, NDArray[np.bool_]]:
        """Group name -> bool array [choices, widest]: False where a row has no such option."""
        out = {}
        for name, members in self.groups.items():
            widest = max(len(c.options) for c in members)
            out[name] = np.array([[i < len(c.options) for i in range(widest)] for c in members])
        return out

    @cached_property
    def _by_name(self) -> Mapping[str, Choice]:
        return {c.name: c for c in self.choices}

    def choice(self, name: str) -> Choice:
        """The choice called `name`, or an `UnknownNameError`."""
        if name not in self._by_name:
            raise UnknownNameError(f"choice of space {self.name!r}", name, self._by_name)
        return self._by_name[name]

    def size(self) -> int:
        """Number of architectures."""
        return math.prod(
            sum(math.comb(len(c.options), k) for k in range(c.least, c.most + 1))
            for c in self.choices
        )

    def decision_plans(self) -> tuple[DecisionPlan, ...]:
        """In which order choices are decided by who decides one after the other.

        Plans (the cell types of a cell space) are decided by turns, each stage by stage: here one
        plan, choices that keep one option before those that keep several.
        """
        single = tuple(c.name for c in self.choices if c.most <= 1)
        several = tuple(c.name for c in self.choices if c.most > 1)
        return (tuple(stage for stage in (single, several) if stage),)

    def summed(self) -> tuple[tuple[str, ...], ...]:
        """The choices whose outputs are added up, by name: the edges into each node of a cell.

        Each choice is in one of them; here, each by itself.
        """
        return tuple((c.name,) for c in self.choices)

    def twins(self) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
        """Choices whose equality is a repetition, by name: what the two halves of a node do.

        Two tuples of equal length for each; the first choice of one has the options of the first
        of the other, and so on, unless the space is restricted.
        """
        return ()

    def edge_selections(self) -> tuple[EdgeSelection, ...]:
        """Where choices compete for places; each selection lies within one plan."""
        return ()

    # -- architectures -----------------------------------------------------------------------

    def check(self, arch: Architecture) -> Architecture:
        """`arch` in this space's own order, or an `ArchitectureError` that says what is wrong."""
        if not isinstance(arch, Architecture):
            raise ArchitectureError(
                f"an architecture is {brief(arch)}; accepted: an Architecture, as `parse` of space "
                f"{self.name!r} makes it of a text"
            )
        missing = [c.name for c in self.choices if c.name not in arch]
        if missing:
            raise ArchitectureError(f"space {self.name!r}: no value for choice {missing[0]!r}")
        for name in arch:
            self.choice(name)
        kept: dict[str, tuple[str, ...]] = {}
        for choice in self.choices:
            value = arch[choice.name]
            if len(value) == 1 and choice.least <= 1 <= choice.most:  # most of them: no sorting
                choice.index(value[0])
                kept[choice.name] = value
                continue
            order = sorted(choice.index(option) for option in value)
            if len(set(order)) != len(value) or not choice.least <= len(value) <= choice.most:
                many = f"{choice.least}" + (
                    f" to {choice.most}" if choice.most != choice.least else ""
                )
                raise ArchitectureError(
                    f"choice {choice.name!r} keeps {'+'.join(value) or 'nothing'}; "
                    f"accepted: {many} different of {', '.join(choice.options)}"
                )
            kept[choice.name] = tuple(choice.options[i] for i in order)
        # Already as it should be: the same object, since nothing can change it.
        same = list(arch) == list(kept) and all(arch[name] == kept[name] for name in kept)
        return arch if same else Architecture(kept)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One architecture, uniformly at random."""
        return Architecture(
            {c.name: c.values[int(rng.integers(len(c.values)))] for c in self.choices}
        )

    def neighbours(self, arch: Architecture) -> list[Architecture]:
        """All architectures that one move leads to, in a fixed order."""
        arch = self.check(arch)
        return [arch.replace(**move) for move in self.moves(arch)]

    def moves(self, arch: Architecture) -> list[dict[str, tuple[str, ...]]]:
        """The smallest changes, each as the values that become others; here of any one choice.

        No two lead to the same architecture, and none to `arch`, which is one of this space.
        """
        return [
            {c.name: value} for c in self.choices for value in c.values if value != arch[c.name]
        ]

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """A uniformly random neighbour (one choice takes another value); `arch` is not changed."""
        arch = self.check(arch)
        moves = self.moves(arch)
        if not moves:
            raise SpaceError(f"space {self.name!r} has one architecture; nothing can be mutated")
        return arch.replace(**moves[int(rng.integers(len(moves)))])

    def crossover(
        self, first: Architecture, second: Architecture, rng: np.random.Generator
    ) -> Architecture:
        """A child that takes each choice's value from either parent with equal chance."""
        first, second = self.check(first), self.check(second)
        coins = rng.integers(2, size=len(self.choices))
        pairs = zip(self.choices, coins, strict=True)
        return Architecture({c.name: (second if coin else first)[c.name] for c, coin in pairs})

    def enumerate(self) -> list[Architecture]:
        """All architectures. Meant for spaces of at most some hundred thousand."""
        names = [c.name for c in self.choices]
        values = product(*(c.values for c in self.choices))
        return [Architecture(dict(zip(names, value, strict=True))) for value in values]

    def remarks(self, arch: Architecture) -> tuple[str, ...]:
        """What a user should be told of `arch` (say, a disconnected cell), a sentence each."""
        self.check(arch)
        return ()

    def connected(self, arch: Architecture) -> bool:
        """Whether something of its input reaches its output; spaces in which it may not say so."""
        self.check(arch)
        return True

    def allows(self, arch: Architecture) -> bool:
        """Whether `arch`, which is of this space, is within its limits; here there are none."""
        return True

    # -- text --------------------------------------------------------------------------------

    def format(self, arch: Architecture) -> str:
        """The space's own notation; `parse(format(arch)) == arch`, exactly."""
        arch = self.check(arch)
        return ";".join(f"{name}={'+'.join(kept)}" for name, kept in arch.items())

    def parse(self, text: str) -> Architecture:
        """Read a text of whatever origin, or an `ArchitectureError` that says what is wrong."""
        if not isinstance(text, str):
            raise ArchitectureError(f"an architecture is {brief(text)}; accepted: its text")
        longest = max(LONGEST, LONGEST_OF_CHOICE * len(self.choices))
        if len(text) > longest:
            raise ArchitectureError(
                f"the text of an architecture begins {brief(text)} and has {len(text):,} signs; "
                f"accepted: at most {longest:,}"
            )
        return self.read(text)

    def read(self, text: str) -> Architecture:
        """Read the space's own notation, of a text that is not too long."""
        kept: dict[str, tuple[str, ...]] = {}
        for part in text.strip().split(";"):
            name, equals, value = part.partition("=")
            if not equals:
                raise ArchitectureError(
                    f"cannot read {part!r} in {text!r}; accepted: choice=option;choice=option;..."
                )
            if name.strip() in kept:
                raise ArchitectureError(f"choice {name.strip()!r} has two values in {text!r}")
            kept[name.strip()] = tuple(v for v in value.strip().split("+") if v)
        return self.check(Architecture(kept))

    # -- numbers -----------------------------------------------------------------------------

    def one_hot(self, arch: Architecture) -> dict[str, NDArray[np.float32]]:
        """Group name -> 0/1 array [choices, widest]: which options `arch` keeps."""
        arch = self.check(arch)
        out = {name: np.zeros(mask.shape, np.float32) for name, mask in self.masks.items()}
        for name, members in self.groups.items():
            for row, choice in enumerate(members):
                for option in arch[choice.name]:
                    out[name][row, choice.index(option)] = 1.0
        return out

    def encode(
        self, arch: Architecture, kind: Literal["onehot", "adjacency", "path"] = "onehot"
    ) -> NDArray[np.float32]:
        """A vector of fixed length. Every space has `onehot`; cell spaces add the others."""
        if kind != "onehot":
            raise UnknownNameError(f"encoding of space {self.name!r}", kind, ["onehot"])
        rows = self.one_hot(arch)
        return np.concatenate([rows[g][self.masks[g]] for g in self.groups])

    def derive(self, scores: OptionScores) -> Architecture:
        """The space's own discretization rule; here the best-scored option of every choice.

        Args:
            scores: per group an array [choices, widest]; a higher score is better. Entries that
                `masks` rules out are ignored. The first of equal scores wins.
        """
        kept = {
            choice.name: [choice.options[i] for i in _best(row, choice.most)]
            for choice, row in self.rows(scores)
        }
        return self.check(Architecture(kept))

    def rows(self, scores: OptionScores) -> list[tuple[Choice, NDArray[np.floating]]]:
        """Each choice with its row of `scores`, cut to its own options, in the order of choices.

        Raises:
            SpaceError: a group has no scores, or scores of another shape.
        """
        for group, mask in self.masks.items():
            shape = np.shape(scores[group]) if group in scores else None
            if shape != mask.shape:
                raise SpaceError(
                    f"scores of group {group!r} have shape {shape}; accepted in space "
                    f"{self.name!r}: {mask.shape}"
                )
        taken = dict.fromkeys(self.groups, 0)
        out = []
        for choice in self.choices:
            row = np.asarray(scores[choice.group])[taken[choice.group]]
            taken[choice.group] += 1
            out.append((choice, row[: len(choice.options)]))
        return out

    # -- sub-spaces --------------------------------------------------------------------------

    def restrict(self, allowed: Mapping[str, Collection[str]]) -> Self:
        """The sub-space in which the named choices have only the named options.

        Args:
            allowed: choice name -> options that stay, in any order; other choices stay as they are.
        """
        for name, options in allowed.items():
            for option in options:
                self.choice(name).index(option)
        choices = []
        for c in self.choices:
            if c.name in allowed:
                stay = tuple(o for o in c.options if o in allowed[c.name])
                c = Choice(c.name, stay, c.group, c.least, min(c.most, len(stay)))
            choices.append(c)
        return self._with(choices)

    def without(self, options: Collection[str]) -> Self:
        """The sub-space in which no choice has any of these options.

        Raises:
            UnknownNameError: no choice has an option of such a name.
            SpaceError: a choice would be left with nothing.
        """
        known = dict.fromkeys(o for c in self.choices for o in c.options)
        for option in options:
            if option not in known:
                raise UnknownNameError(f"option of space {self.name!r}", option, known)
        left = {c.name: [o for o in c.options if o not in options] for c in self.choices}
        for name, stay in left.items():
            if not stay:
                raise SpaceError(
                    f"choice {name!r} of space {self.name!r} has no option but "
                    f"{', '.join(self.choice(name).options)}; accepted: leave it one"
                )
        return self.restrict(left) if options else self

    def _with(self, choices: Sequence[Choice]) -> Self:
        """A space of the same kind with other choices; caches start empty."""
        new = copy.copy(self)
        for cached in ("groups", "masks", "_by_name"):
            new.__dict__.pop(cached, None)
        SearchSpace.__init__(new, self.name, choices)
        return new

    # -- writing and reading ---------------------------------------------------------------------

    def arguments(self) -> dict[str, Any]:
        """What the constructor of a class of one's own takes besides `name`, as plain values.

        `type(space)(name=space.name, **space.arguments())` is the whole space again.
        """
        return {}

    def network_sizes(self) -> dict[str, Any]:
        """Fields of `NetworkSpec` that this very space decides: the channels of its stem, say."""
        return {}

    def to_mapping(self) -> dict[str, Any]:
        """The space as plain values (YAML, JSON), which `spaces.read` makes an equal space of."""
        from morphogen.spaces.mapping import to_mapping

        return to_mapping(self)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SearchSpace)
            and type(self) is type(other)
            and (self.name, self.choices) == (other.name, other.choices)
            and self.arguments() == other.arguments()  # of which networks may be made
        )

    def __hash__(self) -> int:
        return hash((self.name, self.choices))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {len(self.choices)} choices>"


def _best(row: NDArray[np.floating], keep: int) -> list[int]:
    """Positions of the `keep` largest entries; ties keep the lower one."""
    return [int(i) for i in np.argsort(-row, kind="stable")[:keep]]
