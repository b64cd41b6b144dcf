"""Columns of a parquet table as arrays and lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow


def floats(table: pyarrow.Table, column: str) -> NDArray[np.float64]:
    """A column of numbers, [rows].

    Raises:
        TypeError: it holds something else.
    """
    from pyarrow import types

    kind = table[column].type
    if not (types.is_integer(kind) or types.is_floating(kind)):
        raise TypeError(f"column {column!r} holds {kind}; accepted: numbers")
    # Through DLPack: pyarrow's own to_numpy imports pandas where that is installed, for a second.
    chunks = [np.from_dlpack(chunk) for chunk in table[column].chunks]
    return np.concatenate(chunks).astype(np.float64)


def texts(table: pyarrow.Table, column: str) -> list[str]:
    """A column of texts."""
    found: list[str] = table[column].to_pylist()
    return found


def exact(values: NDArray[np.float64], parts: float) -> NDArray[np.float64]:
    """Values rounded to the nearest multiple of 1 / `parts`."""
    return np.asarray(np.rint(values * parts) / parts)
