"""A supernet's earlier states as its teachers: kept, put to the vote, and learned from.

Self-distillation as in SD-DARTS (Zhu, Li, Liu, Wang, 2023, arXiv 2302.05629) and SAF (Du et al.,
NeurIPS 2022, arXiv 2205.14083): where a step changes the loss little, the minimum is flat, and the
divergence of present outputs from earlier ones is what can be held small without holding the loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from morphogen.supernets.nested import tensors_of
from morphogen.tasks.problem import trainable

Vote = Literal["mean", "majority", "weighted"]

SMOOTHED = 0.1
"""Of a majority, the share that is spread over all classes alike."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A state of a search: weights and the alphas that they had."""

    step: int
    weights: dict[str, Tensor]
    """By the names of `trainable(net)`."""
    alphas: list[Tensor]


class Teachers:
    """The last states of a search that were kept, the oldest first; copies without a graph.

    Args:
        most: K, how many are held; the oldest makes room.
        device: of the tensors, when a checkpoint is read.
    """

    def __init__(self, most: int, device: torch.device) -> None:
        self.most, self.device = most, device
        self.held: list[Snapshot] = []

    def keep(self, step: int, net: nn.Module, alphas: Sequence[Tensor]) -> None:
        """Hold the present state, too."""
        weights = {name: p.detach().clone() for name, p in trainable(net).items()}
        self.held.append(Snapshot(step, weights, [a.detach().clone() for a in alphas]))
        del self.held[: -self.most]

    def state_dict(self) -> dict[str, Any]:
        """What is held, in plain values and tensors."""
        return {
            "held": [
                {"step": s.step, "weights": dict(s.weights), "alphas": list(s.alphas)}
                for s in self.held
            ]
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Hold what `state_dict` gave."""
        self.held = [
            Snapshot(
                int(kept["step"]),
                {name: w.to(self.device) for name, w in kept["weights"].items()},
                [a.to(self.device) for a in kept["alphas"]],
            )
            for kept in state["held"]
        ]


def voted(
    outputs: Sequence[Tensor], tau: float, vote: Vote = "mean", losses: Sequence[Tensor] = ()
) -> Tensor:
    """What several teachers say together: probabilities [batch, classes, ...], without gradient.

    Args:
        outputs: class scores of each, [batch, classes, ...].
        tau: temperature.
        vote: the mean of the probabilities; the share of the teachers whose best class it is,
            smoothed by a tenth; or the mean weighted by exp(-loss).
        losses: of each teacher on the batch, for `weighted`.
    """
    with torch.no_grad():
        said = torch.stack([torch.softmax(output / tau, dim=1) for output in outputs])
        if vote == "mean":
            return said.mean(dim=0)
        if vote == "majority":
            best = torch.zeros_like(said).scatter_(2, said.argmax(dim=2, keepdim=True), 1.0)
            return (1 - SMOOTHED) * best.mean(dim=0) + SMOOTHED / said.shape[2]
        weights = torch.softmax(-torch.stack(list(losses)), dim=0)
        return (weights.reshape(-1, *[1] * (said.dim() - 1)) * said).sum(dim=0)


def divergence(output: Tensor, target: Tensor, tau: float) -> Tensor:
    """tau^2 KL(target || softmax(output / tau)), the mean over the batch: a scalar.

    Its gradient by a score is tau (p - target), so that tau does not change its size much.

    Args:
        output: class scores [batch, classes, ...].
        target: probabilities of the same shape.
        tau: temperature of both.
    """
    log_p = torch.log_softmax(output / tau, dim=1)
    each = (torch.xlogy(target, target) - target * log_p).sum(dim=1)
    return tau**2 * each.mean()


def distance(output: Any, outputs: Sequence[Any]) -> Tensor:
    """Half the mean squared distance of an output from the mean of several: of targets.

    Args:
        output: a tensor, or a tuple or dict of them.
        outputs: of the teachers, of the same shape.
    """
    ours = tensors_of(output)
    theirs = [
        torch.stack(list(ts)).mean(dim=0) for ts in zip(*map(tensors_of, outputs), strict=True)
    ]
    halves = [(a - b.detach()).square().mean() / 2 for a, b in zip(ours, theirs, strict=True)]
    return torch.stack(halves).sum()
