"""One record of the public files of NAS-Bench-101: a JSON list with a protocol-buffer message.

Read without TensorFlow and without a protocol-buffer library: of the message only five numbers are
wanted, and its wire format is a few lines. Nothing in a record is executed.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from morphogen.core import DataError
from morphogen.spaces.nasbench101 import CANONICAL, VERTICES, Cell, Rows, prune


def parts_of(data: bytes, where: str) -> tuple[str, int, str, str, str]:
    """Hash, epochs, adjacency, operations and message of a record.

    Args:
        data: the record.
        where: what an error calls it.

    Raises:
        DataError: it is none of NAS-Bench-101.
    """
    try:
        parts = json.loads(data)
        key, epochs, adjacency, operations, message = parts
    except (ValueError, TypeError) as error:
        raise _strange(where) from error
    right = isinstance(epochs, int) and all(
        isinstance(part, str) for part in (key, adjacency, operations, message)
    )
    if not right:
        raise _strange(where)
    return key, epochs, adjacency, operations, message


def _strange(where: str) -> DataError:
    return DataError(
        f"{where} is none of NAS-Bench-101; accepted: nasbench_only108.tfrecord or "
        "nasbench_full.tfrecord"
    )


def cell_of(adjacency: str, operations: str, where: str) -> Cell:
    """The pruned cell of a record."""
    size, names = math.isqrt(len(adjacency)), operations.split(",")
    inner = names[1:-1]
    right = size * size == len(adjacency) and 2 <= size <= VERTICES and len(names) == size
    if not right or set(adjacency) - {"0", "1"} or not set(inner) <= set(CANONICAL):
        raise _strange(where)
    rows, live = _pruned(adjacency)
    return rows, tuple(names[i] for i in live)


@lru_cache(maxsize=65536)
def _pruned(adjacency: str) -> tuple[Rows, tuple[int, ...]]:
    """The pruned rows and the vertices that stay; of the many cells few graphs differ."""
    size = math.isqrt(len(adjacency))
    rows = [[int(bit) for bit in adjacency[i * size : (i + 1) * size]] for i in range(size)]
    pruned, live = prune(rows, [str(i) for i in range(size)])
    return pruned, tuple(map(int, live))


def measured(message: str, where: str) -> tuple[int, tuple[float, float, float]]:
    """Parameters; validation accuracy, test accuracy and seconds at the end of the training.

    The message has `evaluation_data` = 1 (repeated: at the start, half-way, at the end) and
    `trainable_parameters` = 2; an evaluation has `training_time` = 2, `validation_accuracy` = 4 and
    `test_accuracy` = 5.
    """
    try:
        fields = list(wire_fields(base64.b64decode(message, validate=True)))
        evaluations = [value for number, value in fields if number == 1]
        params = next(value for number, value in fields if number == 2)
        last = dict(wire_fields(evaluations[2]))
        seconds, valid, test = (float(last[number]) for number in (2, 4, 5))
    except (ValueError, TypeError, KeyError, IndexError, StopIteration) as error:
        raise DataError(f"{where} has no measurements that can be read") from error
    if not (0 <= valid <= 1 and 0 <= test <= 1 and math.isfinite(seconds)):
        raise DataError(
            f"{where} has accuracies {valid} and {test}; accepted: fractions from 0 to 1"
        )
    return int(params), (valid, test, seconds)


def wire_fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protocol-buffer message: number and value.

    A whole number, a double for 64 bits, a float for 32 bits, or bytes (texts and messages).

    Raises:
        ValueError: it is no such message.
    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 2:
            length, at = _varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"field {number} has wire type {kind}")
        part, at = data[at : at + length], at + length
        if at > len(data):
            raise ValueError(f"field {number} is cut off")
        yield number, part if kind == 2 else struct.unpack("<d" if kind == 1 else "<f", part)[0]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A whole number of seven bits a byte, least first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("a number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number has more than ten bytes")
