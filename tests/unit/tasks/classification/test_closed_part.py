"""The test part is compared with the training data before the first epoch, its images unread."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tiny
from morphogen.core.errors import DataError
from morphogen.engine.search.search import search
from morphogen.engine.train.retrain import train
from morphogen.engine.train.training import Training
from morphogen.tasks.classification import ImageTask
from morphogen.tasks.classification.images import Source

GREY = np.zeros((6, 8, 8), np.uint8)
COLOUR = np.zeros((6, 8, 8, 3), np.uint8)
WIDE = np.zeros((6, 8, 6), np.uint8)
WORDS = np.array(["ant", "bee", "cow"] * 2)


def as_folder(root, parts):
    for part, (images, names) in parts.items():
        for i, (image, name) in enumerate(zip(images, names, strict=True)):
            (root / part / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(root / part / name / f"{i}.png")
    return root


def as_npz(root, parts):
    arrays = {f"x_{p}": x for p, (x, _) in parts.items()} | {
        f"y_{p}": y for p, (_, y) in parts.items()
    }
    np.savez(root / "d.npz", **arrays)
    return root / "d.npz"


def as_parquet(root, parts, names=None):
    for part, (images, labels) in parts.items():
        cells = []
        for image in images:
            Image.fromarray(image).save(root / "i.png")
            cells.append({"bytes": (root / "i.png").read_bytes(), "path": None})
        table = pa.table({"image": cells, "label": list(labels)})
        if names:
            known = {"info": {"features": {"label": {"names": names[part]}}}}
            table = table.replace_schema_metadata({"huggingface": json.dumps(known)})
        pq.write_table(table, root / f"{part}.parquet")
    (root / "i.png").unlink()
    return root


LAYOUTS = [as_folder, as_npz, as_parquet]


@pytest.fixture
def no_test_image(monkeypatch):
    """Fails the test if images of a test part are decoded."""
    read = Source.read

    def watched(self, part, size=None):
        assert part != "test"
        return read(self, part, size)

    monkeypatch.setattr(Source, "read", watched)


@pytest.mark.parametrize("write", LAYOUTS)
@pytest.mark.parametrize(
    ("images", "names", "says"),
    [
        (GREY, ["ant", "bee", "eel"] * 2, "has class 'eel', which the training data has not"),
        (COLOUR, WORDS, "3 channels and 8x8 pixels, the training data 1 and 8x8"),
        (WIDE, WORDS, "1 channels and 6x8 pixels, .*, or the option size=N"),
    ],
)
def test_a_test_part_that_does_not_fit_is_refused_unread(
    write, images, names, says, tmp_path, no_test_image
):
    data = write(tmp_path, {"train": (GREY, WORDS), "test": (images, names)})
    with pytest.raises(DataError, match=says):
        ImageTask.of(data).check_test(open=True)


@pytest.mark.parametrize("write", LAYOUTS)
def test_a_test_part_that_fits_is_not_refused(write, tmp_path, no_test_image):
    few = {"train": (GREY, WORDS), "test": (GREY[:2], WORDS[1:3])}
    task = ImageTask.of(write(tmp_path, few))
    task.check_test(open=True)
    ImageTask.of("fashion-mnist").check_test(open=True)
    assert task.test_openings == ()


def test_a_size_makes_all_shapes_alike(tmp_path, no_test_image):
    data = as_folder(tmp_path, {"train": (GREY, WORDS), "test": (WIDE, WORDS)})
    ImageTask.of(data, size=4).check_test(open=True)


def test_names_in_the_schema_are_compared(tmp_path, no_test_image):
    labels = [0, 1, 2] * 2
    names = {"train": ["a", "b", "c"], "test": ["a", "b", "z"]}
    parts = {"train": (GREY, labels), "test": (GREY, labels)}
    task = ImageTask.of(as_parquet(tmp_path, parts, names))
    with pytest.raises(DataError, match="has class 'z'"):
        task.check_test(open=True)


def test_a_test_part_of_one_class_is_one_all_the_same(tmp_path):
    few = {"train": (GREY, WORDS), "test": (GREY[:2], ["cow", "cow"])}
    assert ImageTask.of(as_npz(tmp_path, few)).open_test("evaluation").images.labels.tolist() == [
        2,
        2,
    ]


# --- through the engine --------------------------------------------------------------------------

CELL = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"
SHORT = Training(
    epochs=1,
    batch_size=2,
    held_out=0.5,
    task={"image_size": 0},
    network={"channels": 2},
    hardware={"threads": 1},
)


def test_training_refuses_before_the_first_epoch(tmp_path, no_test_image):
    data = {"train": (GREY, WORDS), "test": (GREY, ["ant", "bee", "eel"] * 2)}
    data = as_npz(tmp_path, data)
    with pytest.raises(DataError, match="eel"):
        train(CELL, data=data, training=SHORT, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_search_sees_names_of_test_folders_and_opens_no_file(tmp_path, monkeypatch):
    data = as_folder(tmp_path, {"train": (GREY, WORDS), "test": (GREY, WORDS)})
    for file in (tmp_path / "test").rglob("*.png"):  # opening one would not return
        file.unlink()
        os.mkfifo(file)
    settings = tiny.changed(
        tiny.SETTINGS, train_images=3, valid_images=3, batch_size=2, image_size=0, epochs=1
    )
    found = search(tiny.config("gdas"), data=data, settings=settings, run=tmp_path / "run")
    assert len(found.history) == 1
    (tmp_path / "test" / "eel").mkdir()
    with pytest.raises(DataError, match="has class 'eel'"):
        search(tiny.config("gdas"), data=data, settings=settings, run=tmp_path / "other")
