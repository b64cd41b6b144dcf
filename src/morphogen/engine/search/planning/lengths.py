"""How the time is shared out: whether there is a race, and how long each training is."""

from __future__ import annotations

from collections.abc import Callable

from morphogen.core.config import altered
from morphogen.core.text import duration, roughly
from morphogen.engine.search.planning.choices import Choices
from morphogen.engine.search.planning.speed import Speed
from morphogen.methods.successive_halving import SuccessiveHalving

MOST_EPOCHS, MOST_STEPS = 600, 6000
"""Beyond the larger of the two a longer last training gains little; the time goes to the search."""

DEARER = 1.3
"""A candidate's cost in the reference's, on average: up to twice is allowed."""

PASSES = 2000
"""Over the data, in all of the time, from which on there is a search: with fewer, what the last
training loses by the search is more than a race can find. On 500 images a doubling of the passes is
worth 1.5 points or more up to some 600, and no cell in reach of the race was worth one."""

LAST = 0.4
"""Of the time, for the last training; less where it would be longer than it need be."""

DECISION = 0.75
"""Of the time of race and decision, for the decision."""

SEEDS = ((5, 0.9), (3, 0.5), (2, 0.0))
"""Trainings of each in the decision, by the share of the last training's length that each would
have with so many. What is decided after a small part of it says little of its end."""

CANDIDATES, MOST_CANDIDATES = 5, 8
"""In the race, beside the reference; the most where each has a tenth of the last training."""

SCREEN = 0.04
"""Of the time, for the screen."""


def _last(plan: Choices, steps: float, each: int) -> None:
    """The last training, of so many steps, in epochs."""
    plan.take("epochs", max(1, round(steps / each)))
    if steps < each:
        plan.take("steps_per_epoch", max(1, int(steps)))


def choose_lengths(plan: Choices, speed: Speed, step: float, left: Callable[[], float]) -> None:
    """How the seconds that are left are shared out, where a step of the reference takes `step`.

    What only a race asks for is measured where there is one.
    """
    each = speed.steps_of_pass(plan.settings)
    total = left() / step
    asked = plan.asked("candidates")
    if plan.config.candidates if asked else not plan.reference or total >= PASSES * each:
        plan.take("flops_per_byte", round(speed.flops_per_byte(plan.settings), 1))
        screen = _screen(plan, speed, left())
        _race(plan, step, each, (left() - screen) / step)
        return
    plan.take("candidates", 0)
    plan.take("screened", 0)
    _last(plan, total, each)
    known = f"a step of the reference takes {1000 * step:.3g} ms here, which is "
    known += f"{roughly(total / each)} passes over the data in the time"
    plan.say(
        f"{known}: no race is asked for, so that the reference is trained for all of it"
        if asked
        else f"{known}: a race pays from about {PASSES:,} on (--candidates N asks for one), so "
        "that the reference is trained for all of it"
    )


def _screen(plan: Choices, speed: Speed, left: float) -> float:
    """What is scored without training, and the seconds of it."""
    proxy = speed.proxy(plan.settings, plan.config)
    perturbation = speed.perturbation(plan.settings, plan.config)
    screened = plan.config.screened  # none in a space in which proxies say nothing
    if screened:
        screened = plan.take("screened", _times(SCREEN * left, proxy, least=20, most=1000))
    searches = plan.take("perturbations", _times(SCREEN * left, perturbation, most=4))
    return float(screened * proxy + searches * perturbation)


def _race(plan: Choices, step: float, each: int, total: float) -> None:
    """Race, decision and last training.

    Args:
        plan: with what is screened.
        step: seconds of one of the reference.
        each: steps of an epoch.
        total: steps for all three.
    """
    plan.take("drawn", 1)
    longest = min(LAST * total, max(MOST_EPOCHS * each, MOST_STEPS))
    of_seed = 1 + DEARER * plan.config.finalists
    for_decision = DECISION * (total - longest) / of_seed
    plan.take("seeds", next(n for n, share in SEEDS if for_decision / n >= share * longest))
    plan.take("decision", max(5, min(int(for_decision / plan.config.seeds), int(longest))))
    rest = total - longest - plan.config.seeds * of_seed * plan.config.decision
    plan.take(
        "candidates",
        MOST_CANDIDATES if _first(plan, rest, MOST_CANDIDATES) > longest / 10 else CANDIDATES,
    )
    plan.take("steps", max(5, min(_first(plan, rest, plan.config.candidates), int(longest))))
    _last(plan, longest, each)
    c, s = plan.config, plan.settings
    screen = f"{c.screened} architectures are screened, " if c.screened else ""
    plan.say(
        f"a step of the reference takes {1000 * step:.3g} ms here: {screen}{c.candidates} "
        f"candidates and the reference race over {c.steps} steps and more, "
        f"{c.finalists} and the reference are decided between by {c.seeds} seeds of {c.decision} "
        f"steps, and the last training has {s.epochs} epoch{'s'[: s.epochs != 1]} "
        f"({duration(longest * step)})"
    )


def _times(seconds: float, each: float, *, least: int = 0, most: int) -> int:
    """How often something can be done; never, where it cannot be done at all."""
    return max(least, min(most, int(seconds / each))) if each else 0


def _first(plan: Choices, steps: float, candidates: int) -> int:
    """Steps of a training of the first round, if the race has so many in all."""
    config = altered(plan.config, {"candidates": candidates})
    rounds = SuccessiveHalving(config).sizes
    return int(steps / sum((n * DEARER + 1) * config.eta**i for i, n in enumerate(rounds)))
