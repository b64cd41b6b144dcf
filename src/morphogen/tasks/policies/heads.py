"""A network's output read as a policy and a value: one linear layer is both heads."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def split(output: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of the actions `[b, actions]` and values `[b]` of an output `[b, actions + 1]`."""
    return output[:, :-1], output[:, -1]


def log_probs(logits: Tensor, actions: Tensor) -> Tensor:
    """Logarithms of the probabilities of actions, `[b]`."""
    return logits.log_softmax(1).gather(1, actions[:, None]).squeeze(1)


def entropies(logits: Tensor) -> Tensor:
    """Of the policy at each observation, in nats, `[b]`."""
    log_p = logits.log_softmax(1)
    return -(log_p.exp() * log_p).sum(1)


def drawn(logits: Tensor, generator: Generator) -> Tensor:
    """An action of each row, int64 `[b]` on the CPU; one uniform number is drawn for each."""
    return chosen(logits, torch.rand(len(logits), generator=generator))


def chosen(logits: Tensor, uniform: Tensor) -> Tensor:
    """The actions that numbers of [0, 1) choose by the policy's distribution function."""
    up_to = logits.float().cpu().softmax(1).cumsum(1)
    last = logits.shape[1] - 1
    return torch.searchsorted(up_to, uniform[:, None], right=True).squeeze(1).clamp_max(last)
