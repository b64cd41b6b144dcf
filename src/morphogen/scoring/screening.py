"""Candidates without training: many architectures are drawn and scored, few go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

import numpy as np

from morphogen.core import Architecture, ConfigError, SpaceError
from morphogen.core.rng import numpy_stream
from morphogen.proxies import batch_of, rank_sum, score_architecture, suited
from morphogen.spaces import SearchSpace
from morphogen.tasks import Batch
from morphogen.tasks.problem import Problem

UNREAD = -1e30
"""Score of what a proxy finds nothing in: checkpoints hold no infinities."""


def changed(
    space: SearchSpace, arch: Architecture, most: int, rng: np.random.Generator
) -> Architecture:
    """An architecture after one mutation or more, at most `most`."""
    for _ in range(1 + int(rng.integers(most))):
        try:
            arch = space.mutate(arch, rng)
        except SpaceError:  # nothing else is in the space, or within its limits
            break
    return arch


def drawn(
    space: SearchSpace,
    count: int,
    rng: np.random.Generator,
    *,
    around: Architecture | None = None,
    near: int = 0,
) -> dict[str, bool]:
    """Different architectures in the space's notation, as many as are asked for or there are.

    Args:
        space: of which.
        count: how many.
        rng: by which they are drawn.
        around: every second one is this one after a few mutations; it is none of them itself.
        near: mutations at most; 0: all are drawn from the whole space.

    Returns:
        Text -> whether it is one of the mutated.
    """
    itself = "" if around is None else space.format(around)
    found: dict[str, bool] = {}
    for place in range(10 * count):  # a small space may not have as many
        close = around is not None and near > 0 and place % 2 == 1
        arch = changed(space, around, near, rng) if around and close else space.sample(rng)
        text = space.format(arch)
        if text != itself:
            found.setdefault(text, close)
        if len(found) == count:
            break
    return found


def best_of_bands(costs: Mapping[int, float], scores: Sequence[float], bands: int) -> list[int]:
    """The best of each band of cost in turn, then the second best of each, and so on.

    Args:
        costs: of the architectures that may be chosen, by their places.
        scores: of all architectures, higher is better.
        bands: of equally many, from cheap to dear.
    """
    cheap_first = sorted(costs, key=lambda place: costs[place])
    ranked = [
        sorted(band.tolist(), key=lambda place: -scores[place])
        for band in np.array_split(np.array(cheap_first), bands)
    ]
    return [place for several in zip_longest(*ranked) for place in several if place is not None]


def ranks(proxies: Sequence[Sequence[float]]) -> list[float]:
    """The sum of each architecture's ranks by the proxies: [architectures][proxies] scores."""
    return list(rank_sum(list(zip(*proxies, strict=True))))


def examined(problem: Problem) -> Batch:
    """The batch on which proxies look."""
    return batch_of(problem.task, problem.batch_size, problem.seed, problem.devices.device)


def scores(names: Sequence[str], problem: Problem, arch: Architecture) -> dict[str, float]:
    """Of an architecture, untrained, by each of some proxies; `UNREAD` where one reads nothing."""
    space, task = problem.space, problem.task
    try:
        found = score_architecture(
            names, space, arch, examined(problem), problem.spec, problem.seed, loss=task.loss
        )
    except ConfigError:  # it has, unlike others, nothing that a proxy reads
        return dict.fromkeys(names, UNREAD)
    return {name: max(found[name], UNREAD) for name in names}


def computable(names: Sequence[str], problem: Problem) -> list[str]:
    """Those of some proxies that can be had: not every task has classes, nor every network ReLUs.

    Args:
        names: keys of `proxies.PROXIES`.
        problem: on whose data, and of whose networks.
    """
    batch, found = examined(problem), []
    arch = problem.space.sample(numpy_stream(problem.seed, "computable"))
    for name in suited(names, batch.x, batch.y):
        try:
            score_architecture(
                [name], problem.space, arch, batch, problem.spec, loss=problem.task.loss
            )
        except ConfigError:  # it says what the network lacks
            continue
        found.append(name)
    return found
