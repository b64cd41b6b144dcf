"""What environments are to a task: several of them, stepped together, each with a seed of its own.

An episode is known by its seed. Seeds of the three parts lie apart, so that environments whose
levels are made from seeds meet none twice: `TRAIN`, `VALID` and `TEST` say where they begin.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Observations = NDArray[Any]

TRAIN, VALID, TEST = 0, 2**29, 2**30
"""First seeds of the parts."""

SEEDS = 2**29
"""Of each part."""


def part_of(seed: int) -> str:
    """The part whose seed it is."""
    return "train" if seed < VALID else "valid" if seed < TEST else "test"


def begin_of(part: str) -> int:
    """The first seed of a part."""
    return {"train": TRAIN, "valid": VALID, "test": TEST}[part]


class Step(NamedTuple):
    """What environments answer to a step."""

    observations: Observations
    """After it, `[envs, *shape]`; where an episode ended the first one of the next."""
    rewards: NDArray[np.float64]
    """`[envs]`."""
    ended: NDArray[np.bool_]
    """Whether an episode ended with it, `[envs]`."""
    cut: NDArray[np.bool_]
    """Whether that was by a limit of time and not by the game, `[envs]`."""
    final: Observations
    """The last observations of the episodes that were cut, `[cut ones, *shape]`."""


class Environments(ABC):
    """Several environments of one kind, which begin a new episode whenever one has ended."""

    count: int

    @abstractmethod
    def reset(self) -> Observations:
        """Begin the first episodes; the first observations `[envs, *shape]`. Called once."""

    @abstractmethod
    def step(self, actions: NDArray[np.int64]) -> Step:
        """Take an action in each."""

    def state(self) -> Mapping[str, Any] | None:
        """Tensors and plain values from which they go on; None: they cannot be stored."""
        return None

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken, in environments that have just begun."""
        raise NotImplementedError

    def observations(self) -> Observations:
        """What is to be seen now, of environments that can be stored."""
        raise NotImplementedError


@dataclass(frozen=True)
class Source(ABC):
    """Where environments are from, and what they are."""

    name: str
    """For reports."""
    actions: int
    """That there are to choose from."""
    shape: tuple[int, ...]
    """Of an observation: channels, height and width, or features."""
    scale: float
    """By which observations are divided for the network: 255 of pixels."""
    prepared: tuple[str, ...]
    """What is done to observations and in the games, a phrase each."""
    stored: bool
    """Whether environments can be stored; if not, they are brought back by playing again."""

    @abstractmethod
    def make(self, seeds: Sequence[int]) -> Environments:
        """New environments, one for each seed; all of one part."""

    @abstractmethod
    def levels(self, part: str) -> str:
        """In words, what is played in a part."""
