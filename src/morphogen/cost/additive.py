"""Counts of thousands of architectures: a sum over choices, where the counts are one.

In most spaces a count is a constant plus an amount for the value of each choice. Whether that is so
is not declared, it is measured: the amounts are solved from networks of as many independent
architectures as there are amounts, and then held against further networks, chosen so that they
contain all pairs of values of two choices if they can. A count that is missed by one of them is
not additive, and is counted on the network of every architecture.

Sampling under a limit asks for many more costs than are evaluated, and a look-up costs some
microseconds where a network costs tens of milliseconds. The same numbers either way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from morphogen.core import Architecture
from morphogen.cost.count import Cost, Input, of
from morphogen.spaces import Constrained, SearchSpace
from morphogen.supernets import NetworkSpec

FIELDS = ("params", "macs", "flops", "memory_access", "activation_bytes")
"""Fields of `Cost` that may be sums; `peak_bytes` is a maximum."""

STILL = 200
"""Draws in a row that bring nothing new, after which nothing new is expected."""

CANDIDATES = 20
"""Draws from which each architecture of the check is chosen: the one with most new pairs."""

_NEAR = 1e-3
"""How far from a whole number a sum may be: solving rounds by much less."""


class Additive:
    """Amounts for the values of choices, for those counts that are sums of them.

    Args:
        space: of the architectures.
        weights: field of `Cost` -> float64 amounts [values of all choices], choice after choice.
    """

    def __init__(self, space: SearchSpace, weights: Mapping[str, NDArray[np.float64]]) -> None:
        self._columns = _columns(space)
        self._weights = dict(weights)

    @property
    def fields(self) -> tuple[str, ...]:
        """The counts that are sums."""
        return tuple(self._weights)

    def count(self, arch: Architecture, field: str) -> int:
        """One of `fields` of an architecture of the space."""
        weights = self._weights[field]
        return round(float(sum(weights[self._columns[item]] for item in arch.items())))


def fit(
    space: SearchSpace,
    count: Callable[[Architecture], Cost],
    known: Mapping[Architecture, Cost] | None = None,
) -> Additive:
    """Which counts of `space` are sums over its choices, and of what.

    Builds two to three times as many networks as there are options in all choices.

    Args:
        space: the space.
        count: the counts of an architecture's network.
        known: counts that are known already; the sums must give them, too.
    """
    fitted, checked = plan(space)
    columns = _columns(space)
    counts = {arch: count(arch) for arch in fitted}
    rows = np.stack([_row(arch, columns) for arch in counts])
    counts |= {arch: count(arch) for arch in checked} | dict(known or {})
    tests = np.stack([_row(arch, columns) for arch in counts])
    weights: dict[str, NDArray[np.float64]] = {}
    for field in FIELDS:
        wanted = np.array([getattr(c, field) for c in counts.values()], np.float64)
        found = np.linalg.lstsq(rows, wanted[: len(rows)], rcond=None)[0]
        solved = found.astype(np.float64)
        if np.abs(tests @ solved - wanted).max() < _NEAR:
            weights[field] = solved
    return Additive(space, weights)


def plan(space: SearchSpace) -> tuple[list[Architecture], list[Architecture]]:
    """The architectures from which amounts are solved, and those on which they are checked.

    Always the same ones for a space. The first are as many as there are independent amounts: 1 and,
    for each choice, its values but one, fewer where choices constrain one another. The second are
    at most twice as many; together they contain all pairs of values of two choices, if so many can.
    """
    rng, columns = np.random.default_rng(0), _columns(space)
    most = 1 + sum(len(c.values) - 1 for c in space.choices)
    fitted: list[Architecture] = []
    basis = np.empty((0, len(columns)))
    still = 0
    while len(fitted) < min(most, space.size()) and still < STILL:
        arch = space.sample(rng)
        rest = _row(arch, columns)
        for _ in range(2):  # twice, for the rounding of the first time
            rest = rest - basis.T @ (basis @ rest)
        still += 1
        if np.linalg.norm(rest) > 1e-6:
            fitted.append(arch)
            basis = np.vstack([basis, rest / np.linalg.norm(rest)])
            still = 0
    checked: list[Architecture] = []
    seen: set[object] = set()
    still = 0
    while len(checked) < 2 * len(fitted) and still < STILL:
        drawn = [space.sample(rng) for _ in range(CANDIDATES)]
        news = [set(_pairs(arch)) - seen for arch in drawn]
        best = max(range(CANDIDATES), key=lambda i: len(news[i]))
        still = 0 if news[best] else still + CANDIDATES
        if news[best]:
            checked.append(drawn[best])
            seen |= news[best]
    return fitted, checked


class Counts:
    """Counts of architectures of one space, one by one at first, by sums when they become many.

    After as many networks as `fit` would build, it is called: who asks for a few architectures
    pays for these, who asks for thousands pays at most twice what sums cost.

    Args:
        space: of the architectures.
        spec: size of the networks.
        image: one input, see `Input`.
    """

    def __init__(self, space: SearchSpace, spec: NetworkSpec, image: Input) -> None:
        # What a limit refuses has a cost, too.
        self.space: SearchSpace = space.inner if isinstance(space, Constrained) else space
        self.spec, self.image = spec, image
        self.sums: Additive | None = None
        """None: not yet fitted."""
        self._counted: dict[Architecture, Cost] = {}
        self._enough = 2 * sum(len(c.values) for c in self.space.choices)

    def __call__(self, arch: Architecture, field: str) -> int:
        """A field of `Cost` of an architecture."""
        arch = self.space.check(arch)
        if arch in self._counted:
            return self._field(arch, field)
        if self.sums is None and len(self._counted) >= self._enough:
            self.sums = fit(self.space, self._network, self._counted)
        if self.sums is not None and self.summed(field):
            return self.sums.count(arch, field)
        return self._field(arch, field)

    @property
    def networks(self) -> int:
        """Networks that were counted, besides those from which sums are made."""
        return len(self._counted)

    def summed(self, field: str) -> bool:
        """Whether this field of `Cost` is a sum by now, and takes no network any more."""
        return self.sums is not None and field in self.sums.fields

    def _network(self, arch: Architecture) -> Cost:
        return of(self.space, arch, self.spec, self.image)

    def _field(self, arch: Architecture, field: str) -> int:
        if arch not in self._counted:
            self._counted[arch] = self._network(arch)
        value: int = getattr(self._counted[arch], field)
        return value


Item = tuple[str, tuple[str, ...]]
"""A choice's name and a value of it."""


def _columns(space: SearchSpace) -> dict[Item, int]:
    items = [(choice.name, value) for choice in space.choices for value in choice.values]
    return {item: i for i, item in enumerate(items)}


def _row(arch: Architecture, columns: Mapping[Item, int]) -> NDArray[np.float64]:
    row = np.zeros(len(columns))
    row[[columns[item] for item in arch.items()]] = 1
    return row


def _pairs(arch: Architecture) -> Iterator[tuple[Item, Item]]:
    items: Sequence[Item] = sorted(arch.items())
    return combinations(items, 2)
