"""A flat folder of images with a table of labels: every image gets the label of its row."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morphogen.core import spreadsheet
from morphogen.core.errors import DataError
from morphogen.tasks.classification import ImageTask, load, locate

ROWS = {"a": "dog", "b": "cat", "c": "dog", "d": "emu"}
"""Image and class; the grey of an image is its place in the alphabet."""


def pictures(folder: Path, names="abcd", ending=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(np.full((4, 4), ord(name) - ord("a"), np.uint8)).save(
            folder / f"{name}{ending}"
        )


def classes_by_image(spec, part="train"):
    """Which class each image has, images by the grey that tells them apart."""
    images = load(spec, part)
    greys = images.pixels[:, 0, 0, 0].tolist()
    return {
        "abcdefgh"[g]: images.classes[y] for g, y in zip(greys, images.labels.tolist(), strict=True)
    }


def table(file: Path, rows=ROWS, head="filename,label", form="{0}.png,{1}"):
    file.write_text("\n".join([head, *(form.format(i, y) for i, y in rows.items())]))


@pytest.mark.parametrize(
    ("head", "form"),
    [
        ("filename,label", "{0}.png,{1}"),
        ("image_id,class", "{0},{1}"),  # without ending
        ("id,breed", "{0},{1}"),  # the other of two columns
        ("label;path", "{1};{0}.png"),
        ("width,image_name,category,height", "4,{0}.png,{1},4"),
        ("\ufeffImage Path\tTarget", "./{0}.png\t{1}"),
        ('"File Name","Label"', '"{0}.png","{1}"'),
    ],
)
@pytest.mark.parametrize("folder", [".", "images", "train/train"])
def test_columns_and_images_are_found(head, form, folder, tmp_path):
    pictures(tmp_path / folder)
    table(tmp_path / "labels.csv", head=head, form=form)
    assert classes_by_image(tmp_path) == ROWS
    assert classes_by_image(tmp_path / "labels.csv") == ROWS
    assert any("labels from 'labels.csv'" in note for note in load(tmp_path).notes)


def test_paths_may_lead_to_folders_when_the_table_is_named(tmp_path):
    pictures(tmp_path / "x", "ab")
    pictures(tmp_path / "y", "cd")
    rows = {"x/a": "dog", "x/b": "cat", "y/c": "dog", "y/d": "emu"}
    table(tmp_path / "labels.csv", rows)
    assert classes_by_image(tmp_path / "labels.csv") == ROWS
    assert load(tmp_path).classes == ("x", "y")  # of the folder, its folders are the classes


def test_a_table_without_heading_and_columns_of_ones(tmp_path):
    pictures(tmp_path)
    (tmp_path / "labels.csv").write_text("a.png,dog\nb.png,cat\nc.png,dog\nd.png,emu\n")
    assert classes_by_image(tmp_path) == ROWS
    (tmp_path / "labels.csv").write_text(
        "image,dog,cat,emu\na,1.0,0,0\nb,0,1.0,0\nc,1.0,0,0\nd,0,0,1.0\n"
    )
    assert classes_by_image(tmp_path) == ROWS


def test_numbers_are_names_in_their_own_order(tmp_path):
    pictures(tmp_path)
    table(tmp_path / "labels.csv", {"a": 10, "b": 9, "c": 10, "d": 1})
    assert load(tmp_path).classes == ("1", "9", "10")
    assert classes_by_image(tmp_path) == {"a": "10", "b": "9", "c": "10", "d": "1"}


def test_a_table_for_each_part(tmp_path):
    pictures(tmp_path / "train")
    pictures(tmp_path / "val", "ef")
    pictures(tmp_path / "test", "gh")
    table(tmp_path / "train.csv")
    table(tmp_path / "val_labels.csv", {"e": "emu", "f": "dog"})
    table(tmp_path / "test.csv", {"g": "dog", "h": "dog"})
    table(tmp_path / "sample_submission.csv", {"g": "cat", "h": "cat"})
    assert locate(tmp_path).parts == ("train", "valid", "test")
    assert classes_by_image(tmp_path) == ROWS
    assert classes_by_image(tmp_path, "valid") == {"e": "emu", "f": "dog"}
    assert classes_by_image(tmp_path, "test") == {"g": "dog", "h": "dog"}
    assert any("sample_submission.csv" in note for note in load(tmp_path).notes)
    test = ImageTask.of(tmp_path).open_test("evaluation").images
    assert test.labels.tolist() == [1, 1]  # cat, dog, emu


def test_the_table_of_the_test_part_stays_closed_in_a_search(tmp_path, monkeypatch):
    pictures(tmp_path / "train", "abcdef")
    table(tmp_path / "train.csv", {**ROWS, "e": "emu", "f": "cat"})
    table(tmp_path / "test.csv")
    opened = []
    read = spreadsheet.read_bytes

    def watched(path, **options):
        opened.append(path.name)
        return read(path, **options)

    monkeypatch.setattr(spreadsheet, "read_bytes", watched)
    task = ImageTask.of(tmp_path)
    task.check_test(open=False)
    assert set(opened) == {"train.csv"}
    assert task.has_test


def test_a_test_table_without_labels_is_said_and_not_read(tmp_path):
    pictures(tmp_path / "train", "abcdef")
    pictures(tmp_path / "test", "gh")
    table(tmp_path / "train.csv", {**ROWS, "e": "emu", "f": "cat"})
    (tmp_path / "test.csv").write_text("id\ng\nh\n")
    task = ImageTask.of(tmp_path)
    task.check_test(open=False)
    assert task.has_test
    task.check_test(open=True)
    assert not task.has_test
    assert "has no labels and is not read" in task.pool.notes[-1]


def test_a_column_says_the_part_of_each_row(tmp_path):
    pictures(tmp_path / "images", "abcdefgh")
    parts = (
        dict.fromkeys("abcd", "train") | dict.fromkeys("ef", "val") | dict.fromkeys("gh", "test")
    )
    labels = {**ROWS, "e": "emu", "f": "dog", "g": "cat", "h": "dog"}
    lines = [f"{i}.png,{y},{parts[i]}" for i, y in labels.items()]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,split", *lines]))
    assert locate(tmp_path).parts == ("train", "valid", "test")
    assert classes_by_image(tmp_path) == ROWS
    assert classes_by_image(tmp_path, "test") == {"g": "cat", "h": "dog"}


@pytest.mark.parametrize(("head", "values"), [("split", ["train", "x"]), ("is_test", ["0", "1"])])
def test_parts_that_are_said_in_another_way_are_refused(head, values, tmp_path):
    pictures(tmp_path / "images")
    lines = [f"{i}.png,{y},{values[k % 2]}" for k, (i, y) in enumerate(ROWS.items())]
    (tmp_path / "labels.csv").write_text("\n".join([f"file,label,{head}", *lines]))
    with pytest.raises(DataError, match=f"says parts in column '{head}', .* accepted: a column"):
        load(tmp_path)


def test_a_missing_image_is_named_where_there_are_no_class_folders(tmp_path):
    pictures(tmp_path / "images", "a")
    table(tmp_path / "labels.csv")
    with pytest.raises(DataError, match=r"names the image 'b.png', and there is no such file"):
        load(tmp_path)


def test_images_that_are_not_listed_are_said(tmp_path):
    pictures(tmp_path / "images", "abcdefgh")
    table(tmp_path / "labels.csv")
    assert "4 images were not read: 'labels.csv' has no rows of them" in load(tmp_path).notes


def test_a_table_beside_class_folders_changes_nothing(tmp_path):
    pictures(tmp_path / "one", "ab")
    pictures(tmp_path / "two", "cd")
    table(tmp_path / "labels.csv", {"one/a": "x", "one/b": "x", "two/c": "y", "two/d": "y"})
    (tmp_path / "notes.csv").write_bytes(b"\xff\x00,,\n1")
    assert load(tmp_path).classes == ("one", "two")
    table(tmp_path / "labels.csv", dict(zip("abcd", "xxyy", strict=True)))
    assert load(tmp_path).classes == ("one", "two")  # names without folders are found in one only


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("filename,label\na.png,dog\nz.png,cat", "names the image 'z.png', and there is no such"),
        ("filename,label\na.png,dog\nb.png,", "has an empty cell in row 2"),
        ("filename,label\na.png,dog\na,cat", "lists 'a.png' twice"),
        (
            "filename,label\na.png,dog\nb.png,cat,3",
            "line 3 of .*has 3 cells between commas",
        ),
        ("filename,label\na.png,dog\nb.png,dog", "images of one class only, 'dog'"),
        ("filename,width,height\na.png,4,5", "has the columns filename, width, height; accepted"),
        ("filename,label\nq.png,dog", "no such file lies beside it"),
        ("filename,sun,rain\na.png,1,1\nb.png,0,1", "row 0 has 2 classes"),
        ('filename,label\n"a.png,dog', "line 2 of .*unexpected end of data"),
        ("", "has the columns ; accepted"),
    ],
)
def test_bad_tables_are_refused(text, says, tmp_path):
    pictures(tmp_path)
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=says) as caught:
        load(tmp_path / "labels.csv")
    assert "accepted" in str(caught.value)


def test_a_table_that_cannot_be_read_is_named_where_nothing_else_says_the_classes(tmp_path):
    pictures(tmp_path)
    file = tmp_path / "labels.csv"
    file.write_bytes("filename,label\na.png,\xe9lan\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"labels\.csv: byte 21 is no UTF-8; accepted"):
        load(tmp_path)
    text = "\r\n".join(["sep=;", "filename;label;", *(f"{i}.png;{y};" for i, y in ROWS.items())])
    file.write_text(text, encoding="utf-16")  # as spreadsheets save it
    assert classes_by_image(tmp_path) == ROWS


def test_names_without_ending_that_fit_two_files_are_refused(tmp_path):
    pictures(tmp_path)
    pictures(tmp_path, "a", ".bmp")
    table(tmp_path / "labels.csv", form="{0},{1}")
    with pytest.raises(DataError, match=r"'a', and there is the files a.bmp, a.png"):
        load(tmp_path)
    table(tmp_path / "more.csv")
    with pytest.raises(DataError, match="both tables of labels"):
        load(tmp_path)
