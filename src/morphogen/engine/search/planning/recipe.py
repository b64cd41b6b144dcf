"""The recipe where a training sees each example very often, or a few times."""

from __future__ import annotations

from morphogen.engine.search.planning.choices import Choices
from morphogen.engine.search.planning.speed import Speed
from morphogen.engine.train.origin import in_search
from morphogen.engine.train.recipe import DECAY, SELDOM, fitting, told


def choose_recipe(plan: Choices, speed: Speed, steps: float) -> bool:
    """The recipe that fits how often a training of so many steps sees each example.

    Returns:
        Whether a step takes longer by it.
    """
    passes = steps / speed.steps_of_pass(plan.settings)
    fit = fitting(
        plan.settings.task,
        plan.config.weights,
        speed.space,
        passes=passes,
        examples=speed.task.length("pool"),
    )
    values = {
        name: plan.take(in_search(name), value)
        for name, value in fit.items()
        if not plan.asked(in_search(name))
    }
    if values:
        plan.say(told(values, passes))
    return passes > SELDOM and any(name != DECAY for name in values)
