"""Procgen: sixteen games whose levels are made from numbers (arXiv 1912.01588), by `envpool`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import ConfigError
from morphogen.tasks.policies.environments.base import (
    Environments,
    Observations,
    Source,
    Step,
    part_of,
)
from morphogen.tasks.policies.environments.missing import needed

GAMES = (
    *("bigfish", "bossfight", "caveflyer", "chaser", "climber", "coinrun", "dodgeball", "fruitbot"),
    *("heist", "jumper", "leaper", "maze", "miner", "ninja", "plunder", "starpilot"),
)

SIDE = 64
"""Pixels along a side of the pictures."""

BLOCK = 2**29
"""Levels of the parts lie in blocks of so many numbers, so that no level is in two parts."""


@dataclass(frozen=True)
class Procgen(Source):
    """One of the games, in easy mode, with the backgrounds of the published protocol.

    The training part has a few levels. Those of the two others are drawn from half a thousand
    million others each: the published protocol tests on all levels, of which the training levels
    are too few to meet.
    """

    game: str
    train_levels: int
    first_level: int

    @classmethod
    def of(cls, game: str, *, train_levels: int, first_level: int, side: int = 0) -> Procgen:
        """The game of this name; pictures are averaged to `side` pixels along each side, if any."""
        side = side or SIDE
        if side > SIDE or SIDE % side:
            raise ConfigError(
                f"side is {side}; accepted: pixels along a side of which {SIDE} is a multiple, or 0"
            )
        if first_level + train_levels > BLOCK:
            raise ConfigError(
                f"first_level is {first_level} of {train_levels} levels; accepted: levels below "
                f"{BLOCK}, the others are for validation and test"
            )
        return cls(
            name=f"procgen/{game}",
            actions=15,
            shape=(3, side, side),
            scale=255.0,
            prepared=(
                *([f"pictures are averaged to {side} x {side} pixels"] if side < SIDE else []),
                "pixels are divided by 255",
            ),
            stored=False,
            game=game,
            train_levels=train_levels,
            first_level=first_level,
        )

    def make(self, seeds: Sequence[int]) -> ProcgenEnvironments:
        """New games, one for each seed, on the levels of their part."""
        part = part_of(seeds[0])
        first, count = {
            "train": (self.first_level, self.train_levels),
            "valid": (BLOCK, BLOCK),
            "test": (2 * BLOCK, BLOCK),
        }[part]
        made = needed("envpool").make_gymnasium(
            f"{self.game.capitalize()}Easy-v0",
            num_envs=len(seeds),
            env_seed=list(seeds),
            num_levels=count,
            start_level=first,
            num_threads=1,
        )
        return ProcgenEnvironments(made, len(seeds), self.shape[1])

    def levels(self, part: str) -> str:
        """Which levels are played in a part."""
        if part == "train":
            last = self.first_level + self.train_levels - 1
            return f"levels {self.first_level} to {last} of {self.game}, easy"
        where = "2^29 to 2^30" if part == "valid" else "2^30 to 3 x 2^29"
        return f"levels {where} of {self.game}, easy, none of which is in another part"


class ProcgenEnvironments(Environments):
    """A pool of games; each begins a new level at once when one has ended.

    Args:
        made: of `envpool`, with the interface of Gymnasium.
        count: games in it.
        side: pixels along a side of what is seen.
    """

    def __init__(self, made: Any, count: int, side: int = SIDE) -> None:
        self._made, self.count, self._side = made, count, side

    def reset(self) -> Observations:
        """Begin the first episodes."""
        return self._seen(self._made.reset()[0])

    def step(self, actions: NDArray[np.int64]) -> Step:
        """Take an action in each."""
        seen, rewards, over, cut, _ = self._made.step(actions.astype(np.int32))
        seen, cut = self._seen(seen), np.asarray(cut) & ~np.asarray(over)
        ended = np.asarray(over) | cut
        final = seen[cut]
        if ended.any():  # the pool itself would begin them with the next step, whatever its action
            begun, info = self._made.reset(np.flatnonzero(ended).astype(np.int32))
            seen[info["env_id"]] = self._seen(begun)
        return Step(seen, np.asarray(rewards, dtype=np.float64), ended, cut, final)

    def _seen(self, pictures: NDArray[np.uint8]) -> Observations:
        """Pictures [n, 3, 64, 64], averaged; a copy, since the pool writes them anew."""
        return averaged(np.array(pictures), self._side)


def averaged(pictures: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Means of squares of pixels, rounded: [n, c, s, s] -> [n, c, side, side]."""
    n, channels, high, wide = pictures.shape
    if side == high:
        return pictures
    squares = pictures.reshape(n, channels, side, high // side, side, wide // side)
    pixels = (high // side) * (wide // side)
    total: NDArray[np.uint32] = squares.sum(axis=(3, 5), dtype=np.uint32)
    rounded: NDArray[np.uint8] = ((total + pixels // 2) // pixels).astype(np.uint8)
    return rounded
