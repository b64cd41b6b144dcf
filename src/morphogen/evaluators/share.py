"""Which share of a space keeps limits on costs, and what the smallest architecture costs.

Networks are counted, or timed for a limit on latency; nothing is trained. In a space whose counts
are sums over its choices (`cost.additive`) thousands cost no more than the first hundred, and a
small space is listed; in others a few dozen are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from morphogen import cost
from morphogen.core import Architecture, CapabilityError, ConfigError, SpaceError
from morphogen.core.statistics import proportion
from morphogen.evaluators.limits import Limit
from morphogen.evaluators.objectives import Costs
from morphogen.spaces import SearchSpace

LISTED = 20_000
"""Architectures of a space that is listed, where counting one more takes no network."""

DRAWN = 1_000
"""Architectures that are drawn else."""

NETWORKS = 80
"""Networks that are built to count them, at most; a space with so few architectures is listed."""

TIMED = 16
"""Networks that are timed for a limit on latency."""


@dataclass(frozen=True)
class Share:
    """How many architectures keep the limits."""

    kept: int
    """0: one that does was found, but none that was drawn does."""
    of: int
    exact: bool
    """Whether all architectures were asked, and not some that were drawn."""
    sentence: str


def share_of(
    space: SearchSpace, limits: Sequence[Limit], costs: Costs, rng: np.random.Generator
) -> Share:
    """The share of a space that keeps the limits.

    Args:
        space: the whole space.
        limits: one at least.
        costs: of its architectures.
        rng: for what is drawn.

    Raises:
        ConfigError: none keeps them, as far as can be found: with what the smallest costs.
    """
    words, excess = ", ".join(limit.text for limit in limits), costs.excess(limits)
    asked, exact = _asked(space, limits, costs, rng)
    values = [excess(arch) for arch in asked]
    kept = sum(value <= 1 for value in values)
    nearest = asked[int(np.argmin(values))]
    found = ""
    if not kept:
        nearest = _refuse_impossible(space, limits, costs, asked, rng, exact=exact)
        found = "; one that does was found move by move, and has " + " and ".join(
            costs.said(nearest, limit.name) for limit in limits
        )
    timed = ", as timed now" if any(limit.name == "latency" for limit in limits) else ""
    if exact:
        sentence = (
            f"{kept:,} of the {len(asked):,} architectures keep the limit {words}{timed} "
            f"({_percent(kept / len(asked))} %)"
        )
    else:
        low, high = (_percent(end) for end in proportion(kept, len(asked)))
        sentence = (
            f"{kept:,} of {len(asked):,} architectures drawn at random keep the limit {words}"
            f"{timed}: {low} to {high} % of the space (95 % interval){found}"
        )
    return Share(kept, len(asked), exact, sentence)


def _percent(share: float) -> str:
    """Three digits of large shares, two of small ones."""
    percent = 100 * share
    return f"{percent:.3g}" if percent >= 10 else f"{percent:.2g}"


def _asked(
    space: SearchSpace, limits: Sequence[Limit], costs: Costs, rng: np.random.Generator
) -> tuple[list[Architecture], bool]:
    """Whose costs are asked for, and whether that is all of the space."""
    names = [limit.name for limit in limits]
    if "latency" in names:
        if space.size() <= TIMED:
            return space.enumerate(), True
        return [space.sample(rng) for _ in range(TIMED)], False
    if space.size() <= NETWORKS:
        return space.enumerate(), True
    drawn: list[Architecture] = []
    while len(drawn) < DRAWN and (costs.networks < NETWORKS or costs.quick(names)):
        drawn.append(space.sample(rng))
        for name in names:
            costs(drawn[-1], name)
    if costs.quick(names) and space.size() <= LISTED:
        return space.enumerate(), True
    return drawn, False


def _refuse_impossible(
    space: SearchSpace,
    limits: Sequence[Limit],
    costs: Costs,
    asked: Sequence[Architecture],
    rng: np.random.Generator,
    *,
    exact: bool,
) -> Architecture:
    """An architecture that keeps the limits.

    Raises:
        ConfigError: none was found.
    """
    words = ", ".join(limit.text for limit in limits)
    for limit in limits:
        excess = costs.excess([limit])
        start = min(asked, key=excess)
        least, proven = (start, True) if exact else smallest(space, limit.name, costs, start, rng)
        if excess(least) > 1:
            known = "" if proven else " that was found"
            raise ConfigError(
                f"limit is {limit.text!r}, which no architecture of {space.name}{known} keeps: the "
                f"smallest has {costs.said(least, limit.name)}; accepted: that or more, or a "
                "smaller network (channels, depth)"
            )
        if len(limits) == 1:
            return least
    excess = costs.excess(limits)
    found = min(asked, key=excess)
    if not exact:
        found, _ = _descended(space, excess, costs, limits, found, rng)
    if excess(found) > 1:
        held = " and ".join(costs.said(found, limit.name) for limit in limits)
        raise ConfigError(
            f"limit is {words!r}, which no architecture of {space.name} "
            f"{'keeps' if exact else 'that was found keeps'} together: the nearest has {held}; "
            "accepted: each of them alone can be kept, so a larger number in one"
        )
    return found


def smallest(
    space: SearchSpace,
    name: str,
    costs: Costs,
    start: Architecture,
    rng: np.random.Generator,
) -> tuple[Architecture, bool]:
    """The architecture that costs least, and whether that is proven.

    From `start`, or from the options that cost least in the supernet, one move after the other.
    Where a count is a sum over choices that do not constrain one another, that is the least; else
    it is the least that was found.

    Args:
        space: the whole space.
        name: of the cost.
        costs: of its architectures.
        start: where to begin.
        rng: for the order of the moves.
    """
    limits = [Limit(name, 1.0, name)]
    begin = [start, *_cheapest_options(space, name, costs)]

    def value(arch: Architecture) -> float:
        return costs(arch, name)

    found, whole = _descended(space, value, costs, limits, min(begin, key=value), rng)
    free = space.size() == np.prod([float(len(c.values)) for c in space.choices])
    return found, whole and free and costs.quick([name])


def _cheapest_options(space: SearchSpace, name: str, costs: Costs) -> list[Architecture]:
    """The architecture that a supernet's options of least cost give, where one has such options."""
    field = {"memory": "memory_access", "latency": "flops"}.get(name, name)
    try:
        known = getattr(cost.of_options(space, costs.spec, costs.image), field)
        return [space.derive({group: -values for group, values in known.items()})]
    except (CapabilityError, SpaceError):
        return []


def _descended(
    space: SearchSpace,
    value: Callable[[Architecture], float],
    costs: Costs,
    limits: Sequence[Limit],
    start: Architecture,
    rng: np.random.Generator,
) -> tuple[Architecture, bool]:
    """Where moves that lower a value lead to, and whether none is left.

    Args:
        space: the whole space.
        value: to be lowered.
        costs: from which it is.
        limits: of the costs that it asks for.
        start: where to begin.
        rng: for the order of the moves.
    """
    names = [limit.name for limit in limits]
    best, least = start, value(start)
    most = TIMED if "latency" in names else NETWORKS
    networks = costs.networks
    while True:
        near = space.neighbours(best)
        for i in rng.permutation(len(near)):
            if costs.networks - networks >= most and not costs.quick(names):
                return best, False
            found = value(near[i])
            if found < least:
                best, least = near[i], found
                break
        else:
            return best, True
