"""What a network raises while it runs, in a sentence: which part of it, on what, and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from morphogen.core import ConfigError, MorphogenError, SpaceError, memory
from morphogen.supernets.nested import shapes
from morphogen.supernets.oneof import PREFIX

_ONE_VALUE = "Expected more than 1 value per channel"
"""How torch begins its refusal to normalise a batch of one image of one pixel."""


@contextmanager
def explained(
    net: nn.Module, x: Any, whose: str, accepted: str = "one that takes them"
) -> Iterator[None]:
    """Within the context, what a user's network raises becomes a `SpaceError`.

    It names the innermost module of `net` that was running. Want of memory is not the network's
    mistake, and is let through.

    Args:
        net: the network that runs.
        x: what it is given.
        whose: what the message calls it.
        accepted: what is accepted instead.
    """
    try:
        with enough_values(x):
            yield
    except MorphogenError:
        raise
    except Exception as error:
        if memory.ran_out(error):
            raise
        reason = next(iter(str(error).strip().splitlines()), "")
        kind = "" if isinstance(error, RuntimeError) and reason else type(error).__name__
        raise SpaceError(
            f"{whose} fails on inputs {shapes(x)}{_where(net, error)}: "
            f"{': '.join(part for part in (kind, reason) if part)}; accepted: {accepted}"
        ) from error


@contextmanager
def enough_values(x: Any) -> Iterator[None]:
    """Within the context, a batch norm that has one value per channel is a `ConfigError`.

    Args:
        x: inputs of the batch.
    """
    try:
        yield
    except ValueError as error:
        if not str(error).startswith(_ONE_VALUE):
            raise
        raise ConfigError(
            "a batch norm of the network has one value per channel in a batch of inputs "
            f"{shapes(x)}, and nothing to normalise by; accepted: a larger batch_size, or "
            "larger inputs"
        ) from error


def _where(net: nn.Module, error: BaseException) -> str:
    """` in 'path' (Class)` of the innermost module of `net` that was running; empty if none."""
    names = {id(module): name for name, module in net.named_modules() if name}
    found = ""
    trace = error.__traceback__
    while trace is not None:
        module = trace.tb_frame.f_locals.get("self")
        if id(module) in names:
            path = ".".join(p.removeprefix(PREFIX) for p in names[id(module)].split("."))
            found = f" in {path!r} ({type(module).__name__})"
        trace = trace.tb_next
    return found
