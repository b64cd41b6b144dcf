"""Sizes that nobody asked for shrink to what the data have, and it is said.

What the user asked for is never changed: it is refused where the data do not have it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from morphogen.engine.search.settings import Settings
from morphogen.engine.train.training import Training
from morphogen.tasks.classification import ImageTask

Sentences = tuple[str, ...]


def usual(asked: Settings | Training, *names: str) -> tuple[str, ...]:
    """Those of the names whose settings have the default."""
    return tuple(name for name in names if getattr(asked, name) == getattr(type(asked), name))


def fitted(settings: Settings, task: ImageTask) -> tuple[Settings, Sentences]:
    """A search's settings with the sizes that the data have, and a sentence on what shrank."""
    # From what was asked of the split the same parts are cut again; groups may have left less.
    parts = dict(zip(("train_images", "valid_images"), task.asked, strict=True))
    less: dict[str, Any] = {
        name: count for name, count in parts.items() if count < getattr(settings, name)
    }
    smallest = min(len(task.train), len(task.valid))
    if usual(settings, "batch_size") and settings.batch_size > smallest:
        less["batch_size"] = _batch(smallest, settings.devices)
    return replace(settings, **less), _said(less, task)


def fitted_training(training: Training, task: ImageTask, part: str) -> tuple[Training, Sentences]:
    """A training's settings with a batch that the part has, and a sentence if it shrank."""
    count = len(task.train if part == "train" else task.pool)
    if training.batch_size <= count or not usual(training, "batch_size"):
        return training, ()
    less: dict[str, Any] = {"batch_size": _batch(count, 1)}
    return replace(training, **less), _said(less, task)


def _batch(most: int, devices: int) -> int:
    """A power of two as usual, as far as so many processes can share it."""
    return max(1, (1 << (most.bit_length() - 1)) // devices) * devices


def _said(less: dict[str, Any], task: ImageTask) -> Sentences:
    if not less:
        return ()
    listed = ", ".join(f"{name} {value:,}" for name, value in less.items())
    return (f"the data have {len(task.pool):,} training images, so that less is taken: {listed}",)
