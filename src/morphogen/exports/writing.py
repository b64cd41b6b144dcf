"""Export a training: write the file, run it on real examples, compare, and only then keep it."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from morphogen.core import ConfigError, DataError, MorphogenError, UnknownNameError
from morphogen.core.config import config
from morphogen.core.files import alone, fresh, made, write_anew
from morphogen.core.names import brief
from morphogen.exports import formats
from morphogen.exports.card import card
from morphogen.exports.formats import Run, built
from morphogen.exports.inputs import inputs_of
from morphogen.exports.trained import trained_network, weights_of
from morphogen.runs.config import Space, recorded_space, require_passed
from morphogen.runs.directory import RunDirectory
from morphogen.runs.weights import TENSORS, Signature, read_weights
from morphogen.spaces import SearchSpace
from morphogen.supernets.nested import call, length_of, tensors_of
from morphogen.tasks import Task
from morphogen.tasks.configs import read
from morphogen.tasks.cut import Cut
from morphogen.tasks.kinds import Data, chosen, task_for

FORMATS = {"onnx": ".onnx", "torch-export": ".pt2", "safetensors": ".safetensors"}
"""Name of a format -> ending of its file."""

_WRITERS = {
    "onnx": formats.write_onnx,
    "torch-export": formats.write_torch_export,
    "safetensors": formats.write_safetensors,
}

CHECKED = 64
"""Training examples on which a written file is compared with the network."""

TOLERANCE = 1e-4
"""Largest difference of a score that is accepted, in units of the largest score (at least 1)."""

RECORD = "export.json"


@config
class Facts:
    """What is on record of a file."""

    format: str
    sha256: str
    bytes: int
    verified_on_examples: int
    largest_difference: float
    tolerance: float


@dataclass(frozen=True)
class Exported:
    """A file that was written and verified."""

    path: Path
    format: str
    examples: int
    """Real examples on which it was run."""
    difference: float
    """Largest difference of a score from the network's own."""
    tolerance: float
    """What would have been accepted."""


def export(
    run: str | os.PathLike[str],
    to: str | Sequence[str] = ("onnx",),
    out: str | os.PathLike[str] | None = None,
    *,
    space: Space | None = None,
    data: Data | None = None,
    task: Task | None = None,
) -> list[Exported]:
    """Write the trained network of a run in some formats, and a model card beside it.

    Of several seeds the one of the best held-out accuracy is taken, without looking at the test
    part (the first, where nothing was held out).

    Args:
        run: directory of a finished training.
        to: a format, or several: onnx, safetensors, torch-export.
        out: folder to write to; by default `export` in the run directory.
        space: needed again if code of yours belongs to it, as to a module.
        data: needed again if it was an object of yours rather than a name or path, or was moved.
        task: needed again if it was one of yours.

    Raises:
        MorphogenError: one sentence on what is wrong and what is accepted.
    """
    to = [to] if isinstance(to, str) else to
    if not isinstance(to, list | tuple) or not to:
        raise ConfigError(
            f"to is {brief(to)}; accepted: a list of formats, of {', '.join(FORMATS)}"
        )
    for name in to:
        if not isinstance(name, str) or name not in FORMATS:
            raise UnknownNameError("format", name, FORMATS)
    directory = RunDirectory.open(run)
    weights_of(directory)  # a run without a trained network is refused first
    values, result = directory.config(), directory.result() or {}
    known = recorded_space(directory, space, call="morphogen.export")
    data = chosen(data, task)
    require_passed(directory, data, f"morphogen.export({os.fspath(run)!r}, {list(to)}")
    net, signature = trained_network(run, space=space)
    known_task = _task(values["data"] if data is None else data, values, signature)
    shown, *batches = _batches(known_task, signature)
    folder = Path(out) if out is not None else directory.path / "export"
    done: list[Exported] = []
    with made(folder), alone(folder):
        try:
            for name in dict.fromkeys(to):
                done.append(_write(folder, name, net, signature, shown, batches, known))
        finally:  # what was written is on record, also if another format cannot be
            if done:
                record = _record(folder, done)
                text = card(signature, result, values, known_task, record)
                write_anew(folder / "README.md", text)
    return done


def _task(data: Any, config: Mapping[str, Any], signature: Signature) -> Task:
    """The data of a training, all of them."""
    task = task_for(data, read(config["settings"].get("task")), Cut(held_out=0.0))
    if signature.kind == TENSORS:
        if task.inputs().get("example") != signature.example:
            raise DataError(
                f"inputs of data {task.name!r} are {task.inputs().get('example')}, the network's "
                f"{signature.example}; accepted: the data of the training"
            )
        return task
    if signature.structured:
        if task.kind != signature.kind:
            raise DataError(
                f"data {task.name!r} are {task.kind or 'a task'}, the network is for "
                f"{signature.kind}; accepted: the data of the training"
            )
        return task
    classes = tuple(task.describe().get("classes", ()))
    if (task.in_channels, classes) != (signature.channels, signature.classes):
        raise DataError(
            f"data {task.name!r} has {task.in_channels} channels and {len(classes)} classes, "
            f"the network {signature.channels} and {len(signature.classes)}, or other names of "
            "classes; accepted: the data of the training"
        )
    return task


def _batches(task: Task, signature: Signature) -> list[Any]:
    """Two training examples to make a file with, and batches of other sizes to check it on.

    They are evenly from the whole set: the test part stays closed.
    """
    n = task.length("pool")
    rows = torch.linspace(0, n - 1, min(CHECKED, n)).round().long()
    inputs = inputs_of(signature)
    # Two at least: torch takes a size of one for a constant.
    pair = torch.stack([rows[0], rows[min(1, len(rows) - 1)]])
    parts = (pair, rows[:1], rows[1:])
    return [inputs.examples(task, part, signature) for part in parts if len(part)]


def _write(
    folder: Path,
    name: str,
    net: nn.Module,
    signature: Signature,
    shown: Any,
    batches: Sequence[Any],
    space: SearchSpace,
) -> Exported:
    """One file: made in memory, written beside, and given its name once it has proved itself.

    Args:
        folder: where it goes.
        name: of the format.
        net: the network.
        signature: of it.
        shown: a batch of two examples, with which it is made.
        batches: of other sizes, on which it is run.
        space: of the network.
    """
    path = folder / f"model{FORMATS[name]}"
    buffer = io.BytesIO()
    _WRITERS[name](buffer, net, signature, shown)
    content = buffer.getvalue()
    with fresh(path, content) as beside:
        readers: dict[str, Callable[[], Run]] = {
            "onnx": lambda: formats.read_onnx(beside)[0],
            "torch-export": lambda: formats.run_torch_export(content),
            "safetensors": lambda: partial(call, _rebuilt(space, beside)),
        }
        run = readers[name]()
        try:
            with torch.no_grad():
                expected = _flat(call(net, part) for part in batches)
                found = _flat(run(part) for part in batches)
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            raise ConfigError(
                f"the {name} file fails on batches of other sizes ({formats.reason(error)}), and "
                "was not kept; accepted: a network that takes any number of examples"
            ) from error
        allowed = TOLERANCE * max(1.0, float(expected.abs().max()))
        difference = float((expected - found).abs().max())
        if not difference <= allowed:
            raise ConfigError(
                f"the {name} file gives scores that differ by {difference:.2g} from the network's, "
                f"and was not kept; accepted: a difference of at most {allowed:.2g}"
            )
    return Exported(path, name, sum(map(length_of, batches)), difference, allowed)


def _flat(outputs: Iterable[Any]) -> Tensor:
    return torch.cat([t.flatten().float() for output in outputs for t in tensors_of(output)])


def _rebuilt(space: SearchSpace, path: Path) -> nn.Module:
    tensors, signature = read_weights(path)
    return built(space, signature, tensors, str(path))


def _record(folder: Path, done: Sequence[Exported]) -> dict[str, Any]:
    """What is known of each file of the folder, those of earlier exports that are still there."""
    path = folder / RECORD
    held = {name: facts for name, facts in _known(path).items() if (folder / name).exists()}
    for one in done:
        held[one.path.name] = {
            "format": one.format,
            "sha256": hashlib.sha256(one.path.read_bytes()).hexdigest(),
            "bytes": one.path.stat().st_size,
            "verified_on_examples": one.examples,
            "largest_difference": one.difference,
            "tolerance": one.tolerance,
        }
    write_anew(path, json.dumps(held, indent=2) + "\n")
    return held


def _known(path: Path) -> dict[str, Any]:
    """What earlier exports put down; nothing if that is damaged or somebody else's."""
    names = [f"model{suffix}" for suffix in FORMATS.values()]
    try:
        held = TypeAdapter(dict[str, Facts]).validate_json(path.read_bytes())
    except (OSError, ValueError, MorphogenError):
        return {}
    return {name: asdict(facts) for name, facts in held.items() if name in names}
