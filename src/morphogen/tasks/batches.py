"""Batches of examples: tensors, or tuples and dicts of them, on a device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Examples on their way to the network."""

    x: Any
    """A tensor, or a tuple or dict of tensors, each with the examples along its first axis."""
    y: Any
    """Likewise: what the loss compares the network's output with."""
    size: int
    """Units over which the loss is a mean: images, pixels, tokens."""


class Examples:
    """Some examples of a task on one device, of which batches are made by row."""

    notes: tuple[str, ...] = ()
    """What a user should know of how they were read, a sentence each without full stop."""

    def __len__(self) -> int:
        raise NotImplementedError

    def batch(
        self,
        rows: Tensor,
        *,
        mine: slice = slice(None),
        generator: torch.Generator | None = None,
    ) -> Batch:
        """The batch of `rows[mine]`.

        Args:
            rows: of the joint batch, int64 `[b]` on the CPU.
            mine: the share of this process.
            generator: a CPU generator from which augmentation is drawn, for the joint batch, so
                that every process draws the same; None: no augmentation.
        """
        raise NotImplementedError


def tensors_of(value: Any) -> list[Tensor]:
    """The tensors of a tensor, tuple or dict, in order.

    Raises:
        TypeError: there is something else in it.
    """
    if isinstance(value, Tensor):
        return [value]
    values = list(value.values()) if isinstance(value, Mapping) else _sequence(value)
    return [t for v in values for t in tensors_of(v)]


def mapped(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The same structure with each tensor changed; lists become tuples."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: mapped(change, v) for key, v in value.items()}
    return tuple(mapped(change, v) for v in _sequence(value))


def take(value: Any, rows: Tensor | Sequence[int]) -> Any:
    """The examples at these rows of a tensor, or of a tuple or dict of them."""
    index = torch.as_tensor(rows)
    return mapped(lambda t: t.index_select(0, index.to(t.device)), value)


def length_of(value: Any) -> int:
    """Examples in a tensor, tuple or dict: the length of the first axis."""
    return len(tensors_of(value)[0])


def _sequence(value: Any) -> Sequence[Any]:
    if not isinstance(value, tuple | list):
        raise TypeError(f"a {type(value).__name__} is no tensor; accepted: a tuple or dict of them")
    return value
