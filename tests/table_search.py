"""A black-box search on a column of a table, in memory; shared by the claims of such methods.

Nothing here is a test.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from morphogen import benchmarks
from morphogen.core import Architecture
from morphogen.methods import find
from morphogen.spaces import SearchSpace, make


@cache
def column(metric: str, space: str = "nasbench201") -> dict[Architecture, float]:
    """Architecture -> value of the metric."""
    table = benchmarks.load(space)
    return dict(zip(table.architectures, table.values(metric).tolist(), strict=True))


def asked(
    config: Any,
    values: dict[Architecture, float] | Any,
    seed: int,
    budget: int,
    *,
    space: SearchSpace | None = None,
    round_size: int = 1,
    target: float = np.inf,
) -> tuple[list[Architecture], Any]:
    """Different architectures in the order in which they were asked for, and the final state.

    `values` is a mapping, or a function from an architecture to a score or to several. What is
    asked again is told again, and does not count. The search ends when `target` was reached.
    """
    info = next(i for i in (find(n) for n in NAMES) if type(config) is i.config)
    look = values.__getitem__ if isinstance(values, dict) else values
    method, rng = info.build(config), np.random.default_rng(seed)
    space = space or make("nasbench201")
    state = method.init(space)
    known: dict[Architecture, Any] = {}
    best, rounds = -np.inf, 0
    while len(known) < min(budget, space.size()) and best < target and rounds < 100 * budget:
        archs = method.ask(state, space, min(round_size, budget - len(known)), rng)
        if not archs:
            break
        known.update({a: look(a) for a in archs if a not in known})
        scores = np.array([known[a] for a in archs], float)
        method.tell(state, archs, scores)
        best, rounds = max(best, float(np.max(scores))), rounds + 1
    return list(known), state


NAMES = ("random", "aging-evolution", "local-search", "weaknas", "nsga2", "bananas")


def queries_to(best: float, order: list[Architecture], values: dict[Architecture, float]) -> int:
    """After how many queries a value of at least `best` was met; the length of all if never."""
    for number, arch in enumerate(order, start=1):
        if values[arch] >= best:
            return number
    return len(order)
