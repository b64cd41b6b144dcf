"""The original files of MNIST and Fashion-MNIST: `train-images-idx3-ubyte[.gz]` and so on."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from morphogen.core.errors import DataError
from morphogen.core.memory import too_much
from morphogen.tasks.classification.images import Images, Preview, Source
from morphogen.tasks.labelled.labels import labelled
from morphogen.tasks.readers.files import required

_STEM = {"train": "train", "test": "t10k"}
_SUBFOLDERS = ("", "raw", "FashionMNIST/raw", "MNIST/raw")  # as torchvision unpacks them


def find(path: Path) -> Source | None:
    """A folder that holds the idx files, or torchvision's folder around it."""
    if not path.is_dir():
        return None
    for sub in _SUBFOLDERS:
        folder = path / sub
        parts = tuple(p for p in _STEM if _file(folder, p, "images-idx3-ubyte"))
        if parts:
            return Source(str(path), parts, partial(_read, folder), (), partial(_preview, folder))
    return None


def _file(folder: Path, part: str, what: str) -> Path | None:
    dotted = what.replace("-idx", ".idx")  # as some copies have it
    for name in (what, f"{what}.gz", dotted, f"{dotted}.gz"):
        file = folder / f"{_STEM[part]}-{name}"
        if file.is_file():
            return file
    return None


def _read(folder: Path, part: str, size: int | None) -> Images:
    pixels = _array(folder, part, "images-idx3-ubyte", 3)
    where = f"the {part} part of {str(folder)!r}"
    labels = labelled(_array(folder, part, "labels-idx1-ubyte", 1), where)
    if len(labels.indexes) != len(pixels) or not pixels.size:
        raise DataError(
            f"{where} has images of shape {list(pixels.shape)} and {len(labels.indexes)} labels; "
            "accepted: as many labels as images, of a pixel or more"
        )
    return Images(torch.from_numpy(pixels.copy())[:, None], *labels)


def _preview(folder: Path, part: str, open: bool) -> Preview | None:
    """Labels, which have a file of their own."""
    if not open:
        return None
    return Preview(labelled(_array(folder, part, "labels-idx1-ubyte", 1), str(folder)))


def _array(folder: Path, part: str, what: str, dimensions: int) -> NDArray[np.uint8]:
    """An idx file of unsigned bytes: 0, 0, 8, number of dimensions, lengths (big endian), data."""
    file = _file(folder, part, what)
    if file is None:
        raise DataError(
            f"folder {str(folder)!r} has no {_STEM[part]}-{what} or {_STEM[part]}-{what}.gz; "
            "accepted: images and labels of a part together"
        )
    length = required(file, "the original file; restore it")
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            head = stream.read(4 + 4 * dimensions)
            magic, *lengths = struct.unpack(f">{1 + dimensions}I", head)
            count = math.prod(lengths)
            if magic != 0x800 + dimensions:
                raise ValueError(f"its first number is {magic:#x}, not {0x800 + dimensions:#x}")
            # What follows is measured before it is held: gzip makes a gigabyte of a megabyte.
            if file.suffix != ".gz" and length != len(head) + count:
                raise ValueError(
                    f"its header says {lengths}, and {length - len(head):,} bytes follow"
                )
            wrong = too_much(count)
            if wrong:
                raise ValueError(f"its header says {lengths}, which take {wrong}")
            data = stream.read(count)
            if len(data) < count or stream.read(1):
                raise ValueError(f"its header says {lengths}, and as many bytes do not follow")
        return np.frombuffer(data, np.uint8).reshape(lengths)
    except (OSError, EOFError, ValueError, MemoryError, struct.error, zlib.error) as error:
        raise DataError(
            f"file {str(file)!r} is no idx file of {dimensions} dimensions ({error}); "
            "accepted: the original file; restore it"
        ) from error
