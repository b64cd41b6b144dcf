"""The residual encoder of IMPALA's agents, with more or fewer blocks.

Espeholt, Soyer, Munos et al., ICML 2018, arXiv 1802.01561 (the deep network of its figure 3, as
Cobbe et al., 2020, arXiv 1912.01588, use it on Procgen: 16, 32 and 32 channels).

A stage is a 3x3 convolution, a max pool of stride 2, and residual blocks: input + convolution of
ReLU of convolution of ReLU of the input. What is chosen is their number, the same in each stage;
the published network has two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from morphogen.core import Choice, SpaceError
from morphogen.spaces.base import Differentiable, SearchSpace
from morphogen.spaces.registry import register

BLOCKS = "blocks"
"""The one choice."""

PROCGEN = {
    "batch_size": 2048,
    "network.channels": 16,
    "network.depth": 3,
    "task.envs": 64,
    "task.horizon": 1024,
    "task.passes": 2,
    "task.discount": 0.999,
    "task.gae_lambda": 0.95,
    "task.ratio_clip": 0.2,
    "task.value_clip": 0.2,
    "task.value_weight": 0.5,
    "task.entropy_bonus": 0.01,
    "task.reward_clip": 10.0,
    "task.train_levels": 200,
    "task.episodes": 10,
}
"""PPO on Procgen, easy, as google/brain_autorl (rl_darts) configures it."""

FRAMES = 382
"""Epochs of `PROCGEN` that are 25 million frames."""

EVALUATION = {
    **PROCGEN,
    "epochs": FRAMES,
    "optimiser": "adam",
    "lr": 5e-4,
    "betas": [0.9, 0.999],
    "eps": 1e-5,
    "weight_decay": 0.0,
    "clip": 0.5,
    "held_out": 0.0,
}
"""The same, of a training from scratch."""

NAME, REASON = "IMPALA-CNN", "the published network has two residual blocks in each stage"


@register(
    "impala-cnn",
    supernet="morphogen.supernets.impala_cnn",
    network={"channels": 16, "depth": 3},
    evaluation=EVALUATION,
    quick={"network.channels": 16, "network.depth": 3},
    reference=f"{BLOCKS}=2",
    reference_name=NAME,
    reference_reason=REASON,
)
class ImpalaCNN(SearchSpace, Differentiable):
    """Encoders of agents: the IMPALA-CNN, with one to three residual blocks in each stage.

    Args:
        name: how the command line and the run directory call the space.
        stages: channels of each stage as a multiple of C.
        most: residual blocks of a stage at most.
        side: pixels along a side of the observations for which the head is made. Features of other
            ones are pooled to as many as these have.

    Raises:
        SpaceError: a number is out of range.
    """

    def __init__(
        self,
        name: str = "impala-cnn",
        *,
        stages: Sequence[int] = (1, 2, 2),
        most: int = 3,
        side: int = 64,
    ) -> None:
        for field, value, largest in (
            ("stages", len(stages), 16),
            ("most", most, 16),
            ("side", side, 1024),
            *(("an entry of stages", multiple, 64) for multiple in stages),
        ):
            if not 1 <= value <= largest:
                raise SpaceError(f"space {name!r}: {field} is {value}; accepted: 1 to {largest}")
        self.stages, self.side, self.most = tuple(stages), side, most
        super().__init__(name, [Choice(BLOCKS, tuple(map(str, range(1, most + 1))))])

    def arguments(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {"stages": list(self.stages), "most": self.most, "side": self.side}

    def network_sizes(self) -> dict[str, Any]:
        """The number of stages."""
        return {"depth": len(self.stages)}


@register(
    "impala-cnn-minatar",
    family="impala-cnn",
    supernet="morphogen.supernets.impala_cnn",
    network={"channels": 16, "depth": 2},
    quick={"network.channels": 16, "network.depth": 2},
    reference=f"{BLOCKS}=2",
    reference_name=NAME,
    reference_reason=REASON,
)
def minatar() -> ImpalaCNN:
    """Encoders of agents that see 10 x 10 pixels: the IMPALA-CNN in two stages of C channels."""
    return ImpalaCNN("impala-cnn-minatar", stages=(1, 1), side=10)
