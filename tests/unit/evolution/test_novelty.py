"""Distances of architectures and the novelty that they give (nevonas 3.3 and 7.1, 7.2)."""

from __future__ import annotations

import numpy as np
import pytest

from morphogen.core import Architecture
from morphogen.evolution import NoveltyArchive
from morphogen.evolution.novelty import choice_sets, jaccard_distances, mean_of_nearest
from morphogen.spaces import make

NB201, DARTS = make("nasbench201"), make("darts")


def pairs(space, arch: Architecture) -> set[tuple[str, str]]:
    return {(name, option) for name, kept in arch.items() for option in kept}


@pytest.mark.parametrize("space", [NB201, DARTS], ids=["nasbench201", "darts"])
def test_a_distance_is_that_of_pythons_sets_and_a_metric(space):
    rng = np.random.default_rng(0)
    archs = [space.sample(rng) for _ in range(45)]
    distances = jaccard_distances(*[choice_sets(space, archs)] * 2)
    for i, one in enumerate(archs):
        for j, other in enumerate(archs):
            a, b = pairs(space, one), pairs(space, other)
            assert distances[i, j] == pytest.approx(1 - len(a & b) / len(a | b), abs=1e-12)
    assert not distances.diagonal().any()
    assert np.array_equal(distances, distances.T)
    assert distances.min() >= 0
    assert distances.max() <= 1
    through = distances[:, :, None] + distances[None]  # [i, j, k]: i to j to k
    assert (distances[:, None] <= through + 1e-12).all()


def test_distances_of_cells_that_share_so_many_choices_are_those_of_the_card():
    one = Architecture(dict.fromkeys((c.name for c in NB201.choices), "none"))
    found = []
    for common in range(7):
        names = [c.name for c in NB201.choices][common:]
        other = one.replace(**dict.fromkeys(names, "skip_connect"))
        (row,) = jaccard_distances(choice_sets(NB201, [one]), choice_sets(NB201, [other]))
        found.append(float(row[0]))
    wanted = [1, 0.9091, 0.8, 0.6667, 0.5, 0.2857, 0]
    assert found == pytest.approx(wanted, abs=5e-5)
    # DARTS: 16 pairs, c = 8 and 15.
    sets = np.zeros((3, 32))
    sets[0, :16] = sets[1, 8:24] = sets[2, 1:17] = 1
    (row,) = jaccard_distances(sets[:1], sets[1:])
    assert row.tolist() == pytest.approx([0.6667, 0.1176], abs=5e-5)


def test_novelty_is_the_mean_of_the_nearest_of_batch_and_archive_by_brute_force():
    rng = np.random.default_rng(1)
    archs = [NB201.sample(rng) for _ in range(7)]
    batch, past = archs[:4], archs[4:]
    for k in (1, 3, 5, 50):
        archive = NoveltyArchive(k)
        archive.add(NB201, past)
        wanted = []
        for i, one in enumerate(batch):
            others = [*batch[:i], *batch[i + 1 :], *past]
            found = [(pairs(NB201, one), pairs(NB201, other)) for other in others]
            distances = sorted(1 - len(x & y) / len(x | y) for x, y in found)
            wanted.append(np.mean(distances[:k]))
        assert archive.novelty(NB201, batch) == pytest.approx(wanted)


def test_a_twin_is_a_neighbour_and_so_is_the_past_but_not_oneself():
    rng = np.random.default_rng(2)
    one, other = NB201.sample(rng), NB201.sample(rng)
    archive = NoveltyArchive(1)
    assert archive.novelty(NB201, [one, other]).min() > 0  # nobody sees itself in its generation
    assert archive.novelty(NB201, [one, one, other])[:2].tolist() == [0, 0]
    archive.add(NB201, [one, one, other])
    assert len(archive.texts) == 2
    archive.add(NB201, [other, NB201.sample(rng)])
    assert len(archive.texts) == 3
    assert archive.novelty(NB201, [one, other]).tolist() == [0, 0]


def test_what_has_no_neighbour_has_no_novelty():
    assert NoveltyArchive(5).novelty(NB201, [NB201.sample(np.random.default_rng(0))]) == [0]
    assert mean_of_nearest(np.array([[np.inf, 0.5, 0.1]]), 3) == pytest.approx([0.3])
