"""How well a prediction orders what it predicts: over all, among the best, and where it counts.

A predictor, a proxy or a supernet is only as good as its order. Over all architectures the order of
most is easy; a search ends among the best, where it is not ("local order-preserving": Zhang et al.,
CVPR 2024, arXiv 2403.11380). Truth and prediction are made large by what is better.

One convention holds throughout. Where a side has one single value, nothing is ordered, and a
correlation is NaN: 0 would say that it was measured and is none. Of equal values the earlier ones
come first, where a number of them is to be taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from morphogen.core import arguments, ranges
from morphogen.core.errors import ConfigError
from morphogen.core.rng import numpy_stream

Values = NDArray[np.float64]

FRACTIONS = (0.5, 0.1, 0.05, 0.01)
"""Shares of the architectures that count as the best."""

TOPS = (10, 50, 100)
"""Numbers of them."""

LEAST = 3
"""Architectures that there must be."""

SMALLEST = 10
"""Architectures of the smallest top: of fewer, an order says next to nothing."""

MATRIX = 1500
"""Up to so many architectures a bootstrap of tau counts all pairs at once."""


def kendall(truth: Values, predicted: Values) -> float:
    """Kendall's tau-b, -1 to 1; NaN where either side is constant and nothing is ordered."""
    from scipy.stats import kendalltau

    return _correlation(kendalltau, truth, predicted)


def spearman(truth: Values, predicted: Values) -> float:
    """Spearman's rank correlation, -1 to 1; NaN where either side is constant."""
    from scipy.stats import spearmanr

    return _correlation(spearmanr, truth, predicted)


def _correlation(measure: Callable[..., Any], truth: Values, predicted: Values) -> float:
    truth, predicted = checked(truth, predicted)
    if len(truth) < 2 or _constant(truth) or _constant(predicted):
        return math.nan
    return float(measure(truth, predicted).statistic)


def best(values: Values, k: int) -> NDArray[np.intp]:
    """Places of the `k` largest values, largest first; of equal ones the earlier."""
    return np.argsort(-np.asarray(values), kind="stable")[:k]


def precision_at(truth: Values, predicted: Values, k: int) -> float:
    """Share of the `k` best predicted that are as good as the `k`-th best, 0 to 1.

    Ties of truth for the last place count as in.
    """
    return float(_heads(*checked(truth, predicted, k), [k])[0, 0])


def overlap_at(truth: Values, predicted: Values, k: int) -> float:
    """Share that the `k` best and the `k` best predicted have in common, 0 to 1."""
    return float(_heads(*checked(truth, predicted, k), [k])[0, 1])


def regret(truth: Values, predicted: Values) -> float:
    """What is lost by taking the best predicted: its distance to the best, in the truth's unit."""
    truth, predicted = checked(truth, predicted, 1)
    return float(truth.max() - truth[best(predicted, 1)[0]])


def _heads(truth: Values, predicted: Values, ks: Sequence[int]) -> Values:
    """Precision and overlap at each k, [ks, 2]."""
    right, chosen = best(truth, len(truth)), best(predicted, len(truth))
    place = np.empty(len(truth), np.intp)
    place[right] = np.arange(len(truth))
    place, good = place[chosen], truth[chosen]
    pairs = [((good[:k] >= truth[right[k - 1]]).mean(), (place[:k] < k).mean()) for k in ks]
    return np.array(pairs, np.float64).reshape(len(ks), 2)


def checked(truth: Values, predicted: Values, k: int | None = None) -> tuple[Values, Values]:
    """The two as arrays of one length without NaN, or a `ConfigError`; infinities have an order."""
    truth, predicted = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    if truth.shape != predicted.shape or truth.ndim != 1:
        raise ConfigError(
            f"there are {predicted.size} predictions; accepted: {truth.size}, one a score"
        )
    for name, values in (("score", truth), ("prediction", predicted)):
        if np.isnan(values).any():
            place = int(np.flatnonzero(np.isnan(values))[0])
            raise ConfigError(f"{name} {place} is NaN; accepted: numbers")
    if k is not None and not 1 <= k <= len(truth):
        raise ConfigError(f"k is {k}; accepted: 1 to {len(truth)}, the number of scores")
    return truth, predicted


def _constant(values: Values) -> bool:
    return bool((values == values[0]).all())


# -- all of it, with intervals ---------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """A figure, and the 95 % interval of its percentile bootstrap; NaN where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Level:
    """The order within a subset."""

    subset: Literal["all", "truth", "prediction"]
    """All architectures, the best ones, or those that are predicted to be the best."""
    n: int
    fraction: float | None
    """`n` as a share, where it was asked for as one."""
    tau: Estimate
    spearman: Estimate


@dataclass(frozen=True)
class Head:
    """What the `k` best predicted hold."""

    k: int
    fraction: float | None
    precision: Estimate
    overlap: Estimate
    chance: float
    """What both are on average if the prediction knows nothing."""


@dataclass(frozen=True)
class Ranking:
    """How well a prediction orders `n` architectures."""

    n: int
    truths: int
    """Different values of the truth; ties are why tau is tau-b."""
    predictions: int
    """Different values of the prediction."""
    levels: tuple[Level, ...]
    """All of them first, then from the largest top to the smallest: by truth, by prediction."""
    heads: tuple[Head, ...]
    regret: Estimate
    """Of the best predicted, in the truth's unit."""
    chosen: int
    """Place of the best predicted."""
    rank: int
    """1 + the number of architectures truly better than it."""
    best: float
    """The largest truth."""


def ranking(
    truth: Values,
    predicted: Values,
    *,
    fractions: Sequence[float] = FRACTIONS,
    tops: Sequence[int] = TOPS,
    resamples: int = 500,
    seed: int = 0,
) -> Ranking:
    """Measure an order over all architectures and among the best.

    A top of share q has round(q N) architectures, of equal ones at its border the earlier; tops of
    fewer than ten, or of all, are left out. Restricting the range alone lowers a correlation: a
    local tau is compared with another one's of the same subset, never with the global one.

    Intervals are percentile bootstraps over architectures: a correlation's subset is drawn from
    with replacement, for heads the whole sample, for the regret half of it (`regret_of`). Draws in
    which a side is constant are left out; where they are most of them there is no interval.

    Args:
        truth: [n], higher is better.
        predicted: [n], likewise, in any unit.
        fractions: tops as shares of all.
        tops: tops as numbers.
        resamples: draws of the bootstrap; 0: no intervals.
        seed: of the bootstrap.

    Raises:
        ConfigError: the lengths differ, a value is NaN, or there are fewer than three.
    """
    resamples = arguments.whole("resamples", resamples, ranges.RESAMPLES)
    truth, predicted = checked(truth, predicted)
    n = len(truth)
    if n < LEAST:
        raise ConfigError(f"there are {n} architectures to order; accepted: {LEAST} or more")
    sizes: dict[int, float | None] = {round(q * n): q for q in fractions}
    sizes |= {k: sizes.get(k) for k in tops}
    wanted = sorted((k for k in sizes if SMALLEST <= k < n), reverse=True)
    rng = numpy_stream(seed, "ranking/bootstrap")

    def level(
        subset: Literal["all", "truth", "prediction"], rows: NDArray[np.intp], q: float | None
    ) -> Level:
        s, p = truth[rows], predicted[rows]
        draws = rng.integers(len(rows), size=(resamples, len(rows)))
        taus, rhos = _resampled_tau(s, p, draws), _resampled_spearman(s, p, draws)
        tau, rho = _estimate(kendall(s, p), taus), _estimate(spearman(s, p), rhos)
        return Level(subset, len(rows), q, tau, rho)

    levels = [level("all", np.arange(n), None)]
    for subset, by in (("truth", truth), ("prediction", predicted)):
        levels += [level(subset, best(by, k), sizes[k]) for k in wanted]  # type: ignore[arg-type]
    held = _heads(truth, predicted, wanted)
    drawn = np.empty((resamples, len(wanted), 2))
    for i in range(resamples):
        rows = np.sort(rng.integers(n, size=n))  # sorted: ties keep their order
        drawn[i] = _heads(truth[rows], predicted[rows], wanted)
    heads = []
    for i, k in enumerate(wanted):
        precision, overlap = (_estimate(held[i, j], drawn[:, i, j]) for j in (0, 1))
        heads.append(Head(k, sizes[k], precision, overlap, k / n))
    chosen = int(best(predicted, 1)[0])
    return Ranking(
        n,
        len(np.unique(truth)),
        len(np.unique(predicted)),
        tuple(levels),
        tuple(heads),
        regret_of(truth, predicted, resamples, rng),
        chosen,
        1 + int((truth > truth[chosen]).sum()),
        float(truth.max()),
    )


def regret_of(
    truth: Values, predicted: Values, resamples: int, rng: np.random.Generator
) -> Estimate:
    """The regret, and an interval of its mean over samples of as many architectures.

    A regret hangs on one architecture or two, the best and the best predicted, which two resamples
    of three hold again: percentiles of the usual bootstrap are too near to each other, and cover
    the mean in 75 to 90 of 100 samples. Half as many draws are the remedy for extremes (Bickel,
    Goetze, van Zwet: Resampling fewer than n observations. Statistica Sinica 1997): normal and
    skewed truths, correlations of 0.3 to 0.97 and 30 to 200 architectures gave 93 to 99 of 100; a
    prediction that knows nothing gave 87 to 96.

    Args:
        truth: [n], higher is better.
        predicted: [n], likewise.
        resamples: draws of the bootstrap.
        rng: draws them.
    """
    losses = np.empty(resamples)
    for i in range(resamples):
        rows = np.sort(rng.integers(len(truth), size=(len(truth) + 1) // 2))
        s, p = truth[rows], predicted[rows]
        losses[i] = s.max() - s[p.argmax()]
    return _estimate(regret(truth, predicted), losses)


def correlation(first: Values, second: Values, *, resamples: int = 1000, seed: int = 0) -> Estimate:
    """Spearman's correlation of two scores of the same architectures, with its interval.

    The interval is the percentile bootstrap over architectures.

    Args:
        first: [n].
        second: [n].
        resamples: draws of the bootstrap.
        seed: of it.
    """
    first, second = checked(first, second)
    rng = numpy_stream(seed, "ranking/correlation")
    draws = rng.integers(len(first), size=(resamples, len(first)))
    return _estimate(spearman(first, second), _resampled_spearman(first, second, draws))


def _estimate(value: float, draws: Values) -> Estimate:
    value, known = float(value), draws[~np.isnan(draws)]
    if math.isnan(value) or not len(known) or 2 * len(known) <= len(draws):
        return Estimate(value)
    low, high = np.percentile(known, (2.5, 97.5))
    return Estimate(value, float(low), float(high))


def _resampled_tau(s: Values, p: Values, draws: NDArray[np.intp]) -> Values:
    """tau-b of each draw.

    With multiplicities w and the signs A of all differences of s and B of those of p it is
    w'(AB)w / sqrt(w'AAw w'BBw): pairs of one architecture with itself have the sign 0.
    """
    if len(s) > MATRIX:
        return np.array([kendall(s[rows], p[rows]) for rows in draws])
    counts = np.zeros((len(draws), len(s)), np.float32)
    for row, drawn in zip(counts, draws, strict=True):
        row += np.bincount(drawn, minlength=len(s))
    a, b = (np.sign(v[:, None] - v).astype(np.float32) for v in _ranked(s, p))
    ab, aa, bb = (((counts @ m) * counts).sum(1, dtype=np.float64) for m in (a * b, a * a, b * b))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(ab / np.sqrt(aa * bb))


def _resampled_spearman(s: Values, p: Values, draws: NDArray[np.intp]) -> Values:
    from scipy.stats import rankdata

    out = []
    for rows in np.array_split(draws, max(1, draws.size // 1_000_000)):
        x, y = (rankdata(v[rows], axis=1) if len(rows) else np.empty((0, 2)) for v in (s, p))
        x, y = (v - v.mean(1, keepdims=True) for v in (x, y))
        with np.errstate(invalid="ignore", divide="ignore"):
            out.append((x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1)))
    return np.concatenate(out)


def _ranked(*columns: Values) -> list[Values]:
    """Each column by dense ranks, in which infinities are numbers like any other."""
    return [np.unique(c, return_inverse=True)[1].astype(np.float64) for c in columns]
