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
    def of(cls, game: str, *, train_levels: int, first_level: int) -> Procgen:
        """The game of this name."""
        if first_level + train_levels > BLOCK:
            raise ConfigError(
                f"first_level is {first_level} of {train_levels} levels; accepted: levels below "
                f"{BLOCK}, the others are for validation and test"
            )
        return cls(
            name=f"procgen/{game}",
            actions=15,
            shape=(3, 64, 64),
            scale=255.0,
            prepared=("pixels are divided by 255",),
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
        return ProcgenEnvironments(made, len(seeds))

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
    """

    def __init__(self, made: Any, count: int) -> None:
        self._made, self.count = made, count

    def reset(self) -> Observations:
        """Begin the first episodes."""
        return np.array(self._made.reset()[0])

    def step(self, actions: NDArray[np.int64]) -> Step:
        """Take an action in each."""
        seen, rewards, over, cut, _ = self._made.step(actions.astype(np.int32))
        seen, cut = np.array(seen), np.asarray(cut) & ~np.asarray(over)
        ended = np.asarray(over) | cut
        final = seen[cut]
        if ended.any():  # the pool itself would begin them with the next step, whatever its action
            begun, info = self._made.reset(np.flatnonzero(ended).astype(np.int32))
            seen[info["env_id"]] = begun
        return Step(seen, np.asarray(rewards, dtype=np.float64), ended, cut, final)
