"""CIFAR-10 and CIFAR-100 as their authors distribute them: the binary and the Python version.

The files of the Python version are pickles, and a pickle can run any program. They are read by
`plain_pickle`, which knows dictionaries, lists, text and numbers, and for the one numpy array in
each file notes what numpy *would* be called with, from which the uint8 array is built here. Every
other name in a file is refused, nothing is imported, and no code of numpy runs on a file's behalf.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from morphogen.core.errors import DataError
from morphogen.core.memory import too_much
from morphogen.tasks.classification.images import Images, Source
from morphogen.tasks.classification.readers.plain_pickle import Call, Name, unpickle
from morphogen.tasks.labelled.labels import labelled
from morphogen.tasks.readers.files import required

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class _Layout:
    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    pickled: bool
    label_bytes: int  # of a binary record; the class is the last of them
    labels: str  # key of the labels in a pickle
    names: str  # key of the class names in the pickled meta file
    count: int
    classes: tuple[str, ...] | None  # where the meta file is missing


_LAYOUTS = (
    _Layout(
        "cifar-10-batches-bin",
        tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        "test_batch.bin",
        "batches.meta.txt",
        False,
        1,
        "",
        "",
        10,
        CIFAR10_CLASSES,
    ),
    _Layout(
        "cifar-10-batches-py",
        tuple(f"data_batch_{i}" for i in range(1, 6)),
        "test_batch",
        "batches.meta",
        True,
        0,
        "labels",
        "label_names",
        10,
        CIFAR10_CLASSES,
    ),
    _Layout(
        "cifar-100-binary",
        ("train.bin",),
        "test.bin",
        "fine_label_names.txt",
        False,
        2,
        "",
        "",
        100,
        None,
    ),
    _Layout(
        "cifar-100-python",
        ("train",),
        "test",
        "meta",
        True,
        0,
        "fine_labels",
        "fine_label_names",
        100,
        None,
    ),
)


def find(path: Path) -> Source | None:
    """The folder of a CIFAR version, or the folder that holds it."""
    if not path.is_dir():
        return None
    for layout in _LAYOUTS:
        for folder in (path, path / layout.folder):
            # The first training file decides; the others, if missing, are named when read.
            if (folder / layout.train[0]).is_file():
                has_test = (folder / layout.test).is_file()
                parts = ("train", "test") if has_test else ("train",)
                return Source(str(path), parts, partial(_read, folder, layout))
    return None


def _read(folder: Path, layout: _Layout, part: str, size: int | None) -> Images:
    files = layout.train if part == "train" else (layout.test,)
    read = _pickled if layout.pickled else _binary
    pieces = [read(folder / name, layout) for name in files]
    pixels = np.concatenate([x for x, _ in pieces]).reshape(-1, 3, 32, 32)
    names = _classes(folder / layout.meta, layout)
    labels = labelled(np.concatenate([y for _, y in pieces]), str(folder), names)
    return Images(torch.from_numpy(pixels), *labels)


def _classes(meta: Path, layout: _Layout) -> tuple[str, ...] | None:
    if not meta.is_file():
        return layout.classes
    if layout.pickled:
        names = _entry(meta, _unpickle(meta), layout.names)
    else:
        names = _bytes(meta).decode("utf-8", "replace").split()
    texts = isinstance(names, list) and all(isinstance(name, str | bytes) for name in names)
    if not texts or len(names) != layout.count:
        raise DataError(
            f"file {str(meta)!r} does not name {layout.count} classes; accepted: "
            "the official file, or none"
        )
    return tuple(_text(name) for name in names)


def _binary(file: Path, layout: _Layout) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Records of one label byte (CIFAR-100: coarse, then fine) and 3,072 pixels."""
    record = layout.label_bytes + _PIXELS
    data = _bytes(file)
    if not data or len(data) % record:
        raise DataError(
            f"file {str(file)!r} has {len(data)} bytes; accepted: a multiple of {record}, "
            "the length of an image; restore it"
        )
    rows = np.frombuffer(data, np.uint8).reshape(-1, record)
    return rows[:, layout.label_bytes :], rows[:, layout.label_bytes - 1]


def _pickled(file: Path, layout: _Layout) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    content = _unpickle(file)
    pixels = _array(file, _entry(file, content, "data"))
    labels = _entry(file, content, layout.labels)
    if not isinstance(labels, list) or not all(type(value) is int for value in labels):
        raise DataError(f"file {str(file)!r} has labels that are no list of integers; restore it")
    if pixels.ndim != 2 or pixels.shape != (len(labels), _PIXELS):
        raise DataError(
            f"file {str(file)!r} has pixels {list(pixels.shape)} for {len(labels)} labels; "
            f"accepted: [images, {_PIXELS}]; restore it"
        )
    try:
        return pixels, np.asarray(labels, dtype=np.int64)
    except OverflowError as error:
        raise DataError(f"file {str(file)!r} has labels of absurd size; restore it") from error


def _bytes(file: Path) -> bytes:
    accepted = "the whole folder as its authors distribute it"
    wrong = too_much(2 * required(file, accepted))
    if wrong:
        raise DataError(f"file {str(file)!r} takes {wrong}; accepted: {accepted}")
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(
            f"file {str(file)!r} cannot be read ({error.strerror}); accepted: {accepted}"
        ) from error


# --- the Python version --------------------------------------------------------------------------

_ARRAY = (
    Name("numpy.core.multiarray", "_reconstruct"),  # as in the official files
    Name("numpy._core.multiarray", "_reconstruct"),
)
_TYPE = Name("numpy", "dtype")
_BYTES = Name("_codecs", "encode")  # how Python 3 writes bytes into a pickle of protocol 2
_ADMITTED = frozenset({*_ARRAY, _TYPE, _BYTES, Name("numpy", "ndarray")})


def _unpickle(file: Path) -> dict[Any, Any]:
    """The dictionary in a pickle file, made of plain values and calls that were not made.

    Raises:
        DataError: the file is corrupt, or asks for anything but plain values and arrays.
    """
    data = _bytes(file)
    try:
        content = unpickle(data, _ADMITTED)
    except ValueError as error:
        raise DataError(
            f"file {str(file)!r} is refused as CIFAR data ({error}); accepted: a pickle of plain "
            "values and one uint8 array, as in the official archive, or the binary version"
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"file {str(file)!r} holds no dictionary; accepted: the official file")
    return content


def _entry(file: Path, content: dict[Any, Any], key: str) -> Any:
    """`content[key]`, where files written by Python 2 have the key in bytes."""
    for name in (key, key.encode()):
        if name in content:
            return content[name]
    raise DataError(
        f"file {str(file)!r} has no entry {key!r}; accepted: the file of the official archive"
    )


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if not isinstance(value, str):
        raise ValueError(f"a {type(value).__name__} where text belongs")
    return value


def _array(file: Path, value: Any) -> NDArray[np.uint8]:
    """The uint8 array that a call describes: (version, shape, dtype, Fortran order, bytes)."""
    try:
        if not isinstance(value, Call) or value.name not in _ARRAY:
            raise ValueError("the entry is no array")
        _, shape, dtype, fortran, data = value.state
        if not isinstance(dtype, Call) or dtype.name != _TYPE:
            raise ValueError("the array has no element type")
        if _text(dtype.arguments[0]) not in ("u1", "|u1", "uint8"):
            raise ValueError(f"its elements are {_text(dtype.arguments[0])[:20]}")
        if isinstance(data, Call) and data.name == _BYTES:
            text, codec = data.arguments
            if _text(codec) not in ("latin1", "latin-1"):
                raise ValueError(f"its bytes are encoded as {_text(codec)[:20]}")
            data = text.encode("latin-1") if isinstance(text, str) else text
        if not isinstance(data, bytes):
            raise ValueError("it holds no bytes")
        if not all(type(length) is int for length in shape):
            raise ValueError("its shape is no list of integers")
        return np.frombuffer(data, np.uint8).reshape(shape, order="F" if fortran else "C")
    except (TypeError, ValueError, LookupError, OverflowError) as error:
        raise DataError(
            f"the array in file {str(file)!r} cannot be rebuilt ({error}); accepted: uint8 pixels "
            "as in the official archive"
        ) from error
