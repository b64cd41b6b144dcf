"""Sizes that nobody asked for are as usual, or what the data have, and it is said if that is less.

What the user asked for is never changed: it is refused where the data do not have it.
"""

from __future__ import annotations

from dataclasses import replace

from morphogen.core.config import altered
from morphogen.engine.search.settings import BATCH_SIZE, TRAIN_IMAGES, VALID_IMAGES, Settings, Split
from morphogen.engine.train import training as retraining
from morphogen.engine.train.training import Training
from morphogen.tasks import Task

Sentences = tuple[str, ...]


def usual(split: Split) -> Split:
    """The sizes of the two parts, those that nobody asked for as they usually are."""
    return Split(
        train_images=split.train_images or TRAIN_IMAGES,
        valid_images=split.valid_images or VALID_IMAGES,
    )


def fitted(settings: Settings, task: Task) -> tuple[Settings, Sentences]:
    """A search's settings with the sizes that the data have, and a sentence on what shrank."""
    wanted = usual(settings.split)
    # From what was asked of the split the same parts are cut again; groups may have left less.
    train, valid = task.asked
    smaller = min(task.drawn("train"), task.drawn("valid"))
    usually = task.usual_batch or BATCH_SIZE
    batch = _batch(usually, smaller, settings.hardware.devices)
    sizes = {
        "batch_size": (settings.batch_size or batch, settings.batch_size or usually),
    }
    # A task that somebody made has its own parts, and so has one that gathers its examples.
    if settings.task is not None and not task.gathers:
        sizes = {
            "split.train_images": (min(train, wanted.train_images), wanted.train_images),
            "split.valid_images": (min(valid, wanted.valid_images), wanted.valid_images),
            **sizes,
        }
    return altered(settings, {name: taken for name, (taken, _) in sizes.items()}), _said(
        sizes, task
    )


def fitted_training(training: Training, task: Task, part: str) -> tuple[Training, Sentences]:
    """A training's settings with a batch that the part has, and a sentence if it shrank."""
    if training.batch_size:
        return training, ()
    usually = task.usual_batch or retraining.BATCH_SIZE
    made = replace(training, batch_size=_batch(usually, task.drawn(part), 1))
    return made, _said({"batch_size": (made.batch_size, usually)}, task)


def _batch(usually: int, most: int, devices: int) -> int:
    """As usual, or the power of two below, as far as so many processes can share it."""
    if usually <= most:
        return usually
    return max(1, (1 << (most.bit_length() - 1)) // devices) * devices


def _said(sizes: dict[str, tuple[int, int]], task: Task) -> Sentences:
    """What is less than usual, of (taken, usual) by name."""
    less = [
        f"{name.rpartition('.')[-1]} {taken:,}"
        for name, (taken, usually) in sizes.items()
        if taken < usually
    ]
    if not less:
        return ()
    return (
        f"the data have {task.length('pool'):,} training {task.unit}, so that less is taken: "
        f"{', '.join(less)}",
    )
