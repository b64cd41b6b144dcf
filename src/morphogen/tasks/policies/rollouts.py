"""Examples that are gathered: what the network itself lives through in environments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from morphogen.core.errors import CheckpointError
from morphogen.supernets.nested import mapped
from morphogen.tasks.batches import Batch, Examples
from morphogen.tasks.policies import ppo
from morphogen.tasks.policies.environments.base import SEEDS, Observations, Source, begin_of
from morphogen.tasks.policies.environments.kept import Kept
from morphogen.tasks.policies.heads import drawn, log_probs, split
from morphogen.tasks.policies.rewards import RewardScale


@dataclass(frozen=True)
class Gathering:
    """How much is gathered at once, and what becomes of it."""

    envs: int
    """Environments side by side."""
    horizon: int
    """Frames of each."""
    passes: int
    """Over the gathered frames, in minibatches."""
    discount: float
    trace: float
    normalise: bool
    """Advantages, over each joint minibatch."""
    reward_clip: float
    """Of rewards on the scale of their returns; 0: rewards stay as they are."""


class Rollouts(Examples):
    """The frames that were gathered last, of which minibatches are made.

    Batches are float32 `[b, *shape]`; targets, `[b]` each, what `ppo.Loss` takes. Before a network
    has gathered, a policy acts that draws all actions alike and values nothing.

    Args:
        source: of the environments.
        part: whose levels are played.
        how: how much, and what becomes of it.
        device: where batches are made.
    """

    gathers = True

    def __init__(
        self, source: Source, part: str, how: Gathering, device: torch.device | str = "cpu"
    ) -> None:
        self.source, self.part, self.how, self.passes = source, part, how, how.passes
        self._device = torch.device(device)
        self._environments: Kept | None = None
        self._seen: Observations = np.empty(0)
        self._scale = RewardScale(how.envs, how.discount, how.reward_clip)
        self._running = np.zeros(how.envs)
        """Returns of the episodes that go on, of rewards as they are."""
        self._frames: Observations = np.empty(0)
        self._targets: dict[str, Tensor] = {}
        self._told: dict[str, float] = {}
        self._gathered = 0

    def __len__(self) -> int:
        return self.how.envs * self.how.horizon

    def anew(self) -> Rollouts:
        """Other environments, which nothing was gathered in."""
        return Rollouts(self.source, self.part, self.how, self._device)

    @property
    def told(self) -> Mapping[str, float]:
        """Mean return of the episodes that ended, and how many these were."""
        return self._told

    @property
    def gathered(self) -> int:
        """Frames so far."""
        return self._gathered

    def batch(
        self,
        rows: Tensor,
        *,
        mine: slice = slice(None),
        generator: Generator | None = None,
    ) -> Batch:
        """The frames of `rows[mine]`; advantages are normalised over the joint batch."""
        if not len(self._frames):
            begin = generator or torch.Generator().manual_seed(0)
            self.gather(self._uniform, begin)
        y = {name: values[rows] for name, values in self._targets.items()}
        if self.how.normalise:
            y["advantages"] = ppo.normalised(y["advantages"])
        x = self._as_inputs(self._frames[rows[mine].numpy()])
        return Batch(x, mapped(lambda t: t[mine].to(self._device), y), len(rows[mine]))

    def gather(self, forward: Callable[[Any], Any], generator: Generator) -> None:
        """Play `horizon` frames in each environment with the network's stochastic policy."""
        how, steps = self.how, self.how.horizon
        kept = self._ready(generator)
        frames = np.empty((steps, how.envs, *self.source.shape), self._seen.dtype)
        actions = torch.empty(steps, how.envs, dtype=torch.int64)
        chances, values, rewards = (torch.empty(steps, how.envs) for _ in range(3))
        ended = torch.empty(steps, how.envs, dtype=torch.bool)
        finished: list[float] = []
        for t in range(steps):
            frames[t] = self._seen
            logits, values[t] = split(forward(self._as_inputs(self._seen)).cpu())
            actions[t] = drawn(logits, generator)
            chances[t] = log_probs(logits, actions[t])
            step = kept.step(actions[t].numpy())
            self._running += step.rewards
            finished += self._running[step.ended].tolist()
            self._running[step.ended] = 0.0
            scaled = self._scale(step.rewards, step.ended) if how.reward_clip else step.rewards
            rewards[t] = torch.from_numpy(scaled)
            if step.cut.any():  # what would have come after is what the network thinks of it
                worth = split(forward(self._as_inputs(step.final)).cpu())[1]
                rewards[t, torch.from_numpy(step.cut)] += how.discount * worth
            ended[t] = torch.from_numpy(step.ended)
            self._seen = step.observations
        last = split(forward(self._as_inputs(self._seen)).cpu())[1]
        found = ppo.advantages(rewards, values, ended, last, discount=how.discount, trace=how.trace)
        self._frames = frames.reshape(-1, *self.source.shape)
        self._targets = {
            "actions": actions.flatten(),
            "log_probs": chances.flatten(),
            "advantages": found.flatten(),
            "returns": (found + values).flatten(),
            "values": values.flatten(),
        }
        self._gathered += len(self)
        self._told = {"return": float(np.mean(finished))} if finished else {}
        self._told["episodes"] = float(len(finished))

    def _as_inputs(self, observations: Observations) -> Tensor:
        return as_inputs(observations, self.source, self._device)

    def _uniform(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), self.source.actions + 1)

    def _ready(self, generator: Generator) -> Kept:
        """The environments, begun: new ones with seeds of the generator, or those of before."""
        if self._environments is None or self._environments.old:
            offsets = torch.randint(SEEDS, (self.how.envs,), generator=generator)
            seeds = (begin_of(self.part) + offsets).tolist()
            self._environments = Kept(self.source, seeds)
            self._seen = self._environments.reset()
            self._running[:] = 0.0
            self._scale.returns[:] = 0.0
        return self._environments

    # -- checkpoint --------------------------------------------------------------------------

    def state_dict(self, *, used: bool) -> dict[str, Any]:
        """Environments, the scale of rewards, and what was gathered last, unless it is `used`."""
        begun = self._environments is not None
        return {
            "environments": self._environments.state_dict() if self._environments else None,
            "seen": torch.from_numpy(self._seen.copy()) if begun else None,
            "scale": self._scale.state_dict(),
            "running": torch.from_numpy(self._running.copy()),
            "gathered": self._gathered,
            "frames": torch.from_numpy(self._frames) if begun and not used else None,
            "targets": dict(self._targets) if begun and not used else {},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self._scale.load_state_dict(state["scale"])
        self._running = state["running"].numpy().copy()
        self._gathered = int(state["gathered"])
        frames = state["frames"]
        self._frames = np.empty(0) if frames is None else frames.numpy()
        self._targets, self._told = dict(state["targets"]), {}
        self._environments = None
        if state["environments"] is not None:
            self._environments, seen = Kept.restored(self.source, state["environments"])
            if not np.array_equal(seen, state["seen"].numpy()):
                raise CheckpointError(
                    f"environments {self.source.name} played again show something else than when "
                    "the checkpoint was written; accepted: the package and machine of then"
                )
            self._seen = seen


def as_inputs(observations: Observations, source: Source, device: torch.device) -> Tensor:
    """Observations as a network takes them, float32 `[n, *shape]`."""
    x = torch.from_numpy(np.ascontiguousarray(observations)).to(device).float()
    return x / source.scale if source.scale != 1 else x
