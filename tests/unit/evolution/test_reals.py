"""Operators on reals against their densities, pymoo's where it is installed, and the code."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from morphogen.evolution import RealCode, polynomial_mutation, simulated_binary
from morphogen.spaces import make

ETA = 15.0
MANY = 40_000


def spread_density(beta: float, eta: float) -> float:
    """Deb and Agrawal's density of the children's spread over the parents'."""
    return (eta + 1) / 2 * (beta**eta if beta <= 1 else beta ** -(eta + 2))


def test_the_spread_of_children_is_distributed_as_published_far_from_the_bounds():
    first, second = np.full(MANY, 0.499), np.full(MANY, 0.501)
    one, two = simulated_binary(first, second, ETA, np.random.default_rng(0), share=1.0)
    np.testing.assert_allclose((one + two) / 2, 0.5)  # the mean is kept
    beta = np.abs(two - one) / 0.002
    for power in (1, 2):
        wanted, _ = integrate.quad(lambda b, p=power: b**p * spread_density(b, ETA), 0, 50)
        assert np.mean(beta**power) == pytest.approx(
            wanted, abs=5 * np.std(beta**power) / MANY**0.5
        )
    assert np.mean(beta <= 1) == pytest.approx(0.5, abs=0.01)


def test_children_stay_within_the_bounds_and_variables_pass_where_they_are_not_crossed():
    rng = np.random.default_rng(1)
    first, second = rng.random(MANY), rng.random(MANY)
    one, two = simulated_binary(first, second, ETA, rng)
    assert one.min() >= 0 and two.min() >= 0 and one.max() <= 1 and two.max() <= 1  # noqa: PT018
    passed = (one == first) & (two == second)
    assert np.mean(passed) == pytest.approx(0.5, abs=0.01)
    both = simulated_binary(first, first, ETA, rng)
    assert np.array_equal(both[0], first)
    assert np.array_equal(both[1], first)


def test_either_child_is_the_lower_one_half_of_the_time():
    first, second = np.full(MANY, 0.3), np.full(MANY, 0.6)
    one, two = simulated_binary(first, second, ETA, np.random.default_rng(2), share=1.0)
    assert np.mean(one < two) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("x", [0.5, 0.1, 0.0])
def test_a_mutation_is_distributed_as_published(x):
    """The bounded form: with equal chance down and up, |step| from the inverse of its integral."""
    eta = 20.0
    moved = polynomial_mutation(np.full(MANY, x), eta, 1.0, np.random.default_rng(3)) - x
    assert np.mean(moved < 0) == pytest.approx(0.5 if x else 0.0, abs=0.01)
    up = moved[moved > 0]
    # P(step > s | up) = ((1 - s)^(eta + 1) - x^(eta + 1)) / (1 - x^(eta + 1)), s in units of 1.
    wall = x ** (eta + 1)
    found = stats.kstest(up, lambda s: 1 - ((1 - s) ** (eta + 1) - wall) / (1 - wall))
    assert found.pvalue > 1e-3
    assert moved.min() >= -x
    assert moved.max() <= 1 - x


def test_so_many_variables_mutate_as_the_rate_says():
    """nevonas 8.2: per variable, which is not what pymoo 0.6 makes of `prob`."""
    x = np.full(MANY, 0.4)
    assert np.mean(polynomial_mutation(x, 20.0, 0.2, np.random.default_rng(4)) != x) == (
        pytest.approx(0.2, abs=0.01)
    )


def test_both_have_the_moments_of_pymoo():
    cross_sbx = pytest.importorskip("pymoo.operators.crossover.sbx").cross_sbx
    mut_pm = pytest.importorskip("pymoo.operators.mutation.pm").mut_pm
    low, high = np.zeros(MANY), np.ones(MANY)
    parents = np.stack([np.full((1, MANY), 0.1), np.full((1, MANY), 0.35)])
    theirs = cross_sbx(
        parents,
        low,
        high,
        np.full((1, 1), ETA),
        np.full((1, 1), 1.0),
        np.full((1, 1), 0.5),
        random_state=np.random.default_rng(5),
    )
    ours = simulated_binary(parents[0, 0], parents[1, 0], ETA, np.random.default_rng(6), share=1.0)
    for quantile in (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99):
        a, b = np.quantile(np.minimum(*ours), quantile), np.quantile(theirs.min(0), quantile)
        assert a == pytest.approx(b, abs=0.004)
    x = np.full((1, MANY), 0.1)
    eta, rate = np.full(1, 20.0), np.full(1, 1.0)
    their = mut_pm(x, low, high, eta, rate, False, random_state=np.random.default_rng(7))
    our = polynomial_mutation(x[0], 20.0, 1.0, np.random.default_rng(8))
    for quantile in (0.01, 0.25, 0.5, 0.75, 0.99):
        a, b = np.quantile(our, quantile), np.quantile(their, quantile)
        assert a == pytest.approx(b, abs=0.004)


# -- the code --------------------------------------------------------------------------------------


def test_a_vector_has_a_real_for_each_option_and_reads_as_alphas():
    """nevonas 3.1: 30 in NAS-Bench-201, 224 in the DARTS space, decoded by the space's rule."""
    for name, length in (("nasbench201", 30), ("darts", 224), ("nasbench-macro", 24)):
        code = RealCode(make(name))
        assert code.length == length
        x = code.random(np.random.default_rng(0))
        matrices = code.matrices(x)
        assert np.array_equal(np.concatenate([m[m > 0] for m in matrices.values()]), x)
        exp = {g: np.exp(m) / np.exp(m).sum(axis=1, keepdims=True) for g, m in matrices.items()}
        assert code.decode(x) == code.space.derive(exp)


def test_rows_of_uneven_choices_lie_where_the_code_says():
    space = make("nasbench1shot1-s1")
    code = RealCode(space)
    x = np.arange(code.length) / 1000
    choices = [c for several in space.groups.values() for c in several]
    assert [r.stop - r.start for r in code.rows] == [len(c.options) for c in choices]
    pairs = zip(code.matrices(x).values(), space.masks.values(), strict=True)
    rows = [m[on] for matrix, mask in pairs for m, on in zip(matrix, mask, strict=True)]
    for row, found in zip(code.rows, rows, strict=True):
        assert np.array_equal(x[row], found)


def test_rows_of_children_are_a_parents_or_new():
    """pevonas 7.4: whole rows, 0.5 from each, a tenth of them new."""
    code, rng = RealCode(make("nasbench201")), np.random.default_rng(9)
    one, two = np.full(30, 0.25), np.full(30, 0.75)
    origin, fresh = [], []
    for _ in range(2000):
        child = code.cross_rows(one, two, rng)
        rows = [set(child[row]) for row in code.rows]
        assert all(row in ({0.25}, {0.75}) for row in rows)
        origin += [row == {0.25} for row in rows]
        reset = code.reset_rows(child, 0.1, rng)
        changed = [reset[row] != child[row] for row in code.rows]
        assert all(c.all() or not c.any() for c in changed)
        fresh += [bool(c.any()) for c in changed]
    assert np.mean(origin) == pytest.approx(0.5, abs=0.015)
    assert np.mean(fresh) == pytest.approx(0.1, abs=0.01)
