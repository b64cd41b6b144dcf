"""Order: hand cases, all pairs counted, scipy, and the card of taus between table columns."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import bootstrap, kendalltau, spearmanr

from morphogen import benchmarks
from morphogen.core import ConfigError
from morphogen.core.ranking import (
    MATRIX,
    best,
    correlation,
    kendall,
    overlap_at,
    precision_at,
    ranking,
    regret,
    regret_of,
    spearman,
)


def array(*values):
    return np.array(values, np.float64)


def by_pairs(s, p):
    """tau-b by its definition, pair by pair."""
    same = opposite = only_s = only_p = 0
    for i, j in combinations(range(len(s)), 2):
        a, b = np.sign(s[i] - s[j]), np.sign(p[i] - p[j])
        same += a * b > 0
        opposite += a * b < 0
        only_s += a == 0 and b != 0
        only_p += b == 0 and a != 0
    rest = same + opposite
    return (same - opposite) / math.sqrt((rest + only_s) * (rest + only_p))


def test_hand_cases():
    up = array(1, 2, 3, 4)
    assert kendall(up, up) == pytest.approx(1)
    assert kendall(up, -up) == pytest.approx(-1)
    assert kendall(up, array(1, 2, 4, 3)) == pytest.approx(0.6667, abs=5e-5)
    assert kendall(up, array(1, 2, 2, 3)) == pytest.approx(0.9129, abs=5e-5)


def test_tau_counts_pairs_and_spearman_correlates_ranks():
    rng = np.random.default_rng(0)
    for levels in (3, 10, 1000):  # many ties, some, nearly none
        s, p = rng.integers(levels, size=(2, 40)).astype(float)
        assert kendall(s, p) == pytest.approx(by_pairs(s, p))
        ranks = [[np.mean(np.flatnonzero(np.sort(v) == x)) for x in v] for v in (s, p)]
        assert spearman(s, p) == pytest.approx(np.corrcoef(*ranks)[0, 1])


def test_nothing_is_ordered_by_a_constant():
    for measure in (kendall, spearman):
        assert math.isnan(measure(np.arange(5.0), np.ones(5)))
        assert math.isnan(measure(np.ones(5), np.arange(5.0)))
        assert math.isnan(measure(array(1), array(2)))
    found = ranking(np.arange(30.0), np.ones(30))
    assert all(math.isnan(v) for v in vars(found.levels[0].tau).values())
    assert (found.predictions, found.chosen, found.rank) == (1, 0, 30)


def test_precision_counts_hits_and_ties_for_the_last_place():
    scores = array(5, 4, 3, 3, 1)
    assert precision_at(scores, array(1, 9, 8, 7, 0), 3) == 1  # 4, 3 and 3: both third
    assert precision_at(scores, array(0, 0, 0, 1, 2), 2) == 0
    assert precision_at(scores, array(9, 0, 0, 1, 2), 2) == 0.5
    with pytest.raises(ConfigError, match="k is 6; accepted: 1 to 5"):
        precision_at(scores, scores, 6)


def test_overlap_takes_the_earlier_of_equal_ones():
    scores = array(5, 4, 3, 3, 1)
    assert overlap_at(scores, array(1, 9, 8, 7, 0), 3) == pytest.approx(2 / 3)  # 5 4 3, not 4 3 3
    assert best(scores, 3).tolist() == [0, 1, 2]
    assert overlap_at(scores, np.zeros(5), 3) == 1


def test_regret_is_what_the_best_predicted_lacks():
    assert regret(array(90, 94, 93), array(0, 1, 2)) == pytest.approx(1)
    assert regret(array(90, 94, 93), array(1, 1, 0)) == pytest.approx(4)  # the earlier of equals


@pytest.mark.parametrize("skewed", [False, True])
def test_the_interval_of_the_regret_covers_its_mean(skewed):
    """By simulation, where the truth is known: a nominal 0.95 that was 0.8 to 0.9."""
    rng = np.random.default_rng(11)

    def sample(count):
        z, noise = rng.normal(size=(2, count, 40))
        return (-np.exp(-z) if skewed else z), 0.6 * z + 0.8 * noise

    mean = np.mean([regret(s, p) for s, p in zip(*sample(4000), strict=True)])
    found = [regret_of(s, p, 100, rng) for s, p in zip(*sample(300), strict=True)]
    covered = np.mean([e.low <= mean <= e.high for e in found])
    assert 0.93 <= covered <= 0.995


def test_unordered_input_is_one_sentence():
    for measure in (kendall, spearman, regret, ranking):
        with pytest.raises(ConfigError, match="accepted: 3, one a score"):
            measure(np.arange(3.0), np.arange(4.0))
        with pytest.raises(ConfigError, match="prediction 1 is NaN; accepted: numbers"):
            measure(np.arange(3.0), array(1, np.nan, 2))
    with pytest.raises(ConfigError, match="2 architectures to order; accepted: 3 or more"):
        ranking(np.arange(2.0), np.arange(2.0))
    assert kendall(array(1, 2, 3), array(-np.inf, 0, np.inf)) == pytest.approx(1)


# -- all of it -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def noisy():
    rng = np.random.default_rng(5)
    truth = rng.normal(size=200).round(2)
    return truth, truth + rng.normal(size=200).round(2)


def test_tops_are_cut_by_truth_and_by_prediction(noisy):
    truth, predicted = noisy
    found = ranking(truth, predicted, resamples=0)
    cut = [(level.subset, level.n, level.fraction) for level in found.levels]
    tops = [(100, 0.5), (50, None), (20, 0.1), (10, 0.05)]  # 1 % is two architectures: left out
    assert cut == [("all", 200, None)] + [
        (subset, *top) for subset in ("truth", "prediction") for top in tops
    ]
    order = sorted(range(200), key=lambda i: (-truth[i], i))[:20]
    level = found.levels[3]
    assert level.tau.value == pytest.approx(kendalltau(truth[order], predicted[order]).statistic)
    assert level.spearman.value == pytest.approx(
        spearmanr(truth[order], predicted[order]).statistic
    )
    order = sorted(range(200), key=lambda i: (-predicted[i], i))[:20]
    assert found.levels[7].tau.value == pytest.approx(by_pairs(truth[order], predicted[order]))
    head = found.heads[2]
    assert (head.k, head.chance) == (20, 0.1)
    assert head.precision.value == precision_at(truth, predicted, 20)
    assert head.overlap.value == overlap_at(truth, predicted, 20)
    assert found.rank == 1 + (truth > truth[predicted.argmax()]).sum()
    assert found.best == truth.max()
    assert math.isnan(found.regret.low)


def test_intervals_are_the_percentiles_of_measures_on_resamples(noisy, monkeypatch):
    """The matrix form of tau equals scipy's on each draw; so do ranks by rows."""
    truth, predicted = noisy
    quick = ranking(truth, predicted, resamples=40, seed=3)
    monkeypatch.setattr("morphogen.core.ranking.MATRIX", 0)
    slow = ranking(truth, predicted, resamples=40, seed=3)
    assert len(truth) < MATRIX
    for one, two in zip(quick.levels, slow.levels, strict=True):
        assert [one.tau.low, one.tau.high] == pytest.approx([two.tau.low, two.tau.high], abs=1e-6)
    from morphogen.core.ranking import _resampled_spearman

    draws = np.random.default_rng(0).integers(200, size=(9, 200))
    expected = [spearmanr(truth[rows], predicted[rows]).statistic for rows in draws]
    assert _resampled_spearman(truth, predicted, draws) == pytest.approx(expected)
    assert slow == ranking(truth, predicted, resamples=40, seed=3)
    assert slow != ranking(truth, predicted, resamples=40, seed=4)


@pytest.mark.slow
def test_the_interval_covers():
    """Bivariate normal, correlation 0.6: tau is 2/pi asin 0.6, and 95 % should hold it."""
    expected, held = 2 / math.pi * math.asin(0.6), 0
    rng = np.random.default_rng(1)
    for seed in range(100):
        x = rng.normal(size=60)
        y = 0.6 * x + 0.8 * rng.normal(size=60)
        tau = ranking(x, y, fractions=(), tops=(), resamples=200, seed=seed).levels[0].tau
        held += tau.low <= expected <= tau.high
    assert 88 <= held <= 99


# -- between columns of the table ------------------------------------------------------------------

CARD = {
    ("cifar10_valid_12", "cifar10_test_12"): (0.8419, 0.7157, 0.7205, 0.6230, 0.4201),
    ("cifar10_test_12", "cifar100_test_12"): (0.8378, 0.6816, 0.7450, 0.6355, 0.3800),
    ("cifar10_test_12", "imagenet16_120_test_12"): (0.7264, 0.5945, 0.6729, 0.5422, 0.2635),
    ("cifar100_valid_12", "cifar100_test_12"): (0.9563, 0.8948, 0.8446, 0.7317, 0.4775),
    ("imagenet16_120_valid_12", "imagenet16_120_test_12"): (0.9111, 0.8271, 0.7689, 0.6348, 0.3576),
    ("cifar10_valid_12", "cifar10_test_200"): (0.5945, 0.3500, 0.3493, 0.4437, 0.3466),
}
"""Taus by an independent count in which ties are broken by some order instead of tau-b."""


@pytest.mark.parametrize("pair", CARD, ids="-".join)
def test_taus_between_columns(pair):
    """Equal to scipy's tau-b; near the count that breaks ties, the nearer the fewer ties there are.

    Values of two decimals in few points tie more the better the architectures are.
    """
    table = benchmarks.load("nasbench201")
    predicted, truth = (table.values(name) for name in pair)
    found = ranking(truth, predicted, tops=(), resamples=0)
    taus = [level.tau.value for level in found.levels[:5]]
    order = np.argsort(-truth, kind="stable")
    sizes = (15625, 7812, 1562, 781, 156)
    assert [level.n for level in found.levels[:5]] == list(sizes)
    assert taus == pytest.approx(
        [kendalltau(truth[order[:n]], predicted[order[:n]]).statistic for n in sizes]
    )
    for tau, counted, off in zip(
        taus, CARD[pair], (0.002, 0.003, 0.005, 0.015, 0.012), strict=True
    ):
        assert tau == pytest.approx(counted, abs=off)


def test_a_correlation_and_its_interval_are_scipys():
    rng = np.random.default_rng(3)
    first = rng.normal(size=40)
    second = first + rng.normal(size=40)
    found = correlation(first, second, resamples=1000)
    theirs = bootstrap(
        (first, second),
        lambda a, b: spearmanr(a, b).statistic,
        paired=True,
        vectorized=False,
        n_resamples=1000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert found.value == pytest.approx(spearmanr(first, second).statistic)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.05)
    assert math.isnan(correlation(first, np.ones(40)).value)
