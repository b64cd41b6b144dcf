"""Environments that come back after a kill: stored, or played again up to where they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.tasks.policies.environments.base import Observations, Source, Step

LONGEST_LOG = 2**20
"""Frames of all environments together after which those that cannot be stored are made anew: to
play as many again takes under a minute."""


class Kept:
    """Environments with what brings them back: their state, or their seeds and all actions.

    What cannot be stored follows from seeds and actions: it is made again and the same actions are
    taken. So that this does not take ever longer, it is `old` after `LONGEST_LOG` frames, and
    whoever holds it makes new ones: the episodes that go on are then cut.

    Args:
        source: makes them.
        seeds: one for each.
    """

    def __init__(self, source: Source, seeds: Sequence[int]) -> None:
        self.source, self.seeds = source, [int(seed) for seed in seeds]
        self._inner = source.make(self.seeds)
        self._log: list[NDArray[np.int64]] = []

    def reset(self) -> Observations:
        """Begin the first episodes."""
        return self._inner.reset()

    def step(self, actions: NDArray[np.int64]) -> Step:
        """Take an action in each."""
        if not self.source.stored:
            self._log.append(actions.copy())
        return self._inner.step(actions)

    @property
    def old(self) -> bool:
        """Whether new ones should take their place."""
        return len(self._log) * len(self.seeds) >= LONGEST_LOG

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        log = torch.from_numpy(np.stack(self._log).astype(np.int16)) if self._log else None
        return {"seeds": self.seeds, "state": self._inner.state(), "actions": log}

    @classmethod
    def restored(cls, source: Source, state: Mapping[str, Any]) -> tuple[Kept, Observations]:
        """The environments of a `state_dict`, and what is to be seen in them."""
        kept = cls(source, state["seeds"])
        seen = kept.reset()
        if state["state"] is not None:
            kept._inner.load_state(state["state"])
            return kept, kept._inner.observations()
        actions: Tensor | None = state["actions"]
        for row in () if actions is None else actions.numpy().astype(np.int64):
            seen = kept.step(row).observations
        return kept, seen
