"""Arrays in an .npz file, read without trust in what the file says of itself.

An .npz file is a zip archive of .npy files. What a header declares is compared with what the
archive holds and with this machine's memory before anything is allocated, and no object is
unpickled.
"""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import DataError
from morphogen.core.memory import too_much
from morphogen.tasks.readers.files import required

try:
    from lzma import LZMAError
except ImportError:  # a Python built without it cannot read such an archive either
    LZMAError = zipfile.BadZipFile  # type: ignore[misc, assignment]

_HEADER = 10_000
"""Bytes of the longest header that is read; numpy's own limit. Headers of numbers take 118."""
_CHUNK = 1 << 24
_WHOLE = "a whole file as numpy writes it, with arrays of numbers or text and no objects"

_DAMAGED = (
    *(OSError, ValueError, EOFError, LookupError, TypeError, OverflowError, MemoryError),
    *(RuntimeError, SyntaxError, tokenize.TokenError),  # encrypted; a header that is no literal
    *(zipfile.BadZipFile, zlib.error, LZMAError, struct.error),
)


def names_in(path: Path) -> list[str]:
    """Names of the arrays in the file, in its order.

    Raises:
        DataError: it is no .npz file, or holds two arrays of one name.
    """
    with _opened(path) as archive:
        names = [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]
    double = [name for name in names if names.count(name) > 1]
    if double:
        raise DataError(
            f"file {str(path)!r} holds the array {double[0]!r} {names.count(double[0])} times; "
            "accepted: each name once"
        )
    return names


def read(path: Path, name: str) -> NDArray[Any]:
    """The array of that name.

    Raises:
        DataError: the file is damaged, encrypted or no honest archive, the array holds objects or
            records, or is larger than this machine's memory.
    """
    with _opened(path) as archive:
        info = archive.getinfo(f"{name}.npy")
        with archive.open(info) as stream:
            return _array(stream, info.file_size)


def read_single(path: Path) -> NDArray[Any]:
    """The array of an .npy file.

    Raises:
        DataError: likewise.
    """
    length = required(path, "an .npy file")
    try:
        with path.open("rb") as stream:
            return _array(stream, length)
    except _DAMAGED as error:
        raise _unreadable(path, error) from error


def header_of(path: Path, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the array of that name, as its header says.

    Raises:
        DataError: see `read`.
    """
    with _opened(path) as archive, archive.open(f"{name}.npy") as stream:
        shape, _, dtype, _ = _header(stream)
        return shape, dtype


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    required(path, _WHOLE)
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _DAMAGED as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: BaseException) -> DataError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return DataError(
        f"file {str(path)!r} cannot be read as {path.suffix} ({reason}); accepted: {_WHOLE}"
    )


def _array(stream: IO[bytes], length: int) -> NDArray[Any]:
    """One .npy file of `length` bytes."""
    shape, fortran, dtype, start = _header(stream)
    count = math.prod(shape)
    if dtype.hasobject or dtype.kind not in "biufUS":
        raise ValueError(f"an array of {dtype}")
    if min(shape, default=0) < 0 or start + count * dtype.itemsize != length:
        raise ValueError(
            f"its header says {list(shape)} of {dtype}, and {length - start:,} bytes follow"
        )
    wrong = too_much(count * dtype.itemsize)
    if wrong:
        raise ValueError(f"an array of {list(shape)} takes {wrong}")
    array = np.empty(count, dtype)
    view = array.view(np.uint8).data if array.nbytes else memoryview(b"")
    for at in range(0, len(view), _CHUNK):
        part = stream.read(min(_CHUNK, len(view) - at))
        view[at : at + len(part)] = part
        if len(part) < min(_CHUNK, len(view) - at):
            raise EOFError("it breaks off")
    stream.read(1)  # the end, where the archive's checksum is compared
    return array.reshape(shape, order="F" if fortran else "C")


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, whether in Fortran order, type, and where the numbers begin."""
    magic = stream.read(8)
    version = np.lib.format.read_magic(io.BytesIO(magic))
    kind = {(1, 0): "<H", (2, 0): "<I"}.get(version)
    if kind is None:
        raise ValueError(f"a header of version {version[0]}.{version[1]}")
    size = stream.read(struct.calcsize(kind))
    (long,) = struct.unpack(kind, size)
    if long > _HEADER:
        raise ValueError(f"a header of {long:,} bytes")
    text = stream.read(long)
    whole = io.BytesIO(size + text)
    parse = np.lib.format.read_array_header_1_0
    if version == (2, 0):
        parse = np.lib.format.read_array_header_2_0
    shape, fortran, dtype = parse(whole, max_header_size=_HEADER)
    return shape, fortran, dtype, len(magic) + len(size) + long
