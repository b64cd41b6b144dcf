"""NSGA-II: fronts that can be enumerated are found (Deb et al.; NSGA-Net, arXiv 1810.03522)."""

from __future__ import annotations

import numpy as np
import pytest

from morphogen.core import Choice, ConfigError
from morphogen.evolution import front, hypervolume
from morphogen.methods.nsga2 import NSGA2, NSGA2Config
from morphogen.spaces import SearchSpace, make
from table_search import asked, column

SPACE = make("nasbench201")
REFERENCE = np.array([90.0, 40.0])
"""As the errors (10, 60)."""


def two(arch) -> list[float]:
    return [column("cifar10_test_200")[arch], column("imagenet16_120_test_200")[arch]]


def exact() -> np.ndarray:
    return np.array(
        [list(column(m).values()) for m in ("cifar10_test_200", "imagenet16_120_test_200")]
    ).T


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in range(1, 8))]
)
def test_it_finds_the_enumerated_front_of_two_data_sets(seed):
    """N 20, 50 generations, at most 1000 queries: 0.99 of the volume; random search has 0.88."""
    best = hypervolume(exact(), REFERENCE)
    assert front(exact()).sum() == 4
    order, state = asked(NSGA2Config(), two, seed, 1000)
    found = np.array([two(a) for a in order])
    assert hypervolume(found, REFERENCE) >= 0.99 * best
    members = np.array([two(a) for a in state.archive])
    assert sorted(map(tuple, members)) == sorted({tuple(p) for p in found[front(found)]})
    rng = np.random.default_rng(0)
    chance = [hypervolume(exact()[rng.choice(15625, 1000)], REFERENCE) / best for _ in range(20)]
    assert np.mean(chance) < 0.95


def test_accuracy_against_size_on_nasbench_macro():
    """0.97 of the front's volume in 600 of 6,561 queries; the ends are the table's own."""
    space = make("nasbench-macro")
    accuracy, size = column("test_acc", space.name), column("params", space.name)
    points = np.array([[accuracy[a], -size[a]] for a in accuracy])
    worst = points.min(axis=0)
    order, _ = asked(NSGA2Config(), lambda a: [accuracy[a], -size[a]], 0, 600, space=space)
    found = np.array([[accuracy[a], -size[a]] for a in order])
    assert hypervolume(found, worst) >= 0.97 * hypervolume(points, worst)


def test_with_one_objective_it_finds_the_best_cell():
    values = column("cifar10_test_200")
    order, state = asked(NSGA2Config(), lambda a: [values[a]], 0, 500)
    assert max(values[a] for a in order) >= 94.3
    assert values[NSGA2(NSGA2Config()).derive(state, SPACE)] == max(values[a] for a in order)


@pytest.mark.parametrize("count", [1, 7, 20, 500])
def test_a_generation_is_n_children_whatever_the_size_of_a_round(count):
    method, rng = NSGA2(NSGA2Config(population=8)), np.random.default_rng(3)
    state = method.init(SPACE)
    everything, generation = [], []
    for _ in range(60):
        new = method.ask(state, SPACE, count, rng)
        assert 1 <= len(new) <= min(count, 8)
        before = set(state.members)
        assert not before & set(new)  # none that is in the population
        method.tell(state, new, np.array([two(a) for a in new]))
        generation += new
        everything += new
        if len(generation) == 8:
            assert len(set(generation)) == 8
            # Elitism: no survivor is dominated by one that was left out.
            points = {a: two(a) for a in [*before, *generation]}
            out = [points[a] for a in points if a not in state.members]
            for member in state.members:
                better = [o for o in out if np.all(np.array(o) >= points[member])]
                assert all(o == points[member] for o in better)
            generation = []
    assert len(state.members) == 8


def test_the_same_seed_asks_the_same_in_rounds_of_any_size():
    one, two_, other = (
        asked(NSGA2Config(), two, seed, 200, round_size=size)[0]
        for seed, size in ((0, 1), (0, 33), (1, 1))
    )
    assert one == two_
    assert one != other


def test_failures_are_no_part_of_the_front():
    def score(arch) -> list[float]:
        return [-np.inf, -np.inf] if arch.one("edge_0_1") == "none" else two(arch)

    order, state = asked(NSGA2Config(), score, 0, 200)
    assert any(a.one("edge_0_1") == "none" for a in order)
    assert all(np.isfinite(row).all() for row in state.archive.values())
    method = NSGA2(NSGA2Config())
    _, state = asked(NSGA2Config(), lambda arch: [-np.inf, -np.inf], 0, 60)
    with pytest.raises(ConfigError, match="no architecture has a score yet; accepted: "):
        method.derive(state, SPACE)


def test_the_answer_is_the_member_of_the_front_best_in_the_first_objective():
    order, state = asked(NSGA2Config(), two, 0, 200)
    best = max(map(tuple, (two(a) for a in order)))
    assert tuple(two(NSGA2(NSGA2Config()).derive(state, SPACE))) == best


def test_a_space_smaller_than_the_population_is_exhausted():
    small = SearchSpace("small", [Choice("a", tuple("xyz")), Choice("b", tuple("pq"))])
    order, state = asked(NSGA2Config(), lambda a: [1.0, 2.0], 0, 50, space=small)
    assert set(order) == set(small.enumerate())
    assert len(state.archive) == 6
