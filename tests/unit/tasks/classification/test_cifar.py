"""CIFAR's own files: binary and Python version agree, and a pickle cannot do anything."""

import builtins
import copyreg
import os
import pickle
import sys

import numpy as np
import pytest
import torch

from morphogen.core.errors import DataError
from morphogen.tasks.classification import load

RNG = np.random.default_rng(1)
PER_FILE = 20
PIXELS = RNG.integers(0, 256, (6 * PER_FILE, 3072), dtype=np.uint8)
LABELS = np.arange(6 * PER_FILE) % 10
NAMES = [f"class{i}" for i in range(10)]
FILES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


def batches():
    for i, name in enumerate(FILES):
        rows = slice(i * PER_FILE, (i + 1) * PER_FILE)
        yield name, PIXELS[rows], LABELS[rows]


def python2(value) -> bytes:
    """Protocol 2 as Python 2 and its numpy wrote the official files: strings are bytes."""
    if isinstance(value, dict):
        inside = b"".join(python2(k) + python2(v) for k, v in value.items())
        return b"}(" + inside + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(python2(v) for v in value) + b"e"
    if isinstance(value, tuple):
        return b"(" + b"".join(python2(v) for v in value) + b"t"
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if value is None:
        return b"N"
    if isinstance(value, int):
        return b"J" + value.to_bytes(4, "little", signed=True)
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"T" + len(value).to_bytes(4, "little") + value  # BINSTRING
    assert isinstance(value, np.ndarray)
    dtype = b"cnumpy\ndtype\n" + python2(("u1", 0, 1)) + b"R"
    dtype += python2((3, "|", None, None, None, -1, -1, 0)) + b"b"
    start = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + python2((0,)) + b"U\x01btR"
    )
    state = b"(" + python2(1) + python2(value.shape) + dtype + python2(False)
    return start + state + python2(value.tobytes()) + b"tb"


def official(value) -> bytes:
    return b"\x80\x02" + python2(value) + b"."


def write_python(folder, dump=official):
    folder.mkdir(parents=True, exist_ok=True)
    for name, x, y in batches():
        entries = {"batch_label": name, "data": x, "labels": y.tolist(), "filenames": ["a"]}
        (folder / name).write_bytes(dump(entries))
    (folder / "batches.meta").write_bytes(dump({"label_names": NAMES, "num_vis": 3072}))
    return folder


def write_binary(folder):
    folder.mkdir(parents=True)
    for name, x, y in batches():
        records = np.concatenate([y[:, None].astype(np.uint8), x], 1)
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    return folder


def right(folder, classes=tuple(NAMES)) -> bool:
    train, test = load(folder), load(folder, "test")
    split = 5 * PER_FILE
    pixels = torch.from_numpy(PIXELS.reshape(-1, 3, 32, 32))
    labels = torch.from_numpy(LABELS)
    return (
        torch.equal(train.pixels, pixels[:split])
        and torch.equal(test.pixels, pixels[split:])
        and torch.equal(train.labels, labels[:split])
        and torch.equal(test.labels, labels[split:])
        and train.classes == test.classes == classes
    )


def test_our_python2_pickle_is_what_pickle_itself_reads():
    entries = pickle.loads(official({"data": PIXELS[:3], "labels": [1, -2]}), encoding="bytes")
    assert np.array_equal(entries[b"data"], PIXELS[:3])
    assert entries[b"labels"] == [1, -2]


def test_binary_version(tmp_path):
    assert right(write_binary(tmp_path / "cifar-10-batches-bin"))
    assert right(tmp_path)  # the folder around it
    assert right(f"cifar10:{tmp_path}")


@pytest.mark.parametrize(
    "dump",
    [official, *(lambda v, p=p: pickle.dumps(v, protocol=p) for p in range(5))],
    ids=["python2", *(f"protocol{p}" for p in range(5))],
)
def test_python_version_of_any_protocol(tmp_path, dump):
    assert right(write_python(tmp_path / "cifar-10-batches-py", dump))


def test_fortran_order_is_kept(tmp_path):
    folder = write_python(tmp_path)
    x = np.asfortranarray(PIXELS[:PER_FILE])
    (folder / "data_batch_1").write_bytes(
        pickle.dumps({"data": x, "labels": LABELS[:PER_FILE].tolist()}, protocol=2)
    )
    assert right(folder)


def test_without_meta_file_the_names_are_the_standard_ones(tmp_path):
    folder = write_python(tmp_path)
    (folder / "batches.meta").unlink()
    assert load(folder).classes[:2] == ("airplane", "automobile")


@pytest.mark.parametrize("version", ["cifar-100-python", "cifar-100-binary"])
def test_cifar100_takes_the_fine_labels(tmp_path, version):
    folder = tmp_path / version
    folder.mkdir()
    fine = np.arange(100)
    names = [f"fine{i}" for i in range(100)]
    for part in ("train", "test"):
        if version.endswith("python"):
            entries = {
                "data": PIXELS[:100],
                "fine_labels": fine.tolist(),
                "coarse_labels": [0] * 100,
            }
            (folder / part).write_bytes(official(entries))
            (folder / "meta").write_bytes(official({"fine_label_names": names}))
        else:
            records = np.concatenate([np.zeros((100, 1)), fine[:, None], PIXELS[:100]], 1)
            (folder / f"{part}.bin").write_bytes(records.astype(np.uint8).tobytes())
            (folder / "fine_label_names.txt").write_text("\n".join(names))
    images = load(f"cifar100:{tmp_path}")
    assert torch.equal(images.labels, torch.arange(100))
    assert images.classes == tuple(names)
    assert torch.equal(images.pixels.reshape(100, -1), torch.from_numpy(PIXELS[:100]))


# --- malice --------------------------------------------------------------------------------------


class Run:
    """Unpickles to the result of a call."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def payloads(marker):
    yield Run(os.system, f"touch {marker}")
    yield Run(builtins.eval, f"open({str(marker)!r}, 'w')")
    yield Run(builtins.exec, f"open({str(marker)!r}, 'w')")
    yield Run(builtins.getattr, "text", "upper")
    yield Run(np.load, str(marker))
    yield Run(np.fromfile, str(marker))
    yield Run(copyreg._reconstructor, Run, object, None)
    yield Run(bytearray, b"x")


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_is_refused_and_not_executed(tmp_path, number, protocol):
    marker = tmp_path / "executed"
    folder = write_python(tmp_path / "cifar-10-batches-py")
    payload = list(payloads(marker))[number]
    content = {"data": PIXELS[:PER_FILE], "labels": LABELS[:PER_FILE].tolist(), "extra": payload}
    (folder / "data_batch_1").write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(
        DataError, match=r"is refused as CIFAR data .it asks for .*; accepted: "
    ) as e:
        load(folder)
    assert "data_batch_1" in str(e.value)
    assert not marker.exists()


def test_numpy_runs_nothing_on_a_files_behalf(tmp_path, monkeypatch):
    folder = write_python(tmp_path)
    calls = []

    class Spy:
        def __getattr__(self, name):
            calls.append(name)
            raise AssertionError(name)

    monkeypatch.setitem(sys.modules, "numpy.core.multiarray", Spy())
    monkeypatch.setitem(sys.modules, "numpy._core.multiarray", Spy())
    assert right(folder)
    assert calls == []


G = b"cnumpy\ndtype\n"


@pytest.mark.parametrize(
    "code",
    [
        b"",
        b".",
        b"garbage",
        b"\x80\x02",
        b"\x80\x02}.extra",  # an empty dictionary: no entry
        b"\x80\x02N.",  # not a dictionary
        b"\x80\x02" + G + b"}U\x01aNsb.",  # changes an admitted name
        b"\x80\x02" + G + b"(tRN}U\x01aNs\x86b.",  # a state of slots
        b"\x80\x02P1\n.",  # a persistent id
        b"\x80\x02\x82\x01.",  # an extension code
        b"\x80\x02i__main__\nRun\n.",
        b"\x80\x02" + b"(" * 50_000 + b"t" * 50_000 + b".",
        b"\x80\x04\x8d" + b"\xff" * 8 + b".",  # a string of 2^64 bytes
        b"\x80\x02}(U\x04dataN.",
    ],
)
def test_corrupt_and_odd_pickles_end_in_one_sentence(tmp_path, code):
    folder = write_python(tmp_path)
    (folder / "data_batch_2").write_bytes(code)
    with pytest.raises(DataError, match="data_batch_2") as caught:
        load(folder)
    assert "accepted" in str(caught.value)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"labels": [0] * PER_FILE}, "has no entry 'data'"),
        ({"data": PIXELS[:PER_FILE]}, "has no entry 'labels'"),
        ({"data": [1], "labels": [0]}, "the entry is no array"),
        ({"data": PIXELS[:2], "labels": [0]}, r"pixels \[2, 3072\] for 1 labels"),
        ({"data": PIXELS[:2, :99], "labels": [0, 1]}, r"pixels \[2, 99\] for 2 labels"),
        ({"data": PIXELS[:2], "labels": ["a", "b"]}, "no list of integers"),
        ({"data": PIXELS[:2], "labels": [0, 77]}, "labels up to 77 and names of 10 classes"),
        ({"data": PIXELS[:2], "labels": [0, 10**30]}, "absurd"),
        ({"data": PIXELS[:2].astype(float), "labels": [0, 1]}, "its elements are f8"),
        ({"data": np.array([None, 1]), "labels": [0, 1]}, "its elements are O8"),
    ],
)
def test_files_with_other_content_are_refused(tmp_path, entries, says):
    folder = write_python(tmp_path)
    (folder / "data_batch_1").write_bytes(pickle.dumps(entries, protocol=2))
    with pytest.raises(DataError, match=says):
        load(folder)


def test_an_array_shorter_than_its_shape_is_refused(tmp_path):
    folder = write_python(tmp_path)
    whole = (folder / "data_batch_1").read_bytes()
    shape = python2(PIXELS[:PER_FILE].shape)
    assert shape in whole
    (folder / "data_batch_1").write_bytes(whole.replace(shape, python2((10**6, 3072))))
    with pytest.raises(DataError, match="cannot be rebuilt"):
        load(folder)


def test_a_missing_batch_is_named(tmp_path):
    folder = write_python(tmp_path)
    (folder / "data_batch_4").unlink()
    with pytest.raises(DataError, match=r"data_batch_4' cannot be read .no such file"):
        load(folder)


def test_a_named_pipe_is_not_waited_for(tmp_path):
    folder = write_python(tmp_path)
    (folder / "data_batch_4").unlink()
    os.mkfifo(folder / "data_batch_4")
    with pytest.raises(DataError, match=r"data_batch_4' cannot be read .a named pipe, not a file"):
        load(folder)


def test_class_names_that_are_no_text_are_refused(tmp_path):
    folder = write_python(tmp_path)
    names = [["a"] * 3] * 10
    (folder / "batches.meta").write_bytes(official({"label_names": names}))
    with pytest.raises(DataError, match=r"batches.meta' does not name 10 classes"):
        load(folder)


def test_a_truncated_binary_file_is_refused(tmp_path):
    folder = write_binary(tmp_path / "b")
    file = folder / "data_batch_3.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"data_batch_3.bin' has 61459 bytes; accepted: a multiple"):
        load(folder)
