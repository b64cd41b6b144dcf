"""A folder that is named like a part is read as it or refused, and never becomes a class."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from morphogen.core.errors import DataError
from morphogen.tasks.classification import ImageTask, load, locate
from morphogen.tasks.parts import family, part_of


def fill(root, *folders, images=2):
    """Images in each folder; the grey of an image says in which part it lies."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        name = folder.lower()
        grey = 200 if "test" in name else 100 if "val" in name or "dev" in name else 10
        for i in range(images):
            Image.fromarray(np.full((4, 4), grey, np.uint8)).save(root / folder / f"{i}.png")
    return root


def tree(root, parts, classes=("cat", "dog")):
    return fill(root, *(f"{part}/{name}" for part in parts for name in classes))


@pytest.mark.parametrize(
    ("names", "part"),
    [
        ("train Train TRAIN training Training train_set training_set trainset", "train"),
        ("seg_train train_images train-data dataset_train train2017 trn", "train"),
        ("val Val valid validation dev eval evaluation val_images validset val2017", "valid"),
        ("test Test TESTING test_set seg_test test_images test1 tst", "test"),
    ],
)
def test_every_spelling_in_use_is_a_part(names, part):
    assert [part_of(name) for name in names.split()] == [part] * len(names.split())


@pytest.mark.parametrize(
    "name", ["cat", "test_tube", "trains", "steam train", "valve", "invalid", "contest", "set", "1"]
)
def test_other_names_are_none(name):
    assert part_of(name) is None


def test_names_that_differ_in_the_part_alone_are_a_family():
    assert family(["faces_train", "faces_test", "other"]) == {
        "faces_train": "train",
        "faces_test": "test",
    }
    assert family(["steam train", "test tube"]) == {}
    assert family(["rocket_test", "rocket_val"]) == {}  # no train part among them


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("train", "test"), ("train", "test")),
        (("Train", "Test"), ("train", "test")),
        (("TRAIN", "VALID"), ("train", "valid")),
        (("training", "testing"), ("train", "test")),
        (("training_set", "test_set"), ("train", "test")),
        (("seg_train", "seg_test"), ("train", "test")),
        (("train_images", "val_images", "test_images"), ("train", "valid", "test")),
        (("faces_train", "faces_validation"), ("train", "valid")),
        (("seg_train/seg_train", "seg_test/seg_test"), ("train", "test")),
        (("archive/dataset/train", "archive/dataset/dev"), ("train", "valid")),
        (("train/images", "test/images"), ("train", "test")),
    ],
)
def test_parts_in_all_spellings_and_depths(tmp_path, names, parts):
    tree(tmp_path, names)
    (tmp_path / "__MACOSX").mkdir()
    assert locate(tmp_path).parts == parts
    greys = {"train": 10, "valid": 100, "test": 200}
    for part in parts:
        images = load(tmp_path, part)
        assert images.classes == ("cat", "dog")
        assert images.pixels.unique().tolist() == [greys[part]]
    told = " ".join(load(tmp_path).notes)
    usual = {n.split("/")[0] for n in names} == {"train", "test"}
    assert all((repr(n.split("/")[-1]) in told) != usual for n in names)


def test_parts_beside_class_folders_are_not_classes(tmp_path):
    tree(fill(tmp_path, "cat", "dog"), ["test", "val"])
    assert locate(tmp_path).parts == ("train", "valid", "test")
    assert load(tmp_path).classes == ("cat", "dog")
    assert load(tmp_path).pixels.max() == 10


def test_a_part_without_class_folders_is_said_and_not_read(tmp_path):
    fill(tmp_path, "cat", "dog", "test")
    assert locate(tmp_path).parts == ("train",)
    assert load(tmp_path).classes == ("cat", "dog")
    (note,) = load(tmp_path).notes
    assert "'test' is named like a part and is not read" in note


def test_what_lies_beside_the_parts_is_said(tmp_path):
    fill(tree(tmp_path, ["train", "test"]), "seg_pred")
    assert load(tmp_path).notes == ("not read beside the parts: 'seg_pred'",)


def test_a_folder_around_class_folders_is_passed_through(tmp_path):
    fill(tmp_path, "archive/cat", "archive/dog")
    assert load(tmp_path).classes == ("cat", "dog")
    assert "the classes are the folders in" in load(tmp_path).notes[0]


def test_parts_that_nobody_could_know_are_said(tmp_path):
    tree(tmp_path, ["gallery", "query"])
    (note,) = load(tmp_path).notes
    assert "'gallery', 'query' are read as classes and all hold the folders cat, dog" in note


@pytest.mark.parametrize(
    ("folders", "says"),
    [
        (("test/cat", "test/dog"), "holds test, which are names of parts and not of classes"),
        (("train", "test"), "holds train, test, which are names of parts"),
        (("train/cat", "train/dog", "training/cat"), "'train' and 'training', both named like a"),
        (("train/cat", "train/dog", "val/cat", "dev/cat"), "both named like a valid part"),
        (("train/cat", "train/dog", "train/val/cat"), "holds 'val' beside its class folders"),
        (("apple", "bear", "train"), "'train', which is the name of a part and has no class fold"),
        (("cat/train", "cat/test", "dog/train"), "holds images in 'test', which is the name of a"),
        (("set1/train/cat", "set1/test/cat", "set2/cat"), "set1' holds images in 'test'"),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path, folders, says):
    fill(tmp_path, *folders)
    with pytest.raises(DataError, match=says) as caught:
        load(tmp_path)
    assert "accepted" in str(caught.value)


# --- a validation part of the user's own ---------------------------------------------------------


def greys(images):
    return sorted(set(images.pixels.flatten().tolist()))


def test_the_search_validation_part_is_the_users_own(tmp_path):
    tree(tmp_path, ["train", "val", "test"])
    task = ImageTask.of(tmp_path)
    assert (len(task.train), len(task.valid), len(task.pool)) == (4, 4, 8)
    assert (greys(task.train), greys(task.valid)) == ([10], [100])
    assert task.mean == pytest.approx((10 / 255,))  # of the train part alone
    assert task.own_valid
    assert greys(task.open_test("evaluation").images) == [200]


def test_sizes_limit_each_part_by_class_and_seed(tmp_path):
    tree(tmp_path, ["train", "val"])
    task = ImageTask.of(tmp_path, train_images=2, valid_images=0.5)
    assert (task.train.labels.tolist(), task.valid.labels.tolist()) == ([0, 1], [0, 1])
    assert (greys(task.train), greys(task.valid)) == ([10], [100])
    whole = ImageTask.of(tmp_path, held_out=0.1)
    assert (len(whole.train), len(whole.valid)) == (4, 4)
    with pytest.raises(DataError, match="valid_images is 5, of a part of 4 images; accepted: 1 to"):
        ImageTask.of(tmp_path, valid_images=5)
    assert len(ImageTask.of(tmp_path, valid_images=5, at_most=["valid_images"]).valid) == 4


def test_classes_of_the_users_own_part_are_matched_by_name(tmp_path):
    fill(tmp_path, "train/ant", "train/bee", "train/cow", "val/bee", "val/cow")
    task = ImageTask.of(tmp_path)
    assert task.valid.labels.tolist() == [1, 1, 2, 2]
    fill(tmp_path, "val/dog")
    with pytest.raises(DataError, match=r"search-validation part of .* has class 'dog', which"):
        ImageTask.of(tmp_path)


def test_parts_of_parquet_files_in_other_spellings(tmp_path):
    def write(name, labels):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "i.png")
        cell = {"bytes": (tmp_path / "i.png").read_bytes(), "path": None}
        pq.write_table(pa.table({"image": [cell] * len(labels), "label": labels}), tmp_path / name)
        (tmp_path / "i.png").unlink()

    write("training-00000-of-00001-b42a775f407cee45.parquet", ["a", "b", "a", "b"])
    write("validation-00000-of-00001.parquet", ["b", "a"])
    write("unsupervised.parquet", ["a", "b"])
    assert locate(tmp_path).parts == ("train", "valid")
    task = ImageTask.of(tmp_path)
    assert (task.valid.labels.tolist(), task.own_valid) == ([1, 0], True)
    told = " ".join(task.pool.notes)
    assert "validation-00000-of-00001.parquet" in told
    assert "not read beside the parts: unsupervised.parquet" in told
    write("val.parquet", ["b", "a"])
    with pytest.raises(DataError, match="all named like a valid part"):
        locate(tmp_path)


def test_splits_of_the_hugging_face_library_in_other_spellings(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets.disable_progress_bars()
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})

    def split(labels):
        pictures = [Image.fromarray(np.zeros((4, 4), np.uint8)) for _ in labels]
        return datasets.Dataset.from_dict({"image": pictures, "label": labels}, features=kinds)

    splits = {"train": split(["a", "b"] * 2), "dev": split(["b"]), "extra": split(["a"])}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    task = ImageTask.of(f"hf:{tmp_path / 'saved'}")
    assert (task.valid.labels.tolist(), task.own_valid) == ([1], True)
    told = " ".join(task.pool.notes)
    assert "'dev'" in told
    assert "parts that are not read: extra" in told


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (["0", "1", "2"], ["1", "2"]),
        (["airplane", "automobile", "bird"], ["automobile", "bird"]),
    ],
)
def test_classes_of_a_standard_set_are_matched_by_number_or_name(train, test, tmp_path):
    fill(tmp_path, *(f"train/{name}" for name in train), *(f"test/{name}" for name in test))
    task = ImageTask.of(f"cifar10:{tmp_path}")
    assert task.classes[:3] == ("airplane", "automobile", "bird")
    assert task.open_test("evaluation").images.labels.tolist() == [1, 1, 2, 2]
    fill(tmp_path, "test/11")
    with pytest.raises(DataError, match="'11' among them; accepted: the 10 classes of cifar10"):
        task.open_test("evaluation")
