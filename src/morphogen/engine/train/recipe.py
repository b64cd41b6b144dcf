"""The length that fits the number of examples, and the recipe that fits how often each is seen."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from operator import attrgetter
from typing import Any

from morphogen.bilevel.optimisers import SGD, Optimiser
from morphogen.core.config import altered, require_fields
from morphogen.core.text import count, roughly
from morphogen.engine.train.training import Training, quick_training
from morphogen.spaces import ModuleSpace, SearchSpace
from morphogen.tasks import Task
from morphogen.tasks.configs import TaskConfig

DRAWN, MOST_EPOCHS = 200_000, 300
"""Examples of a training where nobody sets its epochs, and the most epochs: of few data twelve
passes are a few seconds, and teach little. 500 images of CIFAR-10 take a network to 32 % in 12
epochs, and to 40 % in 300 (`results/training-recipe.json`)."""

SELDOM = 16
"""Passes over the data up to which images are not shifted. Of 16 pixels, by 8 channels, with 14
passes that is worth 1.2 points on 50,000 images of Fashion-MNIST and 1.0 on 40,000 of CIFAR-10;
with 28 it costs 1.0 there."""

DECAYED, OFTEN, FEW = 25, 40, 5000
"""Passes over so many data or fewer, from which on the L2 penalty is larger, and from which on all
of the recipe is that of few data; over more, as many more passes. Of 5,000 images the penalty alone
is worth 1.7 points with 28 passes, and 0.5 with the other changes. These make no difference with 25
passes over 4,000 and are worth 4.6 points with 60, of 500 images as much with 300; of 20,000 images
16 passes are far too few (it costs 2.7 points)."""

FEW_DATA_DECAY = 2.5e-4
"""L2 penalty times learning rate where a training sees each example very often, with batch norm: of
a rate of 0.05 a penalty of 0.005, ten times the usual. With four times as much networks learn
little."""

TASK, DECAY, EPOCHS = "task", "weight_decay", "epochs"


def names(task: TaskConfig | None) -> tuple[str, ...]:
    """Fields of a training that are chosen by how often it sees its examples.

    Args:
        task: what the data are asked for.
    """
    held = {} if task is None else {**task.seen_seldom, **task.seen_often}
    return (*(f"{TASK}.{name}" for name in held), DECAY)


def of_few_data(task: TaskConfig | None, descent: Optimiser) -> dict[str, Any]:
    """Fields of a training, with the values that pay where it sees each example very often.

    Args:
        task: what the data are asked for; of a task of one's own nothing is known.
        descent: the optimiser of the weights.
    """
    if task is None:
        return {}
    held = {f"{TASK}.{name}": value for name, value in task.seen_often.items()}
    if task.fits and isinstance(descent, SGD):
        held[DECAY] = float(f"{FEW_DATA_DECAY / descent.lr:.2g}")
    return held


def fitting(
    task: TaskConfig | None, descent: Optimiser, space: SearchSpace, *, passes: float, examples: int
) -> dict[str, Any]:
    """Fields of a training, with the values that pay where they are not the usual ones.

    Tuned on images of CIFAR-10 and of Fashion-MNIST; of 500 it is worth more than any cell.

    Args:
        task: what the data are asked for.
        descent: the optimiser of the weights.
        space: of the network. A module of one's own keeps its weight decay: it may have no batch
            norm, or weights that it was trained to have.
        passes: over the data.
        examples: of them.
    """
    if passes <= SELDOM:
        seldom = {} if task is None else task.seen_seldom
        return {f"{TASK}.{name}": value for name, value in seldom.items()}
    as_of_few = passes / max(1.0, examples / FEW)
    return {
        name: value
        for name, value in of_few_data(task, descent).items()
        if as_of_few >= (DECAYED if name == DECAY else OFTEN)
        and not (name == DECAY and isinstance(space, ModuleSpace))
    }


def told(values: Mapping[str, Any], passes: float) -> str:
    """What is said of a recipe that fits."""
    each = [
        f"{name.rpartition('.')[2].replace('_', ' ')} {'off' if value is False else value}"
        for name, value in values.items()
    ]
    number = count(passes) if isinstance(passes, int) else roughly(passes)
    often = "seldom" if passes <= SELDOM else "often"
    return (
        f"{', '.join(each)}: with {number} pass{'es'[: 2 * (passes != 1)]} over the data each "
        f"example is seen {often}"
    )


def fitted_recipe(
    training: Training, space: SearchSpace, task: Task, keep: Collection[str] = ()
) -> tuple[Training, tuple[str, ...], tuple[str, ...]]:
    """A training of the length that fits the data, by the recipe that fits its length.

    Args:
        training: of which only that is changed which is as `quick_training` has it.
        space: of the network.
        task: the data.
        keep: names of fields, `task.crop`, that are not changed in any case.

    Returns:
        The training, the names of the fields that are not as usual by this, and what is said of
        them.

    Raises:
        ConfigError: `keep` names no field of a training.
    """
    require_fields(keep, training)
    usual = quick_training(space, training.task and type(training.task)())
    free = {
        name
        for name in (EPOCHS, *names(training.task))
        if name not in keep and attrgetter(name)(training) == attrgetter(name)(usual)
    }
    examples, said = task.length("pool"), []
    longer: tuple[str, ...] = ()
    if training.task is not None and training.task.fits and EPOCHS in free:
        epochs = min(MOST_EPOCHS, math.ceil(DRAWN / examples))
        if epochs > training.epochs:
            longer = (EPOCHS,)
            said.append(
                f"epochs {epochs}: {training.epochs} passes over {count(examples)} {task.unit} "
                "would be few"
            )
            training = replace(training, epochs=epochs)
    fit = fitting(training.task, training.descent, space, passes=training.epochs, examples=examples)
    recipe = {name: value for name, value in fit.items() if name in free}
    if recipe:
        said.append(told(recipe, training.epochs))
    return altered(training, recipe), (*longer, *recipe), tuple(said)
