"""Labels as data sets write them: indexes, names, whole floats, columns, one-hot rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.tasks.labelled.names import few, numbered, require_names, spelled

MOST_CLASSES = 100_000
"""A label above this is taken for a mistake (an id, not a class index)."""

_ACCEPTED = (
    "accepted: one integer class index or one class name per image, or one-hot rows [images, "
    "classes]"
)


class Labels(NamedTuple):
    """What `Images` takes after the pixels."""

    indexes: Tensor
    """int64 `[n]`, indexes into `classes`."""
    classes: tuple[str, ...]
    named: bool
    """Whether `classes` are names, and not numbers for want of them."""


def labelled(
    values: Sequence[object] | NDArray[Any], where: str, names: Sequence[str] | None = None
) -> Labels:
    """Classes of images, from labels in any of the usual forms.

    Args:
        values: `[n]` or `[n, 1]`: integers, floats that are whole, false and true for 0 and 1, or
            names; or `[n, classes]`, one-hot: a single 1 in each row and else 0.
        where: what they are of, for messages.
        names: of the classes, in the order of the indexes; without them classes of labels that are
            names stand in the order of the alphabet, and classes of indexes have none.

    Raises:
        DataError: labels are none of these, or a name is empty, twice or unknown.
    """
    array = _array(values, where)
    if array.shape == (0,) and len(values) == 0:
        raise DataError(f"{where} is empty; accepted: at least two images of two classes")
    if array.ndim == 2 and array.shape[1] == 1:  # Keras keeps CIFAR's labels as a column
        array = array[:, 0]
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind == "O" and array.size and all(isinstance(v, str) for v in array.flat):
        array = array.astype(str)
    if array.ndim == 1 and array.dtype.kind == "O" and None in array.tolist():
        row = array.tolist().index(None)
        raise DataError(f"{where} has no label in row {row}; accepted: a label in every row")
    if array.ndim == 1 and array.dtype.kind == "U" and len(array):
        return _by_name(array.tolist(), names, where)
    if array.ndim == 1 and array.dtype.kind == "b":  # of two classes
        array = array.astype(np.int64)
    count = 0
    if array.ndim == 2 and array.dtype.kind in "iufb" and array.shape[1] > 1 and len(array):
        count = array.shape[1]
        array = _one_hot(array, where)
    return _by_index(array, count, names, where)


def _array(values: Sequence[object] | NDArray[Any], where: str) -> NDArray[Any]:
    held = list(values) if isinstance(values, list | tuple) else values
    if isinstance(held, list):
        kinds = {isinstance(v, str) for v in held}
        if kinds == {True, False}:  # numpy would make text of the numbers
            odd = next(v for v in held if not isinstance(v, str))
            raise DataError(f"{where} has names and {odd!r} among its labels; {_ACCEPTED}")
    try:
        return np.asarray(held)
    except ValueError:  # ragged: labels that are lists
        return np.asarray([], dtype=object)


def _by_name(values: list[str], names: Sequence[str] | None, where: str) -> Labels:
    classes = tuple(sorted(set(values))) if names is None else tuple(names)
    require_names(classes, where)
    place = {spelled(name): i for i, name in enumerate(classes)}
    unknown = [v for v in dict.fromkeys(values) if spelled(v) not in place]
    if unknown:
        raise DataError(
            f"{where} has label {unknown[0]!r}, which is no class; accepted: {few(classes)}"
        )
    return Labels(torch.tensor([place[spelled(v)] for v in values]), classes, True)


def _by_index(array: NDArray[Any], count: int, names: Sequence[str] | None, where: str) -> Labels:
    if array.ndim == 1 and array.dtype.kind == "f" and len(array):
        whole = np.isfinite(array) & (array == np.floor(array))
        if not whole.all():
            raise DataError(
                f"{where} has label {array[~whole][0]:g}; accepted: whole numbers, the indexes of "
                "classes"
            )
        array = np.clip(array, -1.0, MOST_CLASSES + 1.0).astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(
            f"{where} has labels of type {array.dtype} and shape {list(array.shape)}; {_ACCEPTED}"
        )
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > MOST_CLASSES:
        odd = low if low < 0 else high
        hint = " (-1 marks hidden labels)" if low == -1 else ""
        raise DataError(f"{where} has label {odd}{hint}; accepted: class indexes 0, 1, 2, ...")
    count = max(count, high + 1)
    if names is not None:
        require_names(names, where)
        if count > len(names):
            raise DataError(
                f"{where} has labels up to {count - 1} and names of {len(names)} classes; "
                f"accepted: labels 0 to {len(names) - 1}"
            )
    classes = numbered(count) if names is None else tuple(names)
    return Labels(torch.from_numpy(array.astype(np.int64)), classes, names is not None)


def _one_hot(rows: NDArray[Any], where: str) -> NDArray[np.int64]:
    """Index of the 1 in each row `[n, classes]`."""
    ones = rows == 1
    wrong = (ones.sum(axis=1) != 1) | ((rows != 0) & ~ones).any(axis=1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        clean = bool((ones | (rows == 0))[row].all())
        what = f"{int(ones[row].sum())} classes" if clean else "numbers other than 0 and 1"
        raise DataError(
            f"{where} has labels of shape {list(rows.shape)}, of which row {row} has {what}; "
            "accepted: one class per image, as an index, a name, or a row with a single 1 and "
            "else 0"
        )
    found: NDArray[np.int64] = ones.argmax(axis=1)
    return found
