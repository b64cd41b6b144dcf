"""Ask a black-box method for architectures, tell it their scores; nothing of files or time.

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
from morphogen.evaluators.stage import FULL, Stage
from morphogen.methods import AskTell, Staged
from morphogen.spaces import SearchSpace

Answer = Callable[[Sequence[Architecture], Stage], NDArray[np.float64]]
"""Architectures never asked for before at this stage's budget -> what to tell of them, [n] or
[n, objectives]."""

Traces = Callable[[Sequence[Architecture], Stage], list[NDArray[np.float64] | None]]
"""Architectures that were answered for at this stage -> what was recorded of their trainings."""

REPEATS = 10_000
"""Architectures that are asked for again, one after the other, before a method counts as done."""


@dataclass(frozen=True)
class AskTellResult:
    """Where a black-box method stands when no more is asked."""

    state: Any
    """The method's own."""
    answered: int
    """Different architectures."""


def ask_and_tell(
    method: AskTell,
    space: SearchSpace,
    rng: np.random.Generator,
    answer: Answer,
    *,
    budget: int,
    round_size: int = 1,
    stops: Sequence[int] = (),
    enough: Callable[[], bool] = lambda: False,
    traces: Traces = lambda archs, stage: [None] * len(archs),
) -> AskTellResult:
    """Ask, answer and tell until the budget is spent or the method has no more new questions.

    Args:
        method: who asks.
        space: what it asks about.
        rng: for its draws.
        answer: called once for each round with anything new in it.
        budget: different architectures; one asked for at two stages counts twice.
        round_size: architectures that are asked for at once; all are told together.
        stops: numbers of architectures at which a round ends, however many were still to ask: the
            search ended there before it went on.
        enough: asked before each round; True ends it.
        traces: called for each round of a method with stages.

    Raises:
        ConfigError: the method gives more architectures than it was asked for.
    """
    state = method.init(space)
    known: dict[tuple[float, Architecture], NDArray[np.float64]] = {}
    staged = method if isinstance(method, Staged) else None
    if staged:
        staged.plan(state, budget)
    most = budget if staged else min(budget, space.size())
    repeats = 0
    while len(known) < most and repeats < REPEATS and not enough():
        nearest = min(stop for stop in (*stops, budget) if stop > len(known))
        count = min(round_size, nearest - len(known))
        asked = method.ask(state, space, count, rng)
        if not asked:
            break
        if len(asked) > count:
            raise ConfigError(
                f"{type(method).__name__}.ask gave {len(asked)} architectures; accepted: at most "
                f"the {count} asked for"
            )
        stage = staged.stage(state) if staged else FULL
        fresh = [arch for arch in dict.fromkeys(asked) if (stage.budget, arch) not in known]
        if fresh:
            keys = [(stage.budget, arch) for arch in fresh]
            known.update(zip(keys, answer(fresh, stage), strict=True))
            repeats = 0
        else:
            repeats += len(asked)
        if staged:
            staged.read_traces(state, traces(asked, stage))
        scores = [known[stage.budget, arch] for arch in asked]
        method.tell(state, asked, np.array(scores, np.float64))
    return AskTellResult(state, len(known))
