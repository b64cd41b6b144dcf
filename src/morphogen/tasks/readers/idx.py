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
from morphogen.tasks.images import Glance, Images, Source
from morphogen.tasks.labels import labelled

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
            return Source(str(path), parts, partial(_read, folder), (), partial(_glance, folder))
    return None


def _file(folder: Path, part: str, what: str) -> Path | None:
    for suffix in ("", ".gz"):
        file = folder / f"{_STEM[part]}-{what}{suffix}"
        if file.is_file():
            return file
    return None


def _read(folder: Path, part: str, size: int | None) -> Images:
    pixels = _array(folder, part, "images-idx3-ubyte", 3)
    labels = labelled(_array(folder, part, "labels-idx1-ubyte", 1), str(folder))
    return Images(torch.from_numpy(pixels.copy())[:, None], *labels)


def _glance(folder: Path, part: str, open: bool) -> Glance | None:
    """Labels, which have a file of their own."""
    if not open:
        return None
    return Glance(labelled(_array(folder, part, "labels-idx1-ubyte", 1), str(folder)))


def _array(folder: Path, part: str, what: str, dimensions: int) -> NDArray[np.uint8]:
    """An idx file of unsigned bytes: 0, 0, 8, number of dimensions, lengths (big endian), data."""
    file = _file(folder, part, what)
    if file is None:
        raise DataError(
            f"folder {str(folder)!r} has no {_STEM[part]}-{what} or {_STEM[part]}-{what}.gz; "
            "accepted: images and labels of a part together"
        )
    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        head = 4 + 4 * dimensions
        magic, *lengths = struct.unpack(f">{1 + dimensions}I", data[:head])
        if magic != 0x800 + dimensions or len(data) != head + math.prod(lengths):
            raise ValueError("its header does not fit its length")
        return np.frombuffer(data, np.uint8, offset=head).reshape(lengths)
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise DataError(
            f"file {str(file)!r} is no idx file of {dimensions} dimensions ({error}); "
            "accepted: the original file; restore it"
        ) from error
