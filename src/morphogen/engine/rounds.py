"""The conversation with a black-box method: ask, have it answered, tell; nothing of files or time.

What is asked again is answered from memory, and not counted again: the budget is in different
architectures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core import Architecture, ConfigError
from morphogen.methods import AskTell
from morphogen.spaces import SearchSpace

Answer = Callable[[Sequence[Architecture]], NDArray[np.float64]]
"""Architectures never asked for before -> what to tell of them, [n] or [n, objectives]."""

REPEATS = 10_000
"""Architectures that are asked for again, one after the other, before a method counts as done."""


@dataclass(frozen=True)
class Talk:
    """How a conversation ended."""

    state: Any
    """The method's own."""
    answered: int
    """Different architectures."""


def converse(
    method: AskTell,
    space: SearchSpace,
    rng: np.random.Generator,
    answer: Answer,
    *,
    budget: int,
    round_size: int = 1,
    enough: Callable[[], bool] = lambda: False,
) -> Talk:
    """Ask, answer and tell until the budget is spent or the method has no more new questions.

    Args:
        method: who asks.
        space: what it asks about.
        rng: for its draws.
        answer: called once for each round with anything new in it.
        budget: different architectures.
        round_size: architectures that are asked for at once; all are told together.
        enough: asked before each round; True ends the conversation.

    Raises:
        ConfigError: the method gives more architectures than it was asked for.
    """
    state = method.init(space)
    known: dict[Architecture, NDArray[np.float64]] = {}
    everything, repeats = space.size(), 0
    while len(known) < min(budget, everything) and repeats < REPEATS and not enough():
        count = min(round_size, budget - len(known))
        asked = method.ask(state, space, count, rng)
        if not asked:
            break
        if len(asked) > count:
            raise ConfigError(
                f"{type(method).__name__}.ask gave {len(asked)} architectures; accepted: at most "
                f"the {count} asked for"
            )
        fresh = [arch for arch in dict.fromkeys(asked) if arch not in known]
        if fresh:
            known.update(zip(fresh, answer(fresh), strict=True))
            repeats = 0
        else:
            repeats += len(asked)
        method.tell(state, asked, np.array([known[arch] for arch in asked], np.float64))
    return Talk(state, len(known))
