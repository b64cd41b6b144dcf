"""Environments by name: `env:minatar/breakout`, `env:procgen/starpilot`, `env:gymnasium/NAME`."""

from __future__ import annotations

from morphogen.core.errors import DataError, UnknownNameError
from morphogen.tasks.policies.environments import minatar, procgen
from morphogen.tasks.policies.environments.base import Environments, Source, Step
from morphogen.tasks.policies.environments.gymnasium import Gymnasium

PREFIX = "env:"

__all__ = ["PREFIX", "Environments", "Source", "Step", "find"]


def find(name: str, *, sticky: float, train_levels: int, first_level: int, side: int = 0) -> Source:
    """The environments of a name.

    Args:
        name: `env:FAMILY/GAME`.
        sticky: of MinAtar, probability that an action is repeated.
        train_levels: of Procgen, levels of the training part.
        first_level: the first of them.
        side: of Procgen, pixels along a side of what is seen; 0: 64.

    Raises:
        DataError: there are none, or their package is not installed.
    """
    family, _, game = name.removeprefix(PREFIX).partition("/")
    if family == "minatar":
        return minatar.MinAtar.of(_known("game of MinAtar", game, minatar.GAMES), sticky=sticky)
    if family == "procgen":
        known = _known("game of Procgen", game, procgen.GAMES)
        return procgen.Procgen.of(
            known, train_levels=train_levels, first_level=first_level, side=side
        )
    if family == "gymnasium" and game:
        return Gymnasium.of(game)
    raise DataError(
        f"data {name!r} name no environments; accepted: env:minatar/GAME, env:procgen/GAME or "
        "env:gymnasium/NAME"
    )


def _known(what: str, game: str, games: tuple[str, ...]) -> str:
    if game not in games:
        raise UnknownNameError(what, game, games)
    return game
