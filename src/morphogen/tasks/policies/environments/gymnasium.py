"""Environments of Gymnasium with discrete actions and observations that are arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import DataError
from morphogen.tasks.policies.environments.base import Environments, Observations, Source, Step
from morphogen.tasks.policies.environments.missing import needed


@dataclass(frozen=True)
class Gymnasium(Source):
    """An environment by its registered name.

    Pictures `[height, width, channels]` of bytes become `[channels, height, width]` on the scale
    of 0 to 1; other observations stay as they are.
    """

    name_there: str
    pictures: bool

    @classmethod
    def of(cls, name: str) -> Gymnasium:
        """The environment that is registered by this name.

        Raises:
            DataError: there is none, or its actions or observations are of another kind.
        """
        gymnasium = needed("gymnasium")
        try:
            made = gymnasium.make(name)
        except (gymnasium.error.Error, ImportError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise DataError(
                f"Gymnasium makes no {name!r}: {reason}; accepted: a name that it has registered, "
                "such as CartPole-v1"
            ) from error
        seen, actions = made.observation_space, made.action_space
        made.close()
        discrete = isinstance(actions, gymnasium.spaces.Discrete)
        if not discrete or not isinstance(seen, gymnasium.spaces.Box):
            raise DataError(
                f"{name!r} has actions {actions} and observations {seen}; accepted: discrete "
                "actions, and observations that are one array"
            )
        pictures = len(seen.shape) == 3 and seen.dtype == np.uint8
        shape = tuple(int(side) for side in seen.shape)
        return cls(
            name=f"gymnasium/{name}",
            actions=int(actions.n),
            shape=(shape[2], *shape[:2]) if pictures else shape,
            scale=255.0 if pictures else 1.0,
            prepared=("pixels are divided by 255",) if pictures else (),
            stored=False,
            name_there=name,
            pictures=pictures,
        )

    def make(self, seeds: Sequence[int]) -> GymnasiumEnvironments:
        """New environments, one for each seed."""
        gymnasium = needed("gymnasium")
        made = [gymnasium.make(self.name_there) for _ in seeds]
        return GymnasiumEnvironments(made, seeds, pictures=self.pictures)

    def levels(self, part: str) -> str:
        """All parts are the same environment with other draws."""
        return f"episodes of {self.name_there} with seeds of their own"


class GymnasiumEnvironments(Environments):
    """Environments side by side, one after the other in this process.

    Args:
        made: one by one.
        seeds: one for each, of its first episode; the others follow from it.
        pictures: whether observations are pictures.
    """

    def __init__(self, made: Sequence[Any], seeds: Sequence[int], *, pictures: bool) -> None:
        self._made, self._seeds, self._pictures = made, seeds, pictures
        self.count = len(made)

    def reset(self) -> Observations:
        """Begin the first episodes."""
        pairs = zip(self._made, self._seeds, strict=True)
        return np.stack([self._seen(each.reset(seed=seed)[0]) for each, seed in pairs])

    def step(self, actions: NDArray[np.int64]) -> Step:
        """Take an action in each."""
        rewards, ended = np.zeros(self.count), np.zeros(self.count, dtype=bool)
        cut, seen, final = np.zeros(self.count, dtype=bool), [], []
        for i, (each, action) in enumerate(zip(self._made, actions.tolist(), strict=True)):
            found, rewards[i], over, stopped, _ = each.step(action)
            cut[i], ended[i] = stopped and not over, over or stopped
            if cut[i]:
                final.append(self._seen(found))
            seen.append(self._seen(each.reset()[0] if ended[i] else found))
        now = np.stack(seen)
        return Step(now, rewards, ended, cut, np.stack(final) if final else now[:0])

    def _seen(self, observation: Any) -> Observations:
        found = np.asarray(observation)
        return found.transpose(2, 0, 1) if self._pictures else found.astype(np.float32)
