"""Rewards brought to one scale: divided by the running deviation of the discounted return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class RewardScale:
    """Divides rewards by the standard deviation of discounted returns so far, and clips them.

    The return of each environment is discounted forwards in time, `R = gamma R + r`, and begins
    anew with an episode. The variance is that of all of them, by parallel sums of moments.

    Args:
        envs: environments.
        discount: gamma.
        clip: largest size of a reward after it.
    """

    def __init__(self, envs: int, discount: float, clip: float) -> None:
        self.discount, self.clip = discount, clip
        self.returns: Floats = np.zeros(envs)
        self.mean, self.variance, self.count = 0.0, 1.0, 1e-4

    def __call__(self, rewards: Floats, ended: NDArray[np.bool_]) -> Floats:
        """The rewards of a step on the new scale, `[envs]`; the scale learns from them first.

        Args:
            rewards: as the environments gave them.
            ended: whether an episode ended with the step.
        """
        self.returns = self.discount * self.returns + rewards
        self._learn(self.returns)
        self.returns[ended] = 0.0
        scaled = rewards / np.sqrt(self.variance + 1e-8)
        return np.asarray(np.clip(scaled, -self.clip, self.clip))

    def _learn(self, values: Floats) -> None:
        count = len(values)
        total = self.count + count
        delta = float(values.mean()) - self.mean
        squares = (
            self.variance * self.count
            + float(values.var()) * count
            + delta**2 * self.count * count / total
        )
        self.mean += delta * count / total
        self.variance, self.count = squares / total, total

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers from which it goes on."""
        return {
            "returns": torch.from_numpy(self.returns.copy()),
            "mean": self.mean,
            "variance": self.variance,
            "count": self.count,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.returns = state["returns"].numpy().copy()
        self.mean, self.variance = float(state["mean"]), float(state["variance"])
        self.count = float(state["count"])
