"""Examples of map-style data sets: items fetched one by one and collated, or rows of tensors."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
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
        """The batch of `rows[mine]`.

        Augmentation is the data set's own. What it draws from the global generators of torch,
        numpy and Python is seeded for each example: by the generator, and without one by its row.
        """
        index = self._rows[rows[mine]]
        if self._tensors is not None:
            return self._checked(take(self._tensors, index), len(index))
        seeds = index
        if generator is not None:
            seeds = torch.randint(2**31, (len(rows),), generator=generator)[mine]
        items = []
        with seeding() as seed:
            for row, number in zip(index.tolist(), seeds.tolist(), strict=True):
                seed(number)
                items.append(self._item(row))
            pair = self._collate(items)
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


@contextmanager
def seeding() -> Iterator[Callable[[int], None]]:
    """Gives a function that seeds the global generators; afterwards they are where they were.

    The legacy generator of numpy is among them, since it is what transforms of data sets use.
    """
    before = random.getstate(), np.random.get_state(), torch.default_generator.get_state()  # noqa: NPY002

    def seed(number: int) -> None:
        random.seed(number)
        np.random.seed(number % 2**32)  # noqa: NPY002
        torch.default_generator.manual_seed(number)

    try:
        yield seed
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.default_generator.set_state(before[2])


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
