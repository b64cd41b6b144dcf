"""What a user should know of how a training ended, a sentence each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

from morphogen.engine.train.recipe import DECAY, of_few_data
from morphogen.engine.train.training import Training
from morphogen.runs.described import Described

BY_HEART = 15.0
"""Points by which the metric on training examples, augmented as they were, is better than on new
ones from which on a network is said to know them by heart. Where it was 31 (4,000 images of
CIFAR-10, 60 epochs), the other recipe was worth 4.6 points."""


def by_heart(
    history: Sequence[Mapping[str, Any]],
    reached: Sequence[Mapping[str, Any]],
    task: Described,
    training: Training,
) -> tuple[str, ...]:
    """A sentence if a network has learned its training examples by heart, and what helps is left.

    Args:
        history: lines of metrics.
        reached: on the parts that trained nothing, with means; the first one counts.
        task: of a metric in percent; of others nobody knows what is much.
        training: the recipe.
    """
    known = history[-1].get(f"train_{task.metric}") if history else None
    new = next((float(part["mean"]) for part in reached if part.get("mean") is not None), None)
    if task.unit != "%" or known is None or new is None or task.sign * (known - new) <= BY_HEART:
        return ()
    usual = replace(training, task=training.task and type(training.task)())
    offered = of_few_data(training.task, training.descent)
    left = {
        name: value
        for name, value in offered.items()
        if (training.weight_decay < value if name == DECAY else _same(name, training, usual))
    }
    if not left:
        return ()
    flags = " ".join(f"--{n.rpartition('.')[2].replace('_', '-')} {v}" for n, v in left.items())
    return (
        f"the network knows its training {task.examples} by heart ({task.spelt} "
        f"{task.value(known)} on them, {task.value(new)} on others); {flags} may help, as may more "
        f"{task.examples}",
    )


def _same(name: str, one: Training, other: Training) -> bool:
    return bool(attrgetter(name)(one) == attrgetter(name)(other))
