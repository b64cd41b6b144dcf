"""Episodes as what a trained policy is given, and returns as what it makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from morphogen.core import DataError
from morphogen.core.names import brief
from morphogen.core.ranges import Range
from morphogen.tasks.inputs import Failed, Named, Prepared
from morphogen.tasks.policies.environments import Source, find
from morphogen.tasks.policies.environments.base import TEST
from morphogen.tasks.policies.episodes import played
from morphogen.tasks.policies.rollouts import Gathering, Rollouts

MOST = 10_000
"""Episodes that are played in one call."""

_FEW = Gathering(
    envs=4, horizon=32, passes=1, discount=1.0, trace=1.0, normalise=False, reward_clip=0.0
)
"""What real observations are taken from to compare files with."""


@dataclass(frozen=True)
class Played:
    """What a policy reached in one episode."""

    reached: float
    frames: int

    def line(self, top: int) -> str:
        """Return and length."""
        return f"return {self.reached:g}, {self.frames:,} frames"

    def plain(self) -> dict[str, Any]:
        """The same as numbers."""
        return {"return": self.reached, "frames": self.frames}

    def file(self) -> None:
        """Numbers are shown as they are."""


@dataclass(frozen=True)
class Place:
    """Where a policy plays: what a network's file keeps beside its weights."""

    environments: str
    sticky_actions: float
    train_levels: int
    first_level: int
    side: int

    def source(self) -> Source:
        """The environments."""
        return find(
            self.environments,
            sticky=self.sticky_actions,
            train_levels=self.train_levels,
            first_level=self.first_level,
            side=self.side,
        )

    def written(self) -> dict[str, Any]:
        """As plain values."""
        return dict(vars(self))

    @classmethod
    def of(cls, signature: Prepared) -> Place:
        """Read back from what a file says.

        Raises:
            DataError: it says something else.
        """
        held = dict(signature.preparation or {})
        kinds = {"environments": str, "sticky_actions": float, "train_levels": int}
        kinds |= {"first_level": int, "side": int}
        right = held.keys() == kinds.keys() and all(type(held[k]) is t for k, t in kinds.items())
        # A module before a colon would be imported by Gymnasium.
        if not right or ":" in held["environments"].partition(":")[2]:
            raise DataError(
                f"the file says of its environments {brief(held)}; accepted: a file that "
                "morphogen wrote"
            )
        return cls(**held)


class EpisodeInputs:
    """Episodes that a network plays; see `tasks.inputs.Inputs` and `Asking`."""

    one = "episode"
    axes, array = 0, "of numbers"
    accepted = f"how many episodes are to be played, 1 to {MOST:,}"
    sizes, unit = Range(1, 1), ""
    word = "10"
    python = ("", "range(10)")
    what, labelled, answer = "policy", "", "reached"

    def expanded(
        self, word: str, signature: Prepared, passed: list[str], failed: list[Failed]
    ) -> Iterator[Named]:
        """As many episodes as the word says, always the same ones: of the test part."""
        if not word.isascii() or not word.isdigit() or not 1 <= int(word) <= MOST:
            failed.append(
                (
                    word,
                    DataError(f"{brief(word)} is no number of episodes; accepted: {self.accepted}"),
                )
            )
            return
        yield from (Named(f"episode {i}", i) for i in range(int(word)))

    def several(self, given: Any, signature: Prepared) -> Sequence[Any]:
        """A list of numbers as it is."""
        return list(given)

    def prepared(self, item: Any, signature: Prepared) -> Tensor:
        """The seed of an episode, int64 `[1]`.

        Raises:
            DataError: it is no number.
        """
        if not isinstance(item, int) or not 0 <= item < 2**29:
            raise DataError(f"an episode is {brief(item)}; accepted: its number, from 0")
        return torch.tensor([TEST + item])

    def stacked(self, ready: Sequence[Tensor]) -> Tensor:
        """Seeds of several, int64 `[n]`."""
        return torch.cat([*ready]) if ready else torch.empty(0, dtype=torch.int64)

    def asked(self, net: Callable[..., Any], inputs: Tensor, signature: Prepared) -> list[Played]:
        """Play each to its end with the stochastic policy."""
        with torch.no_grad():
            returns, frames = played(Place.of(signature).source(), inputs, net, torch.device("cpu"))
        return [Played(r, n) for r, n in zip(returns.tolist(), frames.tolist(), strict=True)]

    def examples(self, task: Any, rows: Tensor, signature: Prepared) -> Tensor:
        """Observations of a policy that draws all actions alike."""
        frames = Rollouts(task.source, "train", _FEW)
        seen: Tensor = frames.batch(rows % len(frames)).x
        return seen

    def outputs(self, signature: Prepared) -> tuple[int, ...]:
        """Logits of the actions, and the value."""
        return ()

    def answers(self, scores: Tensor, items: Sequence[Any], signature: Prepared) -> list[Played]:
        """None: the network is asked frame by frame."""
        raise NotImplementedError

    def shape(self, signature: Prepared) -> str:
        """What is seen, and where."""
        return f"observations {signature.example} of {Place.of(signature).environments}"

    def described(self, signature: Prepared) -> str:
        """What a network takes and gives, for the model card."""
        place = Place.of(signature)
        return (
            f"A batch of observations `{signature.example}` of `{place.environments}`, as the "
            "environment gives them: bytes of pictures divided by 255, with the channels first. "
            "Its output has a logit for each action and, last, the value of what is seen; an "
            "action is drawn from the softmax of the logits. `morphogen predict` plays episodes."
        )
