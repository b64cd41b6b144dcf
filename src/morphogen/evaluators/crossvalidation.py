"""Cross-validation within the train part: who judges has trained nothing that it judges."""

from __future__ import annotations

import torch
from torch import Tensor

from morphogen.core.rng import numpy_stream
from morphogen.tasks.problem import Problem
from morphogen.tasks.splitting import folds


class CrossValidation:
    """Of each fold of the train part a problem that judges on it and trains on all other rows.

    The search-validation part is in none of the folds and trains in all problems: it is free for
    choices before, and what is judged here chose nothing then.

    Args:
        problem: of the search.
        wanted: folds, at least; there are more where the train part is larger than so many
            search-validation parts.
    """

    def __init__(self, problem: Problem, wanted: int) -> None:
        task = problem.task
        self._problem = problem
        self._folds: list[Tensor] = []
        self._made: tuple[int, Problem] | None = None
        if task.own_valid or task.gathers:
            return  # the search-validation part was chosen to judge; there are no rows to share
        # A fold has a batch of rows or more.
        length = task.length("train")
        count = min(
            max(wanted, length // max(task.length("valid"), 1)), length // problem.batch_size
        )
        if count > 1:
            found = folds(task, count, numpy_stream(problem.seed, "folds"))
            self._folds = found if min(map(len, found)) >= problem.batch_size else []

    def __bool__(self) -> bool:
        """Whether there are folds: not of data that came with a search-validation part."""
        return bool(self._folds)

    @property
    def smallest(self) -> int:
        """Rows of the smallest fold."""
        return min(map(len, self._folds))

    def __getitem__(self, number: int) -> Problem:
        """The problem of a fold; after the last one the first again. The latest is kept."""
        number %= len(self._folds)
        if self._made is None or self._made[0] != number:
            whole, held = self._problem, self._folds[number]
            rows = whole.task.rows("pool")
            others = rows[~torch.isin(rows, held)]
            self._made = number, whole.on(whole.task.with_parts(others, held))
        return self._made[1]
