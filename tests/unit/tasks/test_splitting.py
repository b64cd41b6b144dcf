"""Splits of a search's data by epoch: disjoint, deterministic, and groups stay whole."""

from itertools import pairwise

import numpy as np
import pytest
import torch

import scenes
from morphogen import space_of
from morphogen.core.errors import ConfigError, DataError
from morphogen.tasks.classification import Images, ImageTask
from morphogen.tasks.segmentation import Scenes, SegmentationTask
from morphogen.tasks.splitting import Splitter, folds
from morphogen.testing import toys

N = 24
GROUPS = [f"street {i // 3}" for i in range(N)]


def task(groups=GROUPS):
    return SegmentationTask.of(Scenes.of(*scenes.scenes(N), groups=groups))


def test_a_fixed_split_is_that_of_the_search_parts():
    made = task()
    for number in range(3):
        first, second = Splitter("fixed", made).epoch(number)
        assert torch.equal(first, made.rows("train"))
        assert torch.equal(second, made.rows("valid"))


def test_a_new_split_in_every_epoch_lets_every_example_train_weights():
    splitter = Splitter("resplit", task(), seed=3)
    cuts = [splitter.epoch(number) for number in range(20)]
    for first, second in cuts:
        assert len(first) == N // 2
        assert sorted(torch.cat([first, second]).tolist()) == list(range(N))
    again = Splitter("resplit", task(), seed=3).epoch(7)
    assert all(torch.equal(a, b) for a, b in zip(cuts[7], again, strict=True))
    sets = [set(first.tolist()) for first, _ in cuts]
    common = [len(a & b) / (N // 2) for a, b in pairwise(sets)]
    assert np.mean(common) == pytest.approx(0.5, abs=0.1)  # the ratio
    assert set.union(*sets) == set(range(N))
    assert not torch.equal(Splitter("resplit", task(), seed=4).epoch(0)[0], cuts[0][0])
    assert len(Splitter("resplit", task(), ratio=0.75).epoch(0)[0]) == 18


def test_groups_are_never_in_both():
    made = task()
    splitter = Splitter("group", made)
    for number in range(20):
        first, second = splitter.epoch(number)
        held = [{made.groups[i] for i in rows} for rows in (first.numpy(), second.numpy())]
        assert not held[0] & held[1]
        assert len(first) + len(second) == N
        assert 9 <= len(first) <= 15
    assert not torch.equal(splitter.epoch(0)[0], splitter.epoch(1)[0])
    lopsided = task(["a"] * 23 + ["b"])
    assert {len(rows) for rows in Splitter("group", lopsided).epoch(0)} == {1, 23}


def test_both_steps_may_share_all_data():
    first, second = Splitter("shared", task()).epoch(0)
    assert first.tolist() == second.tolist() == list(range(N))


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(DataError, match=r"split is 'group', and data .* have no groups; accepted"):
        Splitter("group", task(None))
    with pytest.raises(ConfigError, match="ratio is 1; accepted: above 0, below 1"):
        Splitter("resplit", task(), ratio=1)
    with pytest.raises(ConfigError, match="split is 'odd'; accepted: resplit, fixed"):
        Splitter("odd", task())


def test_a_pass_over_drawn_rows_has_each_once():
    problem = toys.problem(space_of(toys.own()))
    rows = torch.arange(20, 72)
    batches = [problem.drawn(rows, "weights", 2, step) for step in range(4)]
    assert problem.seen["pool"] == 4 * 16
    assert torch.equal(batches[3].y, batches[0].y)  # 52 rows are three batches of 16
    labels = problem.task.pool.labels[rows].bincount()
    drawn = torch.cat([batch.y for batch in batches[:3]]).bincount()
    assert ((labels - drawn >= 0) & (labels - drawn <= 4)).all()  # four rows are left over
    again = toys.problem(space_of(toys.own())).drawn(rows, "weights", 2, 1)
    assert torch.equal(again.x, batches[1].x)
    with pytest.raises(ConfigError, match="leaves 5 examples for alpha; accepted: 1 to 5"):
        problem.drawn(rows[:5], "alpha", 0, 0)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_folds_are_disjoint_together_the_train_part_and_have_its_classes(count):
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    pixels = torch.zeros(100, 1, 4, 4, dtype=torch.uint8)
    images = Images(pixels, labels, ("a", "b", "c"))
    made = ImageTask.of(images, train_images=80, valid_images=20, size=4, std=(1.0,))
    found = folds(made, count, np.random.default_rng(0))
    assert sorted(torch.cat(found).tolist()) == made.rows("train").tolist()
    for fold in found:
        assert abs(len(fold) - 80 / count) < 1
        shares = torch.bincount(labels[fold], minlength=3) / len(fold)
        assert (shares - torch.tensor([0.6, 0.3, 0.1])).abs().max() <= 1.5 / len(fold)
    again = folds(made, count, np.random.default_rng(0))
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))


def test_groups_are_whole_in_folds():
    made = task()
    found = folds(made, 2, np.random.default_rng(0))
    assert sorted(torch.cat(found).tolist()) == made.rows("train").tolist()
    of = [{made.groups[row] for row in fold.tolist()} for fold in found]
    assert not of[0] & of[1]
    assert abs(len(found[0]) - len(found[1])) <= 3  # a group
