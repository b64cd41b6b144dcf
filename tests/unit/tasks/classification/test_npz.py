"""Arrays in .npz files: under every usual name, and no file is believed before it is measured."""

import io
import struct
import zipfile

import numpy as np
import pytest
import torch

from morphogen.core.errors import DataError
from morphogen.tasks.classification import ImageTask, from_arrays, load, locate
from morphogen.tasks.labelled.remarks import remarks

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (12, 8, 8), dtype=np.uint8)
Y = np.arange(12) % 3


def npy(header: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    """An .npy file with that header, true or not."""
    packing = "<H" if version == b"\1\0" else "<I"
    return b"\x93NUMPY" + version + struct.pack(packing, len(header)) + header.encode() + data


def declares(descr: str, shape: str, data: bytes = b"", **more) -> bytes:
    return npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n", data, **more)


def saved(array) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def packed(file, x: bytes, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("x.npy", x)
        archive.writestr("y.npy", saved(Y))
    return file


def patched(file, local: int, central: int, value: int):
    """The same archive with one byte of every header of a member changed."""
    raw = bytearray(file.read_bytes())
    for mark, offset in ((b"PK\3\4", local), (b"PK\1\2", central)):
        at = -1
        while (at := raw.find(mark, at + 1)) >= 0:
            raw[at + offset] = value
    file.write_bytes(raw)
    return file


def refused(file, *says) -> str:
    with pytest.raises(DataError) as caught:
        load(file)
    message = str(caught.value)
    for text in (str(file), "accepted: ", *says):
        assert text in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("x", "y"),
        ("X", "y"),
        ("images", "labels"),
        ("data", "target"),
        ("train_images", "train_labels"),
        ("X_train", "y_train"),
        ("x_tr", "y_tr"),
        ("trainX", "trainY"),
        ("imgs", "targets"),
    ],
)
def test_images_and_labels_under_usual_names(tmp_path, images, labels):
    np.savez(tmp_path / "a.NPZ", **{images: X, labels: Y})
    file = next(tmp_path.iterdir())
    found = load(file)
    assert np.array_equal(found.pixels[:, 0], X)
    assert found.labels.tolist() == Y.tolist()


def test_parts_under_the_names_of_medmnist(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        train_images=X,
        train_labels=Y[:, None],
        test_images=X[::-1][:6],
        test_labels=Y[::-1][:6, None],
    )
    assert "test" in locate(tmp_path / "a.npz").parts
    assert np.array_equal(load(tmp_path / "a.npz", "test").pixels[:, 0], X[::-1][:6])


def test_what_is_not_read_is_said(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y, x_test=X, weights=Y, data=X)
    task = ImageTask.of(tmp_path / "a.npz")
    (sentence,) = (s for s in remarks(task.pool) if "not read" in s)
    assert sentence.endswith("are not read: x_test, weights, data")


def test_two_arrays_for_one_thing_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", images=X, pixels=X, labels=Y)
    refused(tmp_path / "a.npz", "'images', 'pixels', all named like the train images")
    np.savez(tmp_path / "a.npz", x=X, x_train=X, y=Y)
    refused(tmp_path / "a.npz", "'x', 'x_train'")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_order_of_memory_and_compression_do_not_matter(tmp_path, save, order):
    save(tmp_path / "a.npz", x=np.asarray(X, order=order), y=Y.astype(">i2"))
    found = load(tmp_path / "a.npz")
    assert np.array_equal(found.pixels[:, 0], X)
    assert found.labels.tolist() == Y.tolist()


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (X > 127, np.where(X > 127, 255, 0)),
        (X.astype(float), X),
        (X.astype(np.float16), X),
        (X.astype(">u4"), X),
        ((X > 127).astype(float), np.where(X > 127, 255, 0)),
    ],
    ids=["booleans", "floats to 255", "half", "big endian", "floats 0 and 1"],
)
def test_scales_of_pixels(x, expected):
    assert np.array_equal(from_arrays(x, Y).pixels[:, 0], expected)


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (X.astype("U3"), "images of type <U3; accepted: integers or floats"),
        (X.astype("S3"), "images of type .S3"),
        (X.astype(complex), "images of type complex128"),
        (X.astype("M8[s]"), "images of type datetime64"),
        (X + 0.5, "float64 from 0.5 to 255.5"),
        (X / 255 + 0.01, "floats from 0 to 1"),
        (np.where(X > 3, X, np.inf), "to inf"),
        ([[[1, 2], [3]], [[1, 2], [3, 4]]], "x is no array"),
        (np.array(3), r"shape \[\]"),
    ],
)
def test_arrays_that_are_no_images_are_refused(x, says):
    with pytest.raises(DataError, match=says):
        from_arrays(x, Y)


def test_tensors_and_arrays_that_may_not_be_written_are_taken():
    fixed = X.copy()
    fixed.setflags(write=False)
    for given in (fixed, torch.from_numpy(X), torch.from_numpy(X / 255).requires_grad_()):
        assert np.array_equal(from_arrays(given, Y).pixels[:, 0], X)


HONEST = saved(X)
HUGE = "(1000000000000, 8, 8)"


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (declares("'|u1'", HUGE), "its header says [1000000000000, 8, 8] of uint8, and 0 bytes"),
        (declares("'|u1'", "(12, 8, 8)", bytes(767)), "and 767 bytes follow"),
        (declares("'|u1'", "(12, 8, 8)", bytes(769)), "and 769 bytes follow"),
        (declares("'|u1'", "(-12, 8, -8)", bytes(768)), "its header says [-12, 8, -8]"),
        (declares("'<U500000000'", "(1,)"), "its header says"),
        (declares("'|O'", "(12, 8, 8)"), "an array of object"),
        (declares("[('a', '|u1')]", "(12, 8, 8)", bytes(768)), "an array of [("),
        (declares("'|u1'", "(12, 8, 8)", bytes(768), version=b"\3\0"), "version 3.0"),
        (npy("(" * 9000), "cannot be read as .npz"),
        (npy("{" + "-" * 9000), "cannot be read as .npz"),
        (npy("{}"), "cannot be read as .npz"),
        (npy("[" * 9_999_999, version=b"\2\0"), "a header of 9,999,999 bytes"),
        (b"", "cannot be read as .npz"),
        (b"\x93NUMPY", "cannot be read as .npz"),
    ],
    ids=range(14),
)
def test_headers_are_not_believed(tmp_path, x, says):
    refused(packed(tmp_path / "a.npz", x), says)


def test_an_array_larger_than_the_memory_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("morphogen.tasks.readers.npz.too_much", lambda need: f"{need} bytes")
    refused(packed(tmp_path / "a.npz", HONEST), "an array of [12, 8, 8] takes 768 bytes")


def test_archives_that_cannot_be_unpacked(tmp_path):
    file = tmp_path / "a.npz"
    refused(patched(packed(file, HONEST), 6, 8, 1), "is encrypted")
    refused(patched(packed(file, HONEST), 8, 10, 99), "compression method is not supported")
    refused(patched(packed(file, HONEST, zipfile.ZIP_STORED), 14, 16, 0), "Bad CRC-32")
    for method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED):
        raw = bytearray(packed(file, HONEST, method).read_bytes())
        raw[300:400] = bytes(byte ^ 255 for byte in raw[300:400])
        file.write_bytes(raw)
        refused(file, "cannot be read as .npz")
    file.write_bytes(HONEST)
    refused(file, "not a zip file")
    file.write_bytes(b"")
    refused(file, "not a zip file")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name, array in (("x", X), ("y", Y), ("x", X[::-1])):
            archive.writestr(f"{name}.npy", saved(array))
    refused(tmp_path / "a.npz", "holds the array 'x' 2 times")


def test_members_that_are_no_arrays_are_not_taken_for_them(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x", b"text")
        archive.writestr("y.npy", saved(Y))
    refused(tmp_path / "a.npz", "holds y; accepted: arrays x and y")


def test_a_single_array_is_no_data_set(tmp_path):
    np.save(tmp_path / "a.npy", X)
    refused(tmp_path / "a.npy", "holds a single array")


@pytest.mark.parametrize(
    ("classes", "expected"),
    [(["a", "b", "c"], ("a", "b", "c")), ([b"a", b"\xc3\xa9", b"c"], ("a", "é", "c"))],
)
def test_class_names_may_be_text_or_bytes(tmp_path, classes, expected):
    np.savez(tmp_path / "a.npz", x=X, y=Y, class_names=classes)
    assert load(tmp_path / "a.npz").classes == expected


def test_class_names_that_are_no_list_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y, classes=np.array("abc"))
    refused(tmp_path / "a.npz", "has class names of shape []")
    np.savez(tmp_path / "a.npz", x=X, y=Y, classes=["a", "b", "c"], class_names=list("abc"))
    refused(tmp_path / "a.npz", "names classes in classes, class_names")
