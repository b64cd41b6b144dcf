"""Examples of map-style data sets: items fetched one by one and collated, or rows of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import TensorDataset, default_collate

from morphogen.core.errors import DataError
from morphogen.supernets.nested import mapped, take, tensors_of
from morphogen.tasks.batches import Batch, Examples


class MapDataset(Protocol):
    """A data set as PyTorch's: `data[i]` is a pair of input and target."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class Fetched(Examples):
    """Items of data sets, fetched and collated; of `TensorDataset`s, rows of their tensors.

    Args:
        data: the data sets in a row.
        rows: which of all their items, int64 `[n]`.
        collate: makes a pair (inputs, targets) of a list of items; default: `default_collate`.
        units: from targets to the units of the mean.
        device: where batches are made; tensors of a `TensorDataset` are moved there once.
        name: of the data, for messages.
    """

    def __init__(
        self,
        data: Sequence[MapDataset],
        rows: Tensor,
        *,
        collate: Callable[[list[Any]], Any] | None,
        units: Callable[[Any], int],
        device: torch.device,
        name: str,
    ) -> None:
        self._data, self._rows, self._units, self._name = data, rows, units, name
        self._collate, self._device = collate or default_collate, device
        self._tensors: tuple[Tensor, ...] | None = None
        tables = [d.tensors for d in data if isinstance(d, TensorDataset)]
        if collate is None and len(tables) == len(data):
            whole = (c[0] if len(c) == 1 else torch.cat(c) for c in zip(*tables, strict=True))
            self._tensors = tuple(column.to(device) for column in whole)

    def __len__(self) -> int:
        return len(self._rows)

    def batch(
        self,
        rows: Tensor,
        *,
        mine: slice = slice(None),
        generator: torch.Generator | None = None,
    ) -> Batch:
        """The batch of `rows[mine]`; the data set's own augmentation, if any, is its own."""
        index = self._rows[rows[mine]]
        if self._tensors is not None:
            pair: Any = take(self._tensors, index)
        else:
            pair = self._collate([self._item(i) for i in index.tolist()])
        return self._checked(pair, len(index))

    def _item(self, row: int) -> Any:
        for data in self._data:
            if row < len(data):
                return data[row]
            row -= len(data)
        raise IndexError(row)

    def _checked(self, pair: Any, count: int) -> Batch:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            what = f"{len(pair)} values" if isinstance(pair, tuple | list) else type(pair).__name__
            raise DataError(
                f"an item of data {self._name!r} has {what}; accepted: a pair of input and "
                "target, with several inputs as a tuple or dict of them"
            )
        try:
            x, y = (mapped(self._placed, half) for half in pair)
            counts = {len(t) for t in (*tensors_of(x), *tensors_of(y))}
        except TypeError as error:
            raise DataError(
                f"a batch of data {self._name!r} has values that are no tensors; accepted: "
                "inputs and targets as tensors, or tuples or dicts of them, or the option collate"
            ) from error
        if counts != {count}:
            raise DataError(
                f"a batch of {count} examples of data {self._name!r} has tensors of "
                f"{', '.join(map(str, sorted(counts)))} along the first axis; accepted: one row "
                "for each example"
            )
        return Batch(x, y, self._units(y))

    def _placed(self, tensor: Tensor) -> Tensor:
        """On the device; float64 as float32, which weights are."""
        moved = tensor.to(self._device, non_blocking=True)
        return moved.float() if moved.dtype == torch.float64 else moved


def require_data_set(part: str, data: Any) -> Any:
    """`data`, if it is a map-style data set that is not empty.

    Raises:
        DataError: it is not.
    """
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise DataError(
            f"{part} is a {type(data).__name__}; accepted: a map-style data set, with a length and "
            "items (input, target)"
        )
    if not len(data):
        raise DataError(f"{part} has no examples; accepted: one or more")
    return data
