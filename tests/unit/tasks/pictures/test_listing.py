"""Every file of a folder is read, said or refused; nothing that is no file is waited for."""

import inspect
import io
import os
import socket
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from morphogen.core.errors import DataError, UnknownNameError
from morphogen.tasks.classification import load
from morphogen.tasks.pictures.decode import decode
from morphogen.tasks.pictures.listing import images_in, unread

OUT = io.BytesIO()
Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(OUT, "PNG")
PNG = OUT.getvalue()


@pytest.fixture
def root(tmp_path):
    """Two classes of three images."""
    for name in "ab":
        (tmp_path / "d" / name).mkdir(parents=True)
        for i in range(3):
            (tmp_path / "d" / name / f"{i}.png").write_bytes(PNG)
    return tmp_path / "d"


def refused(root, *says):
    with pytest.raises(DataError) as caught:
        load(root)
    for text in ("; accepted: ", *says):
        assert str(text) in str(caught.value)


@pytest.mark.parametrize(
    "name", ["x.jfif", "x.JPE", "x.Jpeg", "x.apng", "x.dib", "x.pnm", "x.pbm", "x.TIF", "x.webp"]
)
def test_images_of_every_ending_are_read(root, name):
    (root / "a" / name).write_bytes(PNG)  # what a file is, its bytes say
    images = load(root)
    assert len(images) == 7
    assert images.notes == ()


def test_files_that_are_not_read_are_counted_by_their_ending(root):
    for name in ("1.heic", "2.HEIC", "3.txt", "README", "4.jpg~", "5.\x1b[31m"):
        (root / "a" / name).write_bytes(PNG)
    (root / "b" / "more").mkdir()
    (root / "b" / "more" / "6.heic").write_bytes(PNG)
    (root / "7.png").write_bytes(PNG)
    images = load(root)
    assert len(images) == 6
    assert images.notes == (
        f"files of the train part of {str(root)!r} that are not read: 8 (3 .heic, 2 other, 1 .png "
        "beside the class folders, 1 .txt, 1 without an ending)",
    )


def test_images_beside_the_folders_of_parts_are_said(root, tmp_path):
    (tmp_path / "whole").mkdir()
    root.rename(tmp_path / "whole" / "train")
    (tmp_path / "whole" / "9.png").write_bytes(PNG)
    (note,) = load(tmp_path / "whole").notes
    assert note.endswith("that are not read: 1 (1 .png beside the parts)")


def test_what_systems_leave_behind_goes_without_a_word(root):
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "._0.png", ".git", "Icon\r"):
        (root / "a" / name).write_bytes(b"x")
    (root / "a" / ".cache").mkdir()
    (root / "a" / ".cache" / "9.png").write_bytes(PNG)
    images = load(root)
    assert len(images) == 6
    assert images.notes == ()


def test_a_class_of_files_that_are_not_read_is_refused(root):
    (root / "c").mkdir()
    (root / "c" / "1.heic").write_bytes(PNG)
    refused(root, root / "c", "holds no images but 1 .heic")


def test_links_are_followed(root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "9.png").write_bytes(PNG)
    (root / "a" / "folder").symlink_to(tmp_path / "elsewhere")
    (root / "b" / "9.png").symlink_to(tmp_path / "elsewhere" / "9.png")
    assert load(root).labels.tolist() == [0] * 4 + [1] * 4


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_links_back_are_not_followed_and_said(root, target):
    (root / "a" / "back").symlink_to(target)
    images = load(root)
    assert images.labels.tolist() == [0] * 3 + [1] * 3
    (note,) = images.notes
    assert note.endswith("to a folder above them, which are not followed: 1")


@pytest.mark.parametrize(
    ("name", "target", "says"),
    [
        ("a/9.png", "nothing", "a link to nothing"),
        ("a/more", "nothing", "a link to nothing"),
        ("c", "nothing", "a link to nothing"),
        ("a/9.png", "9.png", "symbolic links"),
        ("a/9.png", "/dev/zero", "a device, not a file"),
    ],
)
def test_links_that_lead_nowhere_are_named(root, name, target, says):
    (root / name).symlink_to(target)
    refused(root, root / name, says)


def test_a_named_pipe_among_the_images_is_not_waited_for(root):
    os.mkfifo(root / "a" / "9.png")
    refused(root, root / "a" / "9.png", "a named pipe, not a file")


@pytest.mark.parametrize("name", ["train.parquet", "train-00000-of-00001.parquet"])
def test_a_named_pipe_among_tables_is_not_waited_for(root, name):
    os.mkfifo(root / name)
    refused(root, root / name, "a named pipe, not a file")


def test_an_empty_image_is_named(root):
    (root / "a" / "9.png").touch()
    refused(root, root / "a" / "9.png", "it is empty")


def test_a_folder_that_may_not_be_read_is_named(root, monkeypatch):
    (root / "a" / "more").mkdir()
    whole = os.scandir

    def scandir(path):  # for root, as tests may run, nothing is forbidden
        if os.fspath(path).endswith("more"):
            raise PermissionError(13, "Permission denied", path)
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)
    refused(root, root / "a" / "more", "Permission denied")


def test_folders_may_be_deeper_than_the_stack(tmp_path):
    deepest = tmp_path.joinpath(*["d"] * 300)
    deepest.mkdir(parents=True)
    (deepest / "9.png").write_bytes(PNG)
    passed: Counter[str] = Counter()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 100)
    try:
        found = images_in(tmp_path / "d", passed)
    finally:
        sys.setrecursionlimit(limit)
    assert found == [deepest / "9.png"]
    assert unread(passed, "it") == ()


def test_a_part_that_may_not_be_read_is_named(root, monkeypatch):
    (root / "test").mkdir()
    whole = os.listdir

    def listdir(path):
        if os.fspath(path).endswith("test"):
            raise PermissionError(13, "Permission denied", path)
        return whole(path)

    monkeypatch.setattr(os, "listdir", listdir)  # which pathlib's iterdir calls
    refused(root, "Permission denied at", root / "test")


def test_a_folder_that_may_not_be_entered_is_named_itself(root, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    refused(root, root, "is a folder that may not be entered")


@pytest.mark.parametrize("ending", ["", ".npz", ".npy", ".parquet", ".png"])
def test_special_files_as_data_are_not_opened(tmp_path, monkeypatch, ending):
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    os.mkfifo(f"pipe{ending}")
    refused(tmp_path / f"pipe{ending}", "a named pipe, not a file")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(f"socket{ending}")
        refused(tmp_path / f"socket{ending}", "a socket, not a file")
    with pytest.raises(DataError, match="a named pipe, not a file"):
        decode(tmp_path / f"pipe{ending}", "it")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/dev/zero", "a device, not a file"),
        ("./" + "x" * 300 + ".npz", "File name too long"),
        ("cifar10:" + "/x" * 4000, "File name too long"),
        ("./a\0b.npz", "a path with a null character"),
    ],
)
def test_paths_that_lead_to_no_file_say_why(path, says):
    refused(path, says)


def test_a_long_name_is_no_known_name():
    with pytest.raises(UnknownNameError, match="unknown data set"):
        load("x" * 5000)
