"""TFRecord files, read without TensorFlow: framed records, each with two checksums.

A record is its length (8 bytes, little endian), the checksum of these 8 bytes, the data, and the
data's checksum. Checksums are CRC-32C (Castagnoli), rotated and shifted ("masked"), 4 bytes each.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from morphogen.core import DataError

LARGEST = 1 << 20
"""Bytes: a record that says it is longer is taken as corrupt before memory is asked for."""

BATCH = 8192
"""Records whose checksums are computed together."""


def records(path: Path) -> Iterator[bytes]:
    """The data of every record, checked; tens of megabytes a second.

    Raises:
        DataError: the file cannot be read, is cut off, or a checksum does not fit.
    """
    try:
        with path.open("rb") as file:
            done = 0
            while batch := _batch(file, path, done):
                yield from batch
                done += len(batch)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def _batch(file: BinaryIO, path: Path, done: int) -> list[bytes]:
    """The next records, at most `BATCH`; none at the end of the file."""
    data: list[bytes] = []
    sums: list[int] = []
    while len(data) < BATCH and (head := file.read(12)):
        where = f"record {done + len(data) + 1:,} of {path}"
        if len(head) == 12:
            length, checksum = struct.unpack("<QI", head)
            if checksum != _masked_length(length) or length > LARGEST:
                raise DataError(
                    f"{where} does not begin as a TFRecord does; accepted: a TFRecord file that is "
                    "whole (download it again)"
                )
            body = file.read(length + 4)
        if len(head) < 12 or len(body) < length + 4:
            raise DataError(f"{where} is cut off: download the file again")
        data.append(body[:-4])
        sums.append(int.from_bytes(body[-4:], "little"))
    wrong = np.flatnonzero(masked_checksums(data) != np.array(sums, np.uint32))
    if len(wrong):
        raise DataError(
            f"record {done + int(wrong[0]) + 1:,} of {path} has not the checksum that stands with "
            "it: download the file again"
        )
    return data


@lru_cache(maxsize=4096)
def _masked_length(length: int) -> int:
    return int(masked_checksums([struct.pack("<Q", length)])[0])


def masked_checksums(blocks: Sequence[bytes]) -> NDArray[np.uint32]:
    """The masked CRC-32C of each block, all blocks together, a byte of each at a time."""
    lengths = np.array([len(b) for b in blocks], np.intp)
    order = np.argsort(-lengths, kind="stable")
    longest = int(lengths.max(initial=0))
    padded = b"".join(blocks[i].ljust(longest, b"\0") for i in order)
    columns = np.frombuffer(padded, np.uint8).reshape(len(blocks), longest).T.copy()
    # Longest first, so that the blocks which have a byte number i are the first ones.
    having = len(blocks) - np.searchsorted(np.sort(lengths), np.arange(longest), side="right")
    crc = np.full(len(blocks), 0xFFFFFFFF, np.uint32)
    table = _table()
    for column, k in zip(columns, having, strict=True):
        crc[:k] = table[(crc[:k] ^ column[:k]) & 0xFF] ^ (crc[:k] >> 8)
    crc ^= 0xFFFFFFFF
    masked = ((crc >> 15) | (crc << 17)) + np.uint32(0xA282EAD8)  # modulo 2^32
    out = np.empty_like(masked)
    out[order] = masked
    return out


@lru_cache(maxsize=1)
def _table() -> NDArray[np.uint32]:
    """What each value of a byte adds, for the reflected polynomial 0x82F63B78."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1)
    return table.astype(np.uint32)
