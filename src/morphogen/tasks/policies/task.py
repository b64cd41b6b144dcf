"""The task of a policy: episodes in three parts, gathered batches, PPO's loss, the mean return."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Generator, Tensor, nn

from morphogen.core.errors import SpaceError
from morphogen.supernets.nested import described, length_of, shapes
from morphogen.tasks.base import Task
from morphogen.tasks.batches import Batch, Examples
from morphogen.tasks.cut import Cut
from morphogen.tasks.digests import digest
from morphogen.tasks.metric import Compare, Figure, Metric, Sums, added
from morphogen.tasks.policies.environments.base import SEEDS, begin_of
from morphogen.tasks.policies.episodes import Episodes, played
from morphogen.tasks.policies.inputs import Place
from morphogen.tasks.policies.ppo import Loss
from morphogen.tasks.policies.rollouts import Gathering, Rollouts
from morphogen.tasks.streams import Stream

_AT_ONCE = 32
"""Episodes that are played side by side, at most."""


class PolicyTask(Task):
    """Act in environments; made by `PolicyConfig.make`.

    Args:
        place: where is played.
        how: what is gathered between updates.
        loss: of each frame.
        episodes: of each part, by which a policy is judged.
        seed: from which their seeds are drawn.
    """

    kind = "policies"
    unit = "episodes"
    metric = Metric("return")
    gathers = True
    usual_batch = 256

    def __init__(
        self, place: Place, how: Gathering, loss: Loss, *, episodes: int, seed: int = 0
    ) -> None:
        self.place, self.how, self.ppo = place, how, loss
        self.source = source = place.source()
        self.name, self.seed, self.own_valid = source.name, seed, True
        self._episodes = episodes
        self.train_rows = torch.arange(episodes)
        self.valid_rows = episodes + torch.arange(episodes)
        self.asked = episodes, episodes

    # -- data --------------------------------------------------------------------------------

    def cut(self, cut: Cut) -> Task:
        """The task itself: its parts are what is played, and not cut from one another."""
        return self

    def outputs(self) -> int:
        """Outputs of a network: logits of the actions, and the value."""
        return self.source.actions + 1

    @property
    def in_channels(self) -> int:
        """Channels of an observation; of one without pictures its features."""
        return self.source.shape[0]

    @property
    def at_once(self) -> int:
        """Episodes side by side."""
        return _AT_ONCE

    def drawn(self, part: str) -> int:
        """Frames that are gathered at once."""
        self.rows(part)  # refuses what is no part
        return self.how.envs * self.how.horizon

    def steps(self, part: str, batch_size: int) -> int:
        """Minibatches of an epoch."""
        return self.how.passes * (self.drawn(part) // batch_size)

    def seeds(self, part: str) -> Tensor:
        """Seeds of the episodes of a part, by which policies are judged, int64 `[episodes]`."""
        drawn = torch.Generator().manual_seed(self.seed)
        found = torch.randint(SEEDS, (self._episodes,), generator=drawn)
        return begin_of(part) + found

    def examples(
        self, part: str, *, device: torch.device | str = "cpu", augmented: bool = False
    ) -> Examples:
        """The episodes of a part, by which policies are judged."""
        self.rows(part)
        parts = ("train", "valid") if part == "pool" else (part,)
        return Episodes(self.source, torch.cat([self.seeds(p) for p in parts]), device)

    def stream(
        self,
        part: str,
        batch_size: int,
        generator: Generator,
        *,
        augmented: bool = True,
        replacement: bool = False,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> Stream:
        """Endless minibatches of what is played in a part; see `Stream.refresh`.

        The pool is played as the training part: on its levels.
        """
        self.rows(part)
        played_in = "train" if part == "pool" else part
        return Stream(
            Rollouts(self.source, played_in, self.how, device),
            batch_size,
            generator,
            replacement=replacement,
            rank=rank,
            world=world,
            name=part,
        )

    @property
    def has_test(self) -> bool:
        """There always is one."""
        return True

    def _test_examples(self, held: None, device: torch.device) -> Episodes:
        return Episodes(self.source, self.seeds("test"), device)

    # -- loss and metric ---------------------------------------------------------------------

    def loss(self, output: Any, y: Any, *, train: bool = False, each: bool = False) -> Tensor:
        """The loss of PPO, see `ppo.Loss`: the mean over frames, or of each."""
        values = self.ppo(output, y)
        return values if each else values.mean()

    @property
    def criterion(self) -> Compare:
        """The mean of it."""
        held = self.ppo
        return lambda output, y: held(output, y).mean()

    def counts(self, output: Any, y: Any) -> Sums:
        """Nothing: the metric is not of frames."""
        return {}

    def measure(self, forward: Callable[[Any], Any], batches: Iterable[Batch]) -> Sums:
        """Play the episodes of the batches to their ends with the stochastic policy.

        Returns:
            The sum of returns and of their squares, frames, and episodes (`size`). Loss is minus
            the return: what is minimised.
        """
        total: Sums = {}
        with torch.no_grad():
            for batch in batches:
                seeds = batch.y["episode"].cpu()
                returns, frames = played(self.source, seeds, forward, batch.x.device)
                one = {
                    "return": returns.sum(),
                    "squares": returns.square().sum(),
                    "frames": frames.double().sum(),
                    "loss": -returns.sum(),
                    "size": torch.tensor(float(len(seeds)), dtype=torch.float64),
                }
                total = added(total, one)
        return total

    def value(self, sums: Mapping[str, Tensor]) -> float:
        """The mean return."""
        return float(sums["return"] / sums["size"])

    def interval(self, sums: Mapping[str, Tensor]) -> tuple[float, float] | None:
        """Ends of the mean return's 95 % interval over episodes."""
        n, mean = float(sums["size"]), self.value(sums)
        if n < 2:
            return None
        variance = max(float(sums["squares"]) / n - mean**2, 0.0) * n / (n - 1)
        from scipy.stats import t  # late: few tasks need it

        reach = float(t.ppf(0.975, n - 1)) * (variance / n) ** 0.5
        return mean - reach, mean + reach

    def finished(self, net: nn.Module, examples: Examples) -> tuple[Figure, ...]:
        """The mean return on the levels that were trained on, where others are tested on."""
        levels = self.source.levels("train")
        if levels == self.source.levels("test"):
            return ()
        with torch.no_grad():
            where = next(net.parameters()).device
            sums = self.measure(net, self.once("train", self.at_once, device=where))
        how = f"{self._episodes} episodes of {levels}"
        return (Figure("return on training levels", self.value(sums), how=how),)

    def check_output(self, output: Any, batch: Batch, *, whose: str) -> tuple[str, ...]:
        """Refuse what is no row of logits and a value for each observation."""
        wanted = [length_of(batch.x), self.outputs()]
        if not isinstance(output, Tensor) or list(output.shape) != wanted:
            raise SpaceError(
                f"{whose} gives {shapes(output)} for observations {shapes(batch.x)}; accepted: "
                f"{self.accepted_output(batch)}"
            )
        return super().check_output(output, batch, whose=whose)

    def accepted_output(self, batch: Batch) -> str:
        """In words, what a network has to give for a batch."""
        actions = self.source.actions
        return f"{[length_of(batch.x), actions + 1]}: {actions} logits and a value"

    # -- the record --------------------------------------------------------------------------

    def parts(self) -> dict[str, str]:
        """What the search parts are, in words."""
        return {part: self.source.levels(part) for part in ("train", "valid")}

    def describe(self) -> dict[str, Any]:
        """All that a report knows of the task: also what an observation is."""
        return super().describe() | {
            "actions": self.source.actions,
            "in_channels": self.in_channels,
            "observation": list(self.source.shape),
            "gathered": "frames",
        }

    def prepared(self) -> list[str]:
        """What is done to observations, and in the games, a phrase each."""
        scaled = "rewards that are trained on are divided by the deviation of returns"
        return [*self.source.prepared, *([scaled] if self.how.reward_clip else [])]

    def remarks(self) -> list[str]:
        """What a user should know of it, a sentence each."""
        if self.source.stored:
            return []
        return [
            f"environments {self.source.name} cannot be stored: a run that goes on plays the same "
            "actions again, and comes to the same bits"
        ]

    def inputs(self) -> dict[str, Any]:
        """What a network takes, and where it plays."""
        return {
            "kind": self.kind,
            "example": described(self.example()),
            "preparation": self.place.written(),
        }

    def contents(self) -> dict[str, Any]:
        """By which other environments are told."""
        return {
            "examples": 2 * self._episodes,
            "environments": digest([repr(self.source).encode()]),
            "seed": self.seed,
        }

    def changed(self, before: Mapping[str, Any], *, resized: bool = False) -> str | None:
        """How these environments differ from those of `contents`; see `Task.changed`."""
        now = self.contents()
        if before.get("environments") != now["environments"]:
            return "other environments"
        if before.get("examples") != now["examples"]:
            return f"{before.get('examples')} episodes then, {now['examples']} now"
        return None
