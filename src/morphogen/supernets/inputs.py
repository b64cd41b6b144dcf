"""What goes into the options of a choice: one tensor for all of them, which none may change.

PyTorch has operations that work in place (`nn.ReLU(inplace=True)`, `x += 1`, `x.mul_(2)`). Where
several options read one tensor, what one of them writes into it the next one would read. So an
option that writes gets a copy of its own, and a copy is made for nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from copy import copy
from typing import Any

import torch
from torch import Tensor

from morphogen.core import SpaceError


class Habits:
    """Which calls write into their input, learnt at the first call of each kind.

    At its first call, a kind gets a copy, and whether the copy has changed is remembered. Later it
    gets the input itself unless it writes; torch counts the writes to a tensor, so that a call
    which begins to write only then is found out, and refused, since it has done the harm.
    """

    def __init__(self) -> None:
        self.writes: dict[Hashable, bool] = {}
        """Kind of call -> whether it writes into its input."""

    def run(
        self,
        call: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        kind: Hashable,
        who: str,
    ) -> Any:
        """`call(*args, **kwargs)`, after which all tensors among the arguments are as before.

        Args:
            call: what is run.
            args: its arguments, tensors in tuples, lists and dictionaries among them.
            kwargs: likewise.
            kind: what decides whether it writes.
            who: its name for the message.

        Raises:
            SpaceError: it has written into its input, which calls of this kind did not before.
        """
        given = list(tensors((args, kwargs)))
        if self.writes.get(kind, True) or any(t.is_inference() for t in given):
            own_args, own_kwargs = copied((args, kwargs))
            output = call(*own_args, **own_kwargs)
            if kind not in self.writes:
                pairs = zip(given, tensors((own_args, own_kwargs)), strict=True)
                self.writes[kind] = any(_differ(a, b) for a, b in pairs)
            return output
        before = [t._version for t in given]
        output = call(*args, **kwargs)
        if [t._version for t in given] != before:
            raise SpaceError(
                f"{who} changed its input in place, on this input but not on the first one; "
                "accepted: options that always do or never do (x = x + 1 instead of x += 1)"
            )
        return output


def tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors(item)


def copied(value: Any, which: Callable[[Tensor], bool] = lambda tensor: True) -> Any:
    """`value` with a copy in place of each tensor in it (of those of which `which` says so)."""
    if isinstance(value, Tensor):
        return value.clone() if which(value) else value
    if isinstance(value, tuple | list):
        items = [copied(item, which) for item in value]
        if all(a is b for a, b in zip(items, value, strict=True)):
            return value
        # A named tuple takes its fields one by one.
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        named = {key: copied(item, which) for key, item in value.items()}
        if all(named[key] is item for key, item in value.items()):
            return value
        new = copy(value)
        for key, item in named.items():
            new[key] = item
        return new
    return value


def apart(output: Any, given: Any) -> Any:
    """`output`, whose tensors share no memory with those in `given`: copies where they did."""
    taken = {_storage(t) for t in tensors(given)} - {None}
    return copied(output, lambda tensor: _storage(tensor) in taken)


def _storage(tensor: Tensor) -> int | None:
    """The memory that a tensor lies in; None if it has none."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):  # tensors of torch.func and sparse ones
        return None


def _differ(original: Tensor, taken: Tensor) -> bool:
    """Whether somebody has written into `taken`, counted by torch or, past its count, by value."""
    if taken.is_inference():
        return not torch.equal(original, taken)
    # A clone has a count of its own, which begins at 0.
    written = bool(taken._version)
    return written or (taken.device.type != "meta" and not torch.equal(original, taken))
