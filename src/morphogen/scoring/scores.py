"""Operation scores: what every option of a choice is worth, a higher score for a better one.

`measure` says how good a network is under given gates, higher is better: the accuracy of a
trained supernet, or a proxy of an untrained one. Two questions can be asked of it. `Perturbed`:
what is lost without the option (DARTS-PT, arXiv 2108.04392; with a proxy Zero-Cost-PT, arXiv
2106.06799). `Discretised`: how good is the supernet with the option alone. `Magnitude` asks nobody
but alpha.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from morphogen.core import NumericalError
from morphogen.scoring.perturbation import only, place, without, without_choice
from morphogen.spaces import SearchSpace
from morphogen.supernets import Gates

Measure = Callable[[Gates], float]
"""How good the network is under these gates; higher is better. NaN: cannot be said."""

Row = NDArray[np.float64]


@dataclass(frozen=True)
class ScoringContext:
    """What a score is asked about: the gates as they are, and what is undecided in them."""

    space: SearchSpace
    gates: Gates
    undecided: tuple[str, ...]
    """Choices among which the next one is decided."""
    run: bool = False
    """Whether options of weight 0 are executed."""


class OperationScore(Protocol):
    """What options, or whole choices, are worth in a situation."""

    def options(self, now: ScoringContext, name: str) -> Row:
        """A score for each option of the choice called `name`."""

    def choices(self, now: ScoringContext, names: Sequence[str]) -> Row:
        """A score for each of these choices, as they are decided: which can be missed least."""


@dataclass(frozen=True)
class Magnitude:
    """The weight of the option: DARTS' own criterion, the softmax of alpha."""

    original: Gates
    """The softmax of alpha before anything was decided."""

    def options(self, now: ScoringContext, name: str) -> Row:
        """Weights of the options."""
        group, row = place(now.space, name)
        weights = self.original.weights[group][row].detach().cpu().double().numpy()
        return weights[: len(now.space.choice(name).options)]

    def choices(self, now: ScoringContext, names: Sequence[str]) -> Row:
        """The largest original weight of what each choice has decided to keep."""
        found = []
        for name in names:
            group, row = place(now.space, name)
            kept = now.gates.weights[group][row] > 0
            weights = self.original.weights[group][row].detach()[kept]
            found.append(float(weights.max()) if len(weights) else 0.0)
        return np.array(found)


@dataclass(frozen=True)
class Perturbed:
    """Minus the measure without the option, the others as they are."""

    measure: Measure

    def options(self, now: ScoringContext, name: str) -> Row:
        """Minus the measure without each option."""
        count = len(now.space.choice(name).options)
        gates = (without(now.space, now.gates, name, i, run=now.run) for i in range(count))
        return np.array([-self.measure(g) for g in gates])

    def choices(self, now: ScoringContext, names: Sequence[str]) -> Row:
        """Minus the measure without each choice."""
        gates = (without_choice(now.space, now.gates, n, run=now.run) for n in names)
        return np.array([-self.measure(g) for g in gates])


@dataclass(frozen=True)
class Discretised:
    """The measure with the option alone in its choice; whole choices as `Perturbed` has them."""

    measure: Measure

    def options(self, now: ScoringContext, name: str) -> Row:
        """The measure with each option alone."""
        count = len(now.space.choice(name).options)
        gates = (only(now.space, now.gates, name, i, run=now.run) for i in range(count))
        return np.array([self.measure(g) for g in gates])

    def choices(self, now: ScoringContext, names: Sequence[str]) -> Row:
        """Minus the measure without each choice."""
        return Perturbed(self.measure).choices(now, names)


@dataclass(frozen=True)
class RankedTogether:
    """Minus the sum of the ranks of two measures, taken over all undecided options (TE-NAS).

    Args:
        trainability: higher is better, e.g. minus the condition number of the tangent kernel.
        expressivity: higher is better, e.g. the number of linear regions.

    Each option is taken away and ranked among all undecided options of all choices; one whose loss
    lowers both measures most is worth most (Zero-Cost-PT's form of TE-NAS, arXiv 2102.11535).
    """

    trainability: Measure
    expressivity: Measure

    def options(self, now: ScoringContext, name: str) -> Row:
        """Minus the ranks of what is left without each option, among all undecided ones."""
        return self.tables(now)[name]

    def tables(self, now: ScoringContext) -> dict[str, Row]:
        """The scores of all undecided choices, at the price of those of one."""
        counts = [len(now.space.choice(n).options) for n in now.undecided]
        gates = [
            without(now.space, now.gates, n, i, run=now.run)
            for n, count in zip(now.undecided, counts, strict=True)
            for i in range(count)
        ]
        rows = np.split(self._ranks(gates), np.cumsum(counts)[:-1])
        return dict(zip(now.undecided, rows, strict=True))

    def choices(self, now: ScoringContext, names: Sequence[str]) -> Row:
        """Minus the ranks of what is left without each choice, among these."""
        return self._ranks([without_choice(now.space, now.gates, n, run=now.run) for n in names])

    def _ranks(self, gates: Sequence[Gates]) -> Row:
        from scipy.stats import rankdata  # late: it takes half a second

        rows = [[m(g) for g in gates] for m in (self.trainability, self.expressivity)]
        return -sum((rankdata(row, nan_policy="omit") for row in rows), np.zeros(len(gates)))


def best(scores: Row, keep: int) -> list[int]:
    """Positions of the `keep` highest scores, ascending; ties keep the first, NaN is never best.

    Raises:
        NumericalError: fewer than `keep` scores are numbers.
    """
    if np.count_nonzero(~np.isnan(scores)) < keep:
        raise NumericalError(
            f"only {np.count_nonzero(~np.isnan(scores))} of {len(scores)} operation scores are "
            f"numbers, and {keep} are to be kept; accepted: another score, or another batch size"
        )
    order = np.argsort(-np.where(np.isnan(scores), -np.inf, scores), kind="stable")
    return sorted(int(i) for i in order[:keep])
