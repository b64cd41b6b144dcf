"""Groups stay whole in a split, and the split is as even as whole groups allow."""

import csv
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image

from morphogen.core import DataError
from morphogen.tasks.classification import ImageTask, load
from morphogen.tasks.labelled.groups import group_names, shared_groups, split_groups


def drawn(groups=9, classes=3, rows=400, seed=0):
    rng = np.random.default_rng(seed)
    of_group = rng.dirichlet(np.ones(groups), 1)[0] * 0.7 + 0.3 / groups
    group = rng.choice(groups, rows, p=of_group / of_group.sum())
    return rng.integers(classes, size=rows), group.astype(str)


def distance(second, labels, groups, share):
    """Sum over classes of the squared distance from the wanted share, in shares of the class."""
    inside = second[np.unique(groups, return_inverse=True)[1]]
    each = [inside[labels == c].mean() for c in np.unique(labels)]
    return sum((e - share) ** 2 for e in each)


@pytest.mark.parametrize("share", [0.5, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_near_the_best_of_all_ways_to_cut(share, seed):
    labels, groups = drawn(seed=seed)
    found = split_groups(
        labels, groups, (round(100 - 100 * share), round(100 * share)), "abc", seed
    )
    names, first = np.unique(groups, return_index=True)
    for name in names:  # whole groups
        assert len(set(found[groups == name])) == 1
    all_ways = sorted(
        distance(np.array(way), labels, groups, share)
        for way in product([False, True], repeat=len(names))
        if any(way) and not all(way)
    )
    assert distance(found[first], labels, groups, share) <= all_ways[len(all_ways) // 10]


def test_seeds_cut_otherwise_and_each_the_same_again():
    labels, groups = drawn(groups=30)
    cuts = [split_groups(labels, groups, (1, 1), "abc", seed).tolist() for seed in (0, 0, 1)]
    assert cuts[0] == cuts[1] != cuts[2]


def test_what_cannot_be_cut_is_a_sentence():
    with pytest.raises(DataError, match="all rows are of one group, 'a'"):
        split_groups(np.array([0, 1]), np.array(["a", "a"]), (1, 1), "xy", 0)
    with pytest.raises(DataError, match="class 'y' is in one group only, 'b'"):
        split_groups(np.array([0, 0, 1]), np.array(["a", "b", "b"]), (1, 1), "xy", 0)


def test_a_class_of_two_groups_comes_to_both_parts():
    labels = np.array([0] * 90 + [1] * 10)
    groups = np.array([str(i // 10) for i in range(90)] + ["0"] * 5 + ["1"] * 5)
    for seed in range(5):
        second = split_groups(labels, groups, (8, 2), "xy", seed)
        assert set(labels[second]) == set(labels[~second]) == {0, 1}


def test_groups_are_numbers_or_names():
    assert group_names([3, 3, 1], 3, "it").tolist() == ["3", "3", "1"]
    for wrong in ([1.5, 2, 2], ["a", None, "b"], ["a", 1, 1], [1, 2]):
        with pytest.raises(DataError, match="it has"):
            group_names(np.array(wrong, dtype=object), 3, "it")


def test_shared_groups_are_said():
    assert shared_groups(np.array(["a"]), np.array(["b"]), "the test part") == []
    assert shared_groups(None, np.array(["b"]), "the test part") == []
    said = shared_groups(np.array(["a", "b", "b"]), np.array(["b", "c"]), "the test part")
    assert said[0].startswith("1 of the 2 groups of the test part are in the train part, too (b)")


# -- images with groups ----------------------------------------------------------------------------


def pictures(count=60):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (count, 6, 6), dtype=np.uint8)
    return x, np.arange(count) % 2, [f"s{i // 10}" for i in range(count)]


def of_npz(folder):
    x, y, groups = pictures()
    np.savez(folder / "some.npz", x=x, y=y, groups=groups)
    return folder / "some.npz"


def of_csv(folder):
    x, y, groups = pictures()
    with open(folder / "labels.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["filename", "label", "group"])
        for row, image in enumerate(x):
            Image.fromarray(image).save(folder / f"{row}.png")
            table.writerow([f"{row}.png", f"c{y[row]}", groups[row]])
    return folder


def of_parquet(folder):
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    x, y, groups = pictures()
    held = []
    for image in x:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        held.append(buffer.getvalue())
    pq.write_table(pa.table({"image": held, "label": y, "group": groups}), folder / "a.parquet")
    return folder / "a.parquet"


@pytest.mark.parametrize("write", [of_npz, of_csv, of_parquet])
def test_files_of_images_with_groups(write, tmp_path):
    path = write(tmp_path)
    images = load(path)
    assert images.groups.tolist() == pictures()[2]
    task = ImageTask.of(path, valid_images=20, train_images=40)
    train, valid = set(task.train.groups), set(task.valid.groups)
    assert not train & valid
    assert len(train | valid) == 6
    assert task.parts()["valid"] == (
        "20 others of 60 training images, by group, class and seed 0; 2 groups, none of them in "
        "the other part"
    )


def test_sizes_limit_the_parts_of_groups_and_cut_them_again(tmp_path):
    path = of_npz(tmp_path)
    task = ImageTask.of(path, train_images=35, valid_images=15)
    assert (len(task.train), len(task.valid)) == (35, 15)
    assert torch.bincount(task.train.labels).tolist() in ([17, 18], [18, 17])
    uneven = ImageTask.of(path, train_images=37, valid_images=23)  # groups of ten
    again = ImageTask.of(path, train_images=uneven.asked[0], valid_images=uneven.asked[1])
    assert uneven.asked == (37, 23)
    assert torch.equal(uneven.train_rows, again.train_rows)
    assert (len(uneven.train), len(uneven.valid)) == (40, 20)  # all of them


def test_a_test_part_with_groups_of_the_train_part_is_remarked(tmp_path):
    x, y, groups = pictures()
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, groups_train=groups, x_test=x[:10],
             y_test=y[:10], groups_test=groups[5:15])  # fmt: skip
    task = ImageTask.of(tmp_path / "a.npz")
    notes = task.open_test("to see").notes
    assert any("2 of the 2 groups of the test part are in the train part" in n for n in notes)
