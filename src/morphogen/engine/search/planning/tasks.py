"""The data of a plan: at which sizes they can be had, and how many train and judge."""

from __future__ import annotations

import time
from collections.abc import Sequence

from morphogen.core.text import count
from morphogen.engine.search.planning.choices import Choices
from morphogen.tasks import Task
from morphogen.tasks.configs import TaskConfig
from morphogen.tasks.cut import Cut
from morphogen.tasks.kinds import Data, task_for

VALID_SHARE, MOST_VALID = 0.25, 6000
"""Of the examples, for race and decision; no more are needed."""

BATCH = 64


class SizedTasks:
    """The task at each size at which its inputs can be had; read when it is asked for."""

    def __init__(self, plan: Choices, data: Data) -> None:
        self._data, self._held = data, plan.settings.task
        self._cut = Cut(held_out=VALID_SHARE, seed=plan.settings.seed)
        self._read: dict[TaskConfig | None, Task] = {}
        self.seconds = 0.0
        """That the last reading took."""
        self.sizes: Sequence[TaskConfig | None] = (self._held,)
        """Configurations, the finest inputs first."""
        sized = any(plan.asked(f"task.{name}") for name in getattr(self._held, "sizes", ()))
        if self._held is None or isinstance(data, Task) or sized:
            self.finest = self.at(self._held)
        else:
            start = time.perf_counter()
            self.finest, self.sizes = self._held.at_sizes(data, self._cut)
            self.seconds = time.perf_counter() - start
            self._read[self.sizes[0]] = self.finest

    def at(self, config: TaskConfig | None) -> Task:
        """The task so configured."""
        if config not in self._read:
            start = time.perf_counter()
            self._read[config] = task_for(self._data, config, self._cut)
            self.seconds = time.perf_counter() - start
        return self._read[config]


def choose_parts(plan: Choices, task: Task) -> None:
    """How many examples train, how many judge."""
    total = task.length("pool")
    if plan.settings.task is not None:
        judge = max(2, min(round(VALID_SHARE * total), MOST_VALID))
        judge = task.length("valid") if task.own_valid else judge
        valid = plan.take("split.valid_images", judge)
        rest = task.length("train") if task.own_valid else max(2, total - valid)
        plan.take("split.train_images", rest)
    train = plan.settings.split.train_images or task.length("train")
    valid = plan.settings.split.valid_images or task.length("valid")
    smaller = 1 << (max(2, min(train // 8, valid)).bit_length() - 1)
    plan.take("batch_size", min(BATCH, smaller))
    decide = (
        "a third its rounds and the others the decision"
        if task.own_valid
        else ("in the decision others with each seed")
    )
    plan.say(
        f"{count(total)} training {task.unit}: in a race {count(train)} train and {count(valid)} "
        f"judge, {decide}; the last training has all"
    )
