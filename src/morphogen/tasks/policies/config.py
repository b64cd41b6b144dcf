"""What policies can be asked for, in a search and in a training from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from morphogen.core.config import Amount, Count, Natural, Share, config
from morphogen.core.errors import ConfigError
from morphogen.tasks.configs import TaskConfig, task_config
from morphogen.tasks.cut import Cut
from morphogen.tasks.policies.environments import PREFIX
from morphogen.tasks.policies.inputs import EpisodeInputs, Place
from morphogen.tasks.policies.ppo import Loss
from morphogen.tasks.policies.rollouts import Gathering
from morphogen.tasks.policies.task import PolicyTask


@task_config("policies")
@config
class PolicyConfig(TaskConfig):
    """Policies: environments, how much is played between updates, and the loss of PPO."""

    spatial_dims: ClassVar[int | None] = 2
    gathers: ClassVar[bool] = True
    default_space: ClassVar[str] = "rl-darts"

    envs: Count = 16
    """environments side by side (paper: 64)"""
    horizon: Count = 128
    """frames of each that are played with the network as it is, before it is trained on them: an
    epoch is one such round (paper: 1024)"""
    passes: Count = 3
    """passes over these frames in minibatches of batch-size, in an epoch (paper: 2)"""
    discount: Annotated[float, Field(gt=0, le=1)] = 0.99
    """gamma (paper: 0.999)"""
    gae_lambda: Annotated[float, Field(ge=0, le=1)] = 0.95
    """lambda of advantages and targets (paper: 0.95)"""
    ratio_clip: Annotated[float, Field(gt=0)] = 0.2
    """epsilon of PPO: how far the ratio of probabilities goes in the loss (paper: 0.2)"""
    value_clip: Amount = 0.0
    """likewise of values, around those of the rollout; 0: they are not clipped (paper: 0.2)"""
    value_weight: Amount = 0.5
    """weight of the squared error of values in the loss (paper: 0.5)"""
    entropy_bonus: Amount = 0.01
    """weight of the policy's entropy in the loss (paper: 0.01)"""
    normalise_advantages: bool = True
    """over each minibatch"""
    reward_clip: Amount = 10.0
    """rewards are divided by the running deviation of discounted returns and clipped at this; 0:
    they stay as they are (paper: 10)"""
    sticky_actions: Share = 0.1
    """MinAtar: probability that the action before is taken again (published: 0.1)"""
    train_levels: Count = 200
    """Procgen: levels of the training part (paper: 200)"""
    first_level: Natural = 0
    """Procgen: the first of them"""
    side: Natural = 0
    """Procgen: pixels along a side to which pictures are averaged, a divisor of 64; 0: 64"""
    episodes: Count = 50
    """episodes by which a policy is judged, of each part (paper: 10)"""

    @classmethod
    def takes(cls, data: Any) -> bool:
        """Names of environments."""
        return isinstance(data, str) and data.startswith(PREFIX)

    @classmethod
    def inputs(cls) -> EpisodeInputs:
        """How a trained network is used: it plays."""
        return EpisodeInputs()

    trains: ClassVar[Mapping[str, Any]] = {
        "epochs": 100,
        "optimiser": "adam",
        "lr": 5e-4,
        "betas": (0.9, 0.999),
        "eps": 1e-5,
        "weight_decay": 0.0,
        "clip": 0.5,
        "held_out": 0.0,
    }

    @classmethod
    def space_for(cls, data: Any) -> str:
        """By the size of what is seen: ten by ten cells of MinAtar, or pictures."""
        small = str(data).startswith(f"{PREFIX}minatar/")
        return f"{cls.default_space}-minatar" if small else cls.default_space

    def make(self, data: Any, cut: Cut) -> PolicyTask:
        """Environments of a name, and the loss.

        Raises:
            ConfigError: a number of examples is asked for, of which there are none.
        """
        for name, size in (("train_images", cut.train), ("valid_images", cut.valid)):
            if size is not None and name not in cut.at_most:
                raise ConfigError(
                    f"{name} is {size}, and {data} gives frames as they are played; accepted: 0, "
                    "and the option episodes for how many a policy is judged by"
                )
        place = Place(
            str(data), self.sticky_actions, self.train_levels, self.first_level, self.side
        )
        how = Gathering(
            envs=self.envs,
            horizon=self.horizon,
            passes=self.passes,
            discount=self.discount,
            trace=self.gae_lambda,
            normalise=self.normalise_advantages,
            reward_clip=self.reward_clip,
        )
        loss = Loss(self.ratio_clip, self.value_clip, self.value_weight, self.entropy_bonus)
        return PolicyTask(place, how, loss, episodes=self.episodes, seed=cut.seed)
