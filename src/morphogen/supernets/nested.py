"""Inputs and outputs of networks: a tensor, or a tuple or dict of tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from morphogen.core.errors import ConfigError


def call(net: nn.Module, x: Any) -> Any:
    """The network's output: `net(x)`, of several inputs `net(*x)` of a tuple, `net(**x)` of a dict.

    Args:
        net: any module.
        x: the inputs of a batch.
    """
    if isinstance(x, Mapping):
        return net(**x)
    return net(*x) if isinstance(x, tuple) else net(x)


def tensors_of(value: Any) -> list[Tensor]:
    """The tensors of a tensor, tuple or dict, in order.

    Raises:
        TypeError: there is something else in it.
    """
    if isinstance(value, Tensor):
        return [value]
    values = list(value.values()) if isinstance(value, Mapping) else _sequence(value)
    return [t for v in values for t in tensors_of(v)]


def mapped(change: Callable[[Tensor], Any], value: Any) -> Any:
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


def first(value: Any, count: int | None) -> Any:
    """The first `count` examples of a tensor, tuple or dict; None: all."""
    return mapped(lambda t: t[:count], value)


def length_of(value: Any) -> int:
    """Examples in a tensor, tuple or dict: the length of the first axis."""
    return len(tensors_of(value)[0])


def device_of(value: Any) -> torch.device:
    """Where a tensor, tuple or dict lies."""
    return tensors_of(value)[0].device


def shapes(value: Any) -> str:
    """The shapes for a message: `[2, 3]`, `([2, 3], [2, 4])`, `{a: [2, 3]}`; else the type."""
    if isinstance(value, Tensor):
        return str(list(value.shape))
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {shapes(v)}" for key, v in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "(" + ", ".join(map(shapes, value)) + ")"
    return type(value).__name__


def described(*values: Any) -> Any:
    """What examples are, as plain values: a text for each tensor, in lists and dicts of them.

    Args:
        values: batches of the same structure; sizes in which they differ are written `*`.
    """
    value = values[0]
    if isinstance(value, Tensor):
        sizes = zip(*(v.shape[1:] for v in values), strict=True)
        shown = ", ".join(str(s[0]) if len(set(s)) == 1 else "*" for s in sizes)
        return f"{str(value.dtype).removeprefix('torch.')} [{shown}]"
    if isinstance(value, Mapping):
        return {key: described(*(v[key] for v in values)) for key in value}
    return [described(*several) for several in zip(*map(_sequence, values), strict=True)]


def sizes_of(description: Any) -> list[list[int | None]]:
    """Of each tensor that `described` wrote, its sizes without the batch; None: any."""
    if isinstance(description, str):
        inner = description.partition("[")[2].rstrip("]")
        return [[None if size == "*" else int(size) for size in inner.split(", ") if size]]
    parts = description.values() if isinstance(description, Mapping) else description
    return [sizes for part in parts for sizes in sizes_of(part)]


def zeros(description: Any, count: int = 1) -> Any:
    """A batch of zeros of what `described` wrote.

    Raises:
        ConfigError: it is no such description.
    """
    if isinstance(description, Mapping) and description:
        return {str(key): zeros(value, count) for key, value in description.items()}
    if isinstance(description, list) and description:
        return tuple(zeros(value, count) for value in description)
    found = _DESCRIBED.fullmatch(description) if isinstance(description, str) else None
    if found is None or found["dtype"] not in _DTYPES:
        raise ConfigError(
            f"example is {str(description)[:80]!r}; accepted: texts like 'float32 [3, 4]', or "
            "lists or mappings of them"
        )
    ((*sizes,),) = sizes_of(description)
    shape = [ANY if size is None else size for size in sizes]
    return torch.zeros(count, *shape, dtype=getattr(torch, found["dtype"]))


ANY = 8
"""Size of an axis of zeros that has no size of its own."""

_SIZE = r"(?:\d{1,9}|\*)"
_DESCRIBED = re.compile(rf"(?P<dtype>[a-z0-9]{{1,12}}) \[(?:{_SIZE}(?:, {_SIZE}){{0,15}})?\]")
_DTYPES = ("float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


def _sequence(value: Any) -> Sequence[Any]:
    if not isinstance(value, tuple | list):
        raise TypeError(f"a {type(value).__name__} is no tensor; accepted: a tuple or dict of them")
    return value
