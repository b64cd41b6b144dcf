"""Checkpoints: written whole or not at all, verified when read, never unpickled freely.

A file is one line of magic, one line of SHA-256, then what `torch.save` writes; it is read with
`weights_only=True`. A state is a dataclass: modules and optimisers give their `state_dict`, tensors
and plain values themselves.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from morphogen.core import Architecture, CheckpointError, MorphogenError, NumericalError
from morphogen.core.files import fresh, link_anew
from morphogen.core.files import previous as previous
from morphogen.core.reading import read_bytes
from morphogen.core.records import Natural, Record, Text, checked, from_json
from morphogen.runs.records import Epoch
from morphogen.runs.validation import (
    require_alike,
    require_kind,
    require_optimiser,
    require_plain,
    require_stored,
)
from morphogen.runs.validation import require_finite as require_finite_values
from morphogen.supernets.global_rng import generators, set_states, states

MAGIC = b"morphogen checkpoint 1\n"

LARGEST = 2**40
"""Bytes of a checkpoint that is read; whether memory holds it is another question."""


def capture(state: Any) -> dict[str, Any]:
    """The content of a state dataclass as tensors and plain values.

    Fields whose metadata says `checkpoint: False` follow from the problem and the configuration.

    Raises:
        CheckpointError: the state holds an architecture, which no checkpoint can give back.
    """
    return {f.name: _capture(getattr(state, f.name)) for f in _kept(state)}


def _kept(state: Any) -> list[dataclasses.Field[Any]]:
    return [f for f in dataclasses.fields(state) if f.metadata.get("checkpoint", True)]


def restore(state: Any, content: Mapping[str, Any]) -> None:
    """Put captured content back into a state of the same shape, in place.

    Raises:
        CheckpointError: names or shapes differ.
    """
    names = {f.name for f in _kept(state)}
    if names != set(content):
        raise CheckpointError(
            f"the checkpoint holds {', '.join(sorted(content))}; this method's state has "
            f"{', '.join(sorted(names))}"
        )
    for name, value in content.items():
        current = getattr(state, name)
        with fits(name):
            if not _restore(current, value):
                require_kind(current, value)
                setattr(state, name, value)


def rng_states(device: torch.device) -> dict[str, Any]:
    """Where the generators stand that modules draw from: the CPU's, and the device's if it has one.

    For a checkpoint; `restore_rng` reads it.
    """
    cpu, *own = states(generators(device))
    found: dict[str, Any] = {"torch_rng": cpu}
    return {**found, "device_rng": {device.type: own[0]}} if own else found


def restore_rng(content: Mapping[str, Any], device: torch.device) -> None:
    """Have these generators go on from where a checkpoint left them.

    A device of another kind than the run's before has no state there and keeps its seed.
    """
    every = generators(device)
    with fits("random generator"):
        set_states(every[:1], [content["torch_rng"]])
        if device.type in content.get("device_rng", {}):
            set_states(every[1:], [content["device_rng"][device.type]])


def require_finite(content: Any, epoch: int, path: str = "") -> None:
    """Refuse to keep a state with a number in it that is none: it would spoil what is good.

    Raises:
        NumericalError: a tensor at or below `content` holds NaN or infinity.
    """
    try:
        require_finite_values(content, path)
    except ValueError as error:
        raise NumericalError(
            f"{error} at the end of epoch {epoch}; the last checkpoint is from before; a smaller "
            "weights.lr or a tighter weights.clip may help"
        ) from error


def _capture(value: Any) -> Any:
    if hasattr(value, "state_dict"):
        return value.state_dict()
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, Architecture):
        raise CheckpointError(
            "a state holds an Architecture, which a checkpoint cannot keep; accepted: its text, "
            "space.format(arch)"
        )
    if dataclasses.is_dataclass(value):
        return capture(value)
    if isinstance(value, list | tuple):
        return [_capture(v) for v in value]
    if isinstance(value, dict):
        return {k: _capture(v) for k, v in value.items()}
    return value


def _restore(current: Any, value: Any) -> bool:
    """Restore in place if `current` can be; False if the caller must set the value."""
    if hasattr(current, "load_state_dict"):
        if isinstance(current, nn.Module):
            require_alike(current.state_dict(), value, "it")
        elif isinstance(current, torch.optim.Optimizer):
            require_optimiser(current, value)
        current.load_state_dict(value)
    elif isinstance(current, Tensor):
        require_alike(current, value, "it")
        with torch.no_grad():
            current.copy_(value)
    elif dataclasses.is_dataclass(current):
        restore(current, value)
    elif isinstance(current, list) and any(isinstance(c, Tensor) for c in current):
        for c, v in zip(current, value, strict=True):
            _restore(c, v)
    else:
        return False
    return True


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically; the one before stays beside it as `*.previous`."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    body = buffer.getvalue()
    digest = hashlib.sha256(body).hexdigest().encode()
    with fresh(path, [MAGIC, digest, b"\n", body]):
        if path.exists():
            link_anew(previous(path), path)


def read(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The content of a checkpoint.

    Raises:
        CheckpointError: it is missing, was not written by morphogen, or is damaged.
    """
    raw = read_bytes(path, most=LARGEST, accepted="a checkpoint", error=CheckpointError)
    if not raw.startswith(MAGIC):
        raise CheckpointError(f"{path} is not a checkpoint that morphogen wrote")
    digest, _, body = raw[len(MAGIC) :].partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise CheckpointError(f"{path} is damaged: its content does not match its checksum")
    try:
        require_stored(body)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch warns of is refused below
            content = torch.load(io.BytesIO(body), map_location=device, weights_only=True)
        require_plain(content, len(body))
    except Exception as error:
        raise CheckpointError(
            f"{path} holds more than tensors and plain values ({_reason(error)}), and was not "
            "taken; accepted: a checkpoint that morphogen wrote"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a run's state")
    return content


class TrainedOn(Record):
    """What a supernet was trained for."""

    outputs: Natural
    classes: list[Text]
    """Names; none of a task without classes."""
    in_channels: Natural


class Saved(Record):
    """What the loops save, besides what is a method's own."""

    identity: Text
    state: dict[str, Any]
    history: Text
    """The lines of metrics so far, JSON each."""
    torch_rng: Any
    problem: dict[str, Any] | None = None
    task: TrainedOn | None = None


def read_saved(path: Path) -> dict[str, Any]:
    """The content of a checkpoint that a loop wrote, its `history` as rows.

    Raises:
        CheckpointError: it is missing, damaged, or not as a loop writes it.
    """
    content = read(path)
    held = content.get("task")
    if isinstance(held, dict) and isinstance(held.get("classes"), tuple):
        content["task"] = {**held, "classes": list(held["classes"])}
    accepted = "a checkpoint that morphogen wrote"
    checked(Saved, content, str(path), accepted=accepted, error=CheckpointError)
    rows = []
    for number, line in enumerate(content["history"].splitlines(), start=1):
        where = f"line {number} of the history of {path}"
        rows.append(from_json(Epoch, line, where, accepted=accepted, error=CheckpointError))
    with fits("state"):
        require_finite_values(content["state"])
    return {**content, "history": rows}


@contextmanager
def fits(what: str) -> Iterator[None]:
    """Whatever taking a part of a checkpoint raises is that this part does not fit."""
    try:
        yield
    except MorphogenError:
        raise
    except Exception as error:
        raise CheckpointError(f"the checkpoint's {what} does not fit: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
