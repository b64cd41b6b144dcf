"""Which rows train weights and which train the architecture in an epoch of a search.

Each way is a function of seed and epoch alone, so that a resumed search goes on with the same rows:

    fixed    the two search parts, the same in every epoch (DARTS)
    resplit  the pool is cut anew at random
    group    the groups of the pool (sequences, patients) are: none is in both
    shared   all rows for both: single level, a control

Rows are those of the part `pool`.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from morphogen.core.errors import ConfigError, DataError
from morphogen.core.rng import numpy_stream
from morphogen.tasks.base import Task

Way = Literal["resplit", "fixed", "group", "shared"]
WAYS: tuple[Way, ...] = get_args(Way)


class Splitter:
    """The rows of each epoch.

    Args:
        way: see the module.
        task: whose pool is cut.
        ratio: share of the rows that train weights; of groups about so many rows.
        seed: of the run.

    Raises:
        ConfigError: the way is not known, or the ratio not between 0 and 1.
        DataError: the way is `group`, and the data have fewer than two groups.
    """

    def __init__(self, way: Way, task: Task, *, ratio: float = 0.5, seed: int = 0) -> None:
        if way not in WAYS:
            raise ConfigError(f"split is {way!r}; accepted: {', '.join(WAYS)}")
        if not 0 < ratio < 1:
            raise ConfigError(f"ratio is {ratio}; accepted: above 0, below 1")
        self.way, self.task, self.ratio, self.seed = way, task, ratio, seed
        if way == "group" and (task.groups is None or len(np.unique(task.groups)) < 2):
            raise DataError(
                f"split is 'group', and data {task.name!r} have "
                f"{'no groups' if task.groups is None else 'one group'}; accepted: data with a "
                "column of groups, or another split"
            )

    def epoch(self, number: int) -> tuple[Tensor, Tensor]:
        """Rows that train weights and rows that train the architecture, int64, ascending."""
        if self.way == "fixed":
            return self.task.rows("train"), self.task.rows("valid")
        rows = self.task.rows("pool")
        if self.way == "shared":
            return rows, rows
        draw = numpy_stream(self.seed, f"split/{number}")
        first = self._groups(draw) if self.way == "group" else self._rows(draw, len(rows))
        return rows[first], rows[~first]

    def _rows(self, draw: np.random.Generator, n: int) -> Tensor:
        """Which rows train weights: a share of them, at random."""
        count = min(max(round(self.ratio * n), 1), n - 1)
        first = torch.zeros(n, dtype=torch.bool)
        first[torch.from_numpy(draw.permutation(n)[:count])] = True
        return first

    def _groups(self, draw: np.random.Generator) -> Tensor:
        """Whole groups in random order, each if it brings their rows nearer to the ratio."""
        groups = np.asarray(self.task.groups)
        names, of_row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        wanted, held = self.ratio * len(of_row), 0
        chosen = np.zeros(len(names), dtype=bool)
        for group in draw.permutation(len(names)):
            if abs(held + sizes[group] - wanted) < abs(held - wanted):
                chosen[group] = True
                held += sizes[group]
        if chosen.all() or not chosen.any():  # one group has nearly all rows
            chosen[int(sizes.argmin())] ^= True
        return torch.from_numpy(chosen[of_row])


def folds(task: Task, count: int, draw: np.random.Generator) -> list[Tensor]:
    """The train part in folds for cross-validation: disjoint, and together all of it.

    Args:
        task: whose train part.
        count: of folds of about equal size, each as much like the whole as may be; groups come
            whole, the largest first, each to the fold that has the fewest rows by then.
        draw: by which it is drawn.

    Returns:
        Rows of the pool, int64, ascending.
    """
    rows = task.rows("train")
    if task.groups is None:
        order = rows[torch.from_numpy(task.choose("train", 0, draw))]
        return [piece.sort().values for piece in order.tensor_split(count)]
    _, of_row, sizes = np.unique(
        np.asarray(task.groups)[rows.numpy()], return_inverse=True, return_counts=True
    )
    fold_of, filled = np.zeros(len(sizes), np.intp), np.zeros(count)
    for group in sorted(draw.permutation(len(sizes)).tolist(), key=lambda g: -sizes[g]):
        fold_of[group] = filled.argmin()
        filled[fold_of[group]] += sizes[group]
    return [rows[torch.from_numpy(fold_of[of_row] == fold)] for fold in range(count)]
