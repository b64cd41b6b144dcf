"""One decision after the other: which choice comes next, and what it keeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from morphogen.scoring.projection import Projection
from morphogen.scoring.scores import OperationScore, Row, ScoringContext, best
from morphogen.spaces import DecisionPlan
from morphogen.supernets import Gates

Order = Literal[
    "random",
    "fixed",
    "reverse",
    "global-op-iter",
    "global-op-once",
    "global-edge-iter",
    "global-edge-once",
]
"""Which choice is decided next (Zero-Cost-PT, section on edge orders): a random one; the first; the
last; the one with the best option of all (`op`) or the best mean over its options (`edge`), scored
anew before each decision (`iter`) or once for all (`once`)."""


@dataclass(frozen=True)
class Decision:
    """What was decided."""

    about: str
    """The choice, or the choices of a selection with `+` between them."""
    kept: tuple[str, ...]
    """Options kept, or choices that stay."""
    scores: tuple[float, ...]
    """Of each option, or of each choice of the selection."""

    @property
    def margin(self) -> float:
        """From the last of the scores that are high enough to win to the next; NaN where all win.

        By the scores alone: an edge that carries nothing loses its selection whatever its score.
        A margin that another draw of examples could turn round is a decision by chance.
        """
        ordered = sorted((s for s in self.scores if not math.isnan(s)), reverse=True)
        if len(ordered) <= len(self.kept):
            return math.nan
        return ordered[len(self.kept) - 1] - ordered[len(self.kept)]


def mean_margin(decisions: Sequence[Decision]) -> dict[str, float]:
    """The entry `margin` of a line of metrics; none where nothing was decided against anything."""
    margins = [d.margin for d in decisions if math.isfinite(d.margin)]
    return {"margin": sum(margins) / len(margins)} if margins else {}


def decide_next(
    projection: Projection,
    gates: Callable[[], Gates],
    score: OperationScore,
    order: Order,
    rng: np.random.Generator,
) -> list[Decision]:
    """Every plan decides one thing, seeing what the plans before it have decided.

    Args:
        projection: changed.
        gates: those of the projection as it is when called.
        score: what options are worth.
        order: which choice comes next.
        rng: of the order.
    """
    found = []
    for plan in projection.plans:
        if projection.undecided(plan):
            found.append(_decide(projection, plan, gates(), score, order, rng))
        elif projection.unselected(plan):
            found.append(_select(projection, plan, gates(), score, order, rng))
    return found


def _decide(
    projection: Projection,
    plan: DecisionPlan,
    gates: Gates,
    score: OperationScore,
    order: Order,
    rng: np.random.Generator,
) -> Decision:
    space = projection.space
    left = projection.undecided(plan)
    now = ScoringContext(space, gates, tuple(left), projection.run)
    table: dict[str, Row] = {}
    if order.startswith("global"):
        queue = next((q for q in projection.queues if set(left) <= set(q)), [])
        if not queue:
            table = {name: score.options(now, name) for name in left}
            key = np.nanmax if "-op-" in order else np.nanmean
            value = {name: float(key(row)) for name, row in table.items()}
            queue = sorted(left, key=lambda name: -value[name])  # stable: ties keep the first
            if order.endswith("once"):
                projection.queues.append(queue)
        name = next(n for n in queue if n in left)
    else:
        name = _next(left, order, rng)
    # The best option of all has just been scored; an edge's are scored again, as in the paper.
    row = table[name] if order == "global-op-iter" else score.options(now, name)
    kept = best(row, projection.places(name))
    projection.decide(name, kept)
    options = space.choice(name).options
    return Decision(name, tuple(options[i] for i in kept), tuple(float(s) for s in row))


def _select(
    projection: Projection,
    plan: DecisionPlan,
    gates: Gates,
    score: OperationScore,
    order: Order,
    rng: np.random.Generator,
) -> Decision:
    left = [str(i) for i in projection.unselected(plan)]
    number = int(_next(left, order if order == "reverse" or order == "fixed" else "random", rng))
    selection = projection.selection(number)
    now = ScoringContext(projection.space, gates, (), projection.run)
    row = score.choices(now, selection.choices)
    # Who carries nothing goes first, whatever its score: it cannot be kept in the end.
    rank = np.where(np.isnan(row), -np.inf, row)
    empty = np.array(projection.empty(number))
    order_of_merit = np.lexsort((np.arange(len(rank)), -rank, empty))
    winners = [selection.choices[i] for i in sorted(order_of_merit[: selection.keep])]
    projection.select(number, winners)
    return Decision("+".join(selection.choices), tuple(winners), tuple(float(s) for s in row))


def _next(left: Sequence[str], order: Order, rng: np.random.Generator) -> str:
    if order == "fixed":
        return left[0]
    if order == "reverse":
        return left[-1]
    return left[int(rng.integers(len(left)))]
