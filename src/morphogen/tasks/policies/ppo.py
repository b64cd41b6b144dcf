"""Proximal policy optimisation: advantages, targets and the clipped loss, and nothing else.

Paper: Schulman, Wolski, Dhariwal, Radford, Klimov. 2017. arXiv 1707.06347; advantages: Schulman,
Moritz, Levine, Jordan, Abbeel. ICLR 2016. arXiv 1506.02438.

Steps and their optimiser belong to who trains: a search, or a training from scratch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from morphogen.tasks.policies.heads import entropies, log_probs, split


def advantages(
    rewards: Tensor,
    values: Tensor,
    ended: Tensor,
    last: Tensor,
    *,
    discount: float,
    trace: float,
) -> Tensor:
    """Generalised advantage estimates (arXiv 1506.02438, equation 16), cut off at ends.

    Args:
        rewards: `[steps, envs]`, of the step that begins at each observation.
        values: of the observations, likewise.
        ended: whether an episode ended with the step, likewise.
        last: values of the observations after the last step, `[envs]`.
        discount: gamma.
        trace: lambda.

    Returns:
        `[steps, envs]`; with `values` added, the targets of the value, TD(lambda).
    """
    found, after, behind = torch.empty_like(rewards), last, torch.zeros_like(last)
    for t in reversed(range(len(rewards))):
        goes_on = 1.0 - ended[t].to(rewards)
        delta = rewards[t] + discount * after * goes_on - values[t]
        behind = found[t] = delta + discount * trace * goes_on * behind
        after = values[t]
    return found


def normalised(values: Tensor) -> Tensor:
    """With mean 0 and standard deviation 1; a single one stays as it is."""
    return values if len(values) < 2 else (values - values.mean()) / (values.std() + 1e-8)


@dataclass(frozen=True)
class Loss:
    """What a minibatch is trained on (arXiv 1707.06347, equations 7 and 9)."""

    ratio_clip: float
    """epsilon, how far the ratio of probabilities goes."""
    value_clip: float
    """Likewise of values, around those of the rollout; 0: they are not clipped."""
    value_weight: float
    """c1, of the squared error of values."""
    entropy_bonus: float
    """c2."""

    def __call__(self, output: Tensor, y: dict[str, Tensor]) -> Tensor:
        """The loss of each example, `[b]`.

        Args:
            output: `[b, actions + 1]`, of the network.
            y: of the rollout, `[b]` each: `actions`, `log_probs`, `advantages`, `returns`,
                `values`.
        """
        logits, values = split(output)
        ratio = (log_probs(logits, y["actions"]) - y["log_probs"]).exp()
        held = ratio.clamp(1 - self.ratio_clip, 1 + self.ratio_clip)
        policy = -torch.minimum(ratio * y["advantages"], held * y["advantages"])
        error = (values - y["returns"]).square()
        if self.value_clip:
            moved = (values - y["values"]).clamp(-self.value_clip, self.value_clip)
            error = torch.maximum(error, (y["values"] + moved - y["returns"]).square())
        return policy + self.value_weight * error - self.entropy_bonus * entropies(logits)
