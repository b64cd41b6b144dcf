"""Masks over the decisions of a space: which options are allowed, as a value with an algebra.

The leaves of a split supernet and the stages of a shrinking one are masks on one supernet: nothing
is built anew, and architectures of a mask are architectures of the whole space, in its notation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from morphogen.core import Architecture, Choice, SpaceError
from morphogen.spaces.base import OptionScores, SearchSpace
from morphogen.spaces.constrained import Constrained


@dataclass(frozen=True)
class SubspaceMask:
    """The architectures of a space that keep only allowed options. Immutable and hashable.

    Few-shot NAS (Zhao et al., ICML 2021, arXiv 2006.06863) and GM-NAS (Hu et al., ICLR 2022, arXiv
    2203.15207) split such masks, progressive shrinking (pEvoNAS) intersects them. The mask of live
    options of a supernet is `live_masks(mask.whole, mask.allowed)`.
    """

    whole: SearchSpace
    options: tuple[tuple[str, ...], ...]
    """Allowed options of each choice, in the space's order; `of` puts them there."""

    @classmethod
    def of(
        cls, space: SearchSpace, allowed: Mapping[str, Collection[str]] | None = None
    ) -> SubspaceMask:
        """The mask of these options, and of all options of choices that are not named.

        Raises:
            UnknownNameError: there is no such choice, or option.
        """
        named = allowed or {}
        for name, options in named.items():
            for option in options:
                space.choice(name).index(option)
        return cls(
            space,
            tuple(
                tuple(o for o in c.options if o in named[c.name]) if c.name in named else c.options
                for c in space.choices
            ),
        )

    @cached_property
    def allowed(self) -> Mapping[str, tuple[str, ...]]:
        """Every choice with its allowed options: plain values, of which `of` makes the mask."""
        names = (c.name for c in self.whole.choices)
        return dict(zip(names, self.options, strict=True))

    @property
    def open(self) -> tuple[str, ...]:
        """The choices with two allowed options or more, by name."""
        return tuple(name for name, options in self.allowed.items() if len(options) > 1)

    @property
    def empty(self) -> bool:
        """Whether there is no architecture.

        Some choice has no allowed option, or fewer than it must keep; or the space has a rule of
        its own that nothing allowed can satisfy (a node of the DARTS cell keeps two operations
        other than `none`). Limits are not asked.
        """
        try:
            return self._short is not None or not self.space.choices
        except SpaceError:
            return True

    @property
    def _short(self) -> Choice | None:
        """The first choice that makes the mask empty."""
        pairs = zip(self.whole.choices, self.options, strict=True)
        return next((c for c, options in pairs if len(options) < max(c.least, 1)), None)

    @cached_property
    def space(self) -> SearchSpace:
        """The space of these architectures, of the same kind and under the same limits.

        Of all options it is the whole space itself, so that it draws alike.

        Raises:
            SpaceError: there are none; it names the choice.
        """
        short = self._short
        if short is not None:
            raise SpaceError(
                f"choice {short.name!r} is left {len(self.allowed[short.name])} options; accepted: "
                f"a mask that allows {max(short.least, 1)} or more"
            )
        shrunk = {
            choice.name: options
            for choice, options in zip(self.whole.choices, self.options, strict=True)
            if options != choice.options
        }
        return self.whole.restrict(shrunk) if shrunk else self.whole

    # -- algebra -----------------------------------------------------------------------------

    def __and__(self, other: SubspaceMask) -> Self:
        """What both allow; it may be empty.

        Raises:
            SpaceError: they are masks of different spaces.
        """
        if self.whole != other.whole:
            raise SpaceError(
                f"masks of space {self.whole.name!r} and of space {other.whole.name!r} do not "
                "intersect; accepted: two of one space"
            )
        return type(self)(
            self.whole,
            tuple(
                tuple(o for o in mine if o in theirs)
                for mine, theirs in zip(self.options, other.options, strict=True)
            ),
        )

    def __le__(self, other: SubspaceMask) -> bool:
        """Whether the other allows all that this one does."""
        return self & other == self

    def restrict(self, allowed: Mapping[str, Collection[str]]) -> Self:
        """What this mask and these options allow; choices that are not named stay as they are."""
        return self & SubspaceMask.of(self.whole, allowed)

    def split(self, choice: str, groups: Iterable[Collection[str]]) -> list[Self]:
        """One mask for each group of the allowed options of `choice`, all else as here.

        Every architecture that keeps an option of the choice is in exactly one of them; one that
        drops the choice, where that is allowed (an edge of the DARTS cell), is in all.

        Raises:
            SpaceError: the groups are no partition of the allowed options, or the choice keeps
                several options at once.
        """
        groups = [tuple(group) for group in groups]
        given = sorted(option for group in groups for option in group)
        if given != sorted(self.allowed_of(choice)) or not all(groups):
            shown = " | ".join(", ".join(group) or "nothing" for group in groups)
            raise SpaceError(
                f"choice {choice!r} is split into {shown}; accepted: groups in which each of "
                f"{', '.join(self.allowed_of(choice))} is once"
            )
        most = self.whole.choice(choice).most
        if most > 1:
            raise SpaceError(
                f"choice {choice!r} keeps up to {most} options at once, which may be of several "
                "groups; accepted for a split: a choice that keeps one"
            )
        return [self.restrict({choice: group}) for group in groups]

    def allowed_of(self, choice: str) -> tuple[str, ...]:
        """The allowed options of a choice, or an `UnknownNameError`."""
        return self.allowed[self.whole.choice(choice).name]

    # -- architectures -----------------------------------------------------------------------

    def __contains__(self, arch: Architecture) -> bool:
        """Whether the architecture, one of the whole space, keeps only allowed options."""
        return all(set(arch[name]) <= set(options) for name, options in self.allowed.items())

    def derive(self, scores: OptionScores) -> Architecture:
        """The space's own rule among what is allowed.

        Args:
            scores: as of the whole space; those of other options are not read.
        """
        cut: dict[str, list[NDArray[np.floating]]] = {group: [] for group in self.whole.groups}
        for choice, row in self.whole.rows(scores):
            positions = [choice.index(option) for option in self.allowed[choice.name]]
            cut[choice.group].append(row[positions])
        widths = {group: mask.shape[1] for group, mask in self.space.masks.items()}
        return self.space.derive(
            {
                group: np.stack([np.pad(row, (0, widths[group] - len(row))) for row in rows])
                for group, rows in cut.items()
            }
        )

    def count(self) -> int:
        """Number of architectures, as the space counts them: 0 of an empty mask."""
        return 0 if self.empty else self.space.size()

    def sample(
        self,
        rng: np.random.Generator,
        valid: Callable[[Architecture], bool] | None = None,
        words: str = "what is valid",
    ) -> Architecture:
        """One architecture, uniformly at random from those that are valid.

        Args:
            rng: source of the draw; without `valid`, and with all options, as the space draws.
            valid: whether an architecture may be drawn; by rejection. Limits of the space hold too.
            words: what is valid, for the message.

        Raises:
            SpaceError: there is none, or none among 1,000 draws.
        """
        space = self.space if valid is None else Constrained(self.space, valid, words)
        return space.sample(rng)
