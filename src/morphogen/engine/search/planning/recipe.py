"""The recipe where a training sees each example very often, or a few times."""

from __future__ import annotations

from typing import Any

from morphogen.core.text import roughly
from morphogen.engine.search.planning.choices import Choices
from morphogen.engine.search.planning.speed import Speed
from morphogen.engine.train.training import SELDOM, decay_of_few_data
from morphogen.spaces import ModuleSpace

OFTEN, FEW = 40, 5000
"""Passes over so many data or fewer, in all of the time, from which on the recipe is that of few
data; over more, as many more passes. Of 4,000 images it makes no difference with 25 passes and is
worth 4.6 points with 60, of 500 images as much with 300; of 20,000 images 16 passes are far too few
(it costs 2.7 points)."""


def choose_recipe(plan: Choices, speed: Speed, steps: float) -> bool:
    """The recipe where a training of so many steps sees each example very often, or a few times.

    Tuned on images of CIFAR-10 and of Fashion-MNIST; of 500 it is worth more than any cell.

    Returns:
        Whether a step takes longer by it.
    """
    passes, held = steps / speed.steps_of_pass(plan.settings), plan.settings.task
    few = passes <= SELDOM
    if not few and passes < OFTEN * max(1.0, speed.task.length("pool") / FEW):
        return False
    fit = (held.seen_seldom if few else held.seen_often) if held else {}
    chosen = {f"task.{name}": value for name, value in fit.items()}
    own = isinstance(speed.space, ModuleSpace)  # it may have no batch norm, or weights of its own
    decay = None if few or own else decay_of_few_data(plan.config.weights)
    if decay is not None:
        chosen["weights.weight_decay"] = decay
    told = [
        f"{name.rpartition('.')[2].replace('_', ' ')} {_said(plan.take(name, value))}"
        for name, value in chosen.items()
        if not plan.asked(name)
    ]
    if told:
        number = "few" if few else "many"
        plan.say(f"{', '.join(told)}: {roughly(passes)} passes over the data are {number}")
    return bool(told) and not few


def _said(value: Any) -> str:
    return "off" if value is False else str(value)
