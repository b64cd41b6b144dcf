"""MinAtar: five Atari games on ten by ten cells (arXiv 1903.03176), whose state can be stored."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core.errors import CheckpointError
from morphogen.tasks.policies.environments.base import Environments, Observations, Source, Step
from morphogen.tasks.policies.environments.missing import needed

GAMES = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")

LONGEST = 10_000
"""Frames after which an episode is cut: a good player of breakout never loses its ball."""


@dataclass(frozen=True)
class MinAtar(Source):
    """One of the games.

    The published protocol: sticky actions, and a difficulty that rises where the game has one. All
    six actions can be chosen in all games.
    """

    game: str
    sticky: float
    """Probability that the action before is taken again."""

    @classmethod
    def of(cls, game: str, *, sticky: float) -> MinAtar:
        """The game of this name."""
        with _quiet():
            made = needed("minatar").Environment(game, sticky)
        high, wide, channels = made.state_shape()
        return cls(
            name=f"minatar/{game}",
            actions=made.num_actions(),
            shape=(channels, high, wide),
            scale=1.0,
            prepared=(f"an action is repeated with probability {sticky:g}",) if sticky else (),
            stored=True,
            game=game,
            sticky=sticky,
        )

    def make(self, seeds: Sequence[int]) -> MinAtarEnvironments:
        """New games, one for each seed."""
        return MinAtarEnvironments(self.game, seeds, self.sticky)

    def levels(self, part: str) -> str:
        """All parts are the same game with other draws."""
        return f"games of {self.game} with seeds of their own"


class MinAtarEnvironments(Environments):
    """Games side by side.

    Args:
        game: its name.
        seeds: one for each.
        sticky: probability that the action before is taken again.
    """

    def __init__(self, game: str, seeds: Sequence[int], sticky: float) -> None:
        self.count = len(seeds)
        with _quiet():
            make = needed("minatar").Environment
        self._games = [make(game, sticky) for _ in seeds]
        self._frames = [0] * self.count
        for each, seed in zip(self._games, seeds, strict=True):
            each.seed(seed)

    def reset(self) -> Observations:
        """Begin the first episodes."""
        for each in self._games:
            each.reset()
        return self.observations()

    def step(self, actions: NDArray[np.int64]) -> Step:
        """Take an action in each."""
        rewards, ended = np.zeros(self.count), np.zeros(self.count, dtype=bool)
        cut, final = np.zeros(self.count, dtype=bool), []
        for i, (each, action) in enumerate(zip(self._games, actions.tolist(), strict=True)):
            rewards[i], over = each.act(action)
            self._frames[i] += 1
            cut[i] = not over and self._frames[i] >= LONGEST
            ended[i] = over or cut[i]
            if cut[i]:
                final.append(each.state().transpose(2, 0, 1))
            if ended[i]:
                each.reset()
                self._frames[i] = 0
        seen = self.observations()
        return Step(seen, rewards, ended, cut, np.stack(final) if final else seen[:0])

    def observations(self) -> Observations:
        """What is to be seen now, bool `[envs, channels, 10, 10]`."""
        return np.stack([each.state() for each in self._games]).transpose(0, 3, 1, 2)

    def state(self) -> dict[str, Any]:
        """All that the games are: plain numbers, lists of them, and arrays as tensors."""
        return {
            "games": [_attributes(each) for each in self._games],
            "frames": list(self._frames),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        if len(state["games"]) != self.count:
            raise CheckpointError(
                f"the checkpoint has {len(state['games'])} environments, and there are "
                f"{self.count}; accepted: the same number"
            )
        for each, held in zip(self._games, state["games"], strict=True):
            each.last_action = int(held["last_action"])
            key, position, has_gauss, gauss = held["random"]
            words = key.numpy().astype(np.uint32)
            each.random.set_state(("MT19937", words, position, has_gauss, gauss))
            for name, value in held["game"].items():
                setattr(each.env, name, _read(value))
        self._frames = [int(frames) for frames in state["frames"]]


def _attributes(each: Any) -> dict[str, Any]:
    _, key, position, has_gauss, gauss = each.random.get_state()
    words = torch.from_numpy(key.astype(np.int64))
    fixed = ("random", "channels", "action_map")
    return {
        "last_action": int(each.last_action),
        "random": [words, int(position), int(has_gauss), float(gauss)],
        "game": {k: _plain(v) for k, v in vars(each.env).items() if k not in fixed},
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, np.generic):
        return value.item()
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _read(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.numpy().copy()
    return [_read(v) for v in value] if isinstance(value, list) else value


@contextmanager
def _quiet() -> Any:
    """Without its complaint that it cannot draw, where matplotlib is not there."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
