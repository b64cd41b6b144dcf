"""Whole episodes: what a policy is judged by, each known by its seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from morphogen.supernets.nested import mapped, take
from morphogen.tasks.batches import Batch, Examples
from morphogen.tasks.policies.environments.base import Source, part_of
from morphogen.tasks.policies.heads import chosen, split
from morphogen.tasks.policies.rollouts import as_inputs


class Episodes(Examples):
    """Episodes of some parts, by row; a batch has their first observations.

    Targets are those of a first step that a policy takes which draws all actions alike and values
    nothing, so that losses can be had; and `episode`, the seeds, from which they can be played.

    Args:
        source: of the environments.
        seeds: of the episodes, int64 `[n]`.
        device: where batches are made.
    """

    def __init__(self, source: Source, seeds: Tensor, device: torch.device | str = "cpu") -> None:
        self.source, self.seeds, self._device = source, seeds, torch.device(device)

    def __len__(self) -> int:
        return len(self.seeds)

    def batch(
        self,
        rows: Tensor,
        *,
        mine: slice = slice(None),
        generator: Generator | None = None,
    ) -> Batch:
        """The first observations of the episodes `rows[mine]`."""
        seeds = self.seeds[rows[mine]]
        places, pieces = [], []
        for index in by_part(seeds):
            places.append(index)
            pieces.append(self._begun(seeds[index]))
        back = torch.cat(places).argsort()
        x = take(torch.cat([piece[0] for piece in pieces]), back)
        names = pieces[0][1]
        y = {name: take(torch.cat([piece[1][name] for piece in pieces]), back) for name in names}
        return Batch(x, mapped(lambda t: t.to(self._device), y), len(seeds))

    def _begun(self, seeds: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        environments = self.source.make(seeds.tolist())
        x = as_inputs(environments.reset(), self.source, self._device)
        draws = np.array([draws_of(seed).integers(self.source.actions) for seed in seeds.tolist()])
        reward = torch.from_numpy(environments.step(draws).rewards).float()
        even = -float(np.log(self.source.actions))
        return x, {
            "actions": torch.from_numpy(draws),
            "log_probs": torch.full_like(reward, even),
            "advantages": reward,
            "returns": reward.clone(),
            "values": torch.zeros_like(reward),
            "episode": seeds,
        }


def draws_of(seed: int) -> np.random.Generator:
    """What the policy draws from in an episode: whatever is played beside it, it draws the same."""
    return np.random.default_rng([seed, 1])


def by_part(seeds: Tensor) -> list[Tensor]:
    """The rows of each part among seeds."""
    parts = [part_of(seed) for seed in seeds.tolist()]
    return [
        torch.tensor([i for i, other in enumerate(parts) if other == part])
        for part in dict.fromkeys(parts)
    ]


def played(
    source: Source,
    seeds: Tensor,
    forward: Callable[[Any], Any],
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Play episodes to their ends with the stochastic policy of a network.

    Args:
        source: of the environments.
        seeds: of the episodes, int64 `[n]`.
        forward: the network's output for observations.
        device: where the network is.

    Returns:
        Their returns, of rewards as the game gives them, float64 `[n]`, and their frames, int64.
    """
    returns = torch.zeros(len(seeds), dtype=torch.float64)
    frames = torch.zeros(len(seeds), dtype=torch.int64)
    for index in by_part(seeds):
        returns[index], frames[index] = _played(source, seeds[index], forward, device)
    return returns, frames


def _played(
    source: Source, seeds: Tensor, forward: Callable[[Any], Any], device: torch.device
) -> tuple[Tensor, Tensor]:
    environments = source.make(seeds.tolist())
    draws = [draws_of(seed) for seed in seeds.tolist()]
    seen, going = environments.reset(), np.ones(len(seeds), dtype=bool)
    returns, frames = np.zeros(len(seeds)), np.zeros(len(seeds), dtype=np.int64)
    while going.any():
        logits = split(forward(as_inputs(seen[going], source, device)))[0]
        uniform = torch.tensor([draws[i].random() for i in np.flatnonzero(going)])
        actions = np.zeros(len(seeds), dtype=np.int64)
        actions[going] = chosen(logits, uniform.float()).numpy()
        step = environments.step(actions)
        returns += step.rewards * going
        frames += going
        going &= ~step.ended
        seen = step.observations
    return torch.from_numpy(returns), torch.from_numpy(frames)
