"""A stand-alone network that is deployed: signed, read from its file, and measured on a part.

What a training from scratch ends with, and a search that delivers a trained network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from morphogen.core import Architecture, NumericalError, RunError
from morphogen.core.names import encodable
from morphogen.core.statistics import interval
from morphogen.runs.config import data_name
from morphogen.runs.directory import RunDirectory
from morphogen.runs.provenance import versions
from morphogen.runs.validation import require_alike, require_finite
from morphogen.runs.weights import Signature, Size, read_weights
from morphogen.spaces import SearchSpace
from morphogen.supernets import NetworkSpec, enough_values, explained, network
from morphogen.supernets.global_rng import forked_rng
from morphogen.supernets.nested import call, mapped
from morphogen.tasks import Examples, Metric, Sums, Task
from morphogen.tasks.kinds import Data
from morphogen.tasks.metric import Figure
from morphogen.tasks.problem import Devices


def deployed(spec: NetworkSpec) -> NetworkSpec:
    """The sizes of a network as it is used: without what only its training needs."""
    return replace(spec, dropout=0.0, auxiliary=False)


def deployed_names(space: SearchSpace, arch: Architecture, spec: NetworkSpec) -> set[str]:
    """The entries of its state that a file holds."""
    with torch.device("meta"):
        return set(network(space, arch, deployed(spec)).state_dict())


def signed(
    space: SearchSpace,
    arch: Architecture,
    spec: NetworkSpec,
    task: Task,
    *,
    data: Data,
    **origin: Any,
) -> Signature:
    """What stands beside the weights of a trained network.

    Args:
        space: its space.
        arch: its architecture.
        spec: its sizes.
        task: on what it was trained.
        data: the same, as it was asked for.
        **origin: where the weights are from, plain values: seed, weights, epoch, split, settings.
    """
    return Signature(
        space=space.to_mapping(),
        architecture=space.format(arch),
        spec=Size(
            channels=spec.channels,
            depth=spec.depth,
            classes=spec.classes,
            in_channels=spec.in_channels,
            stem=spec.stem,
        ),
        classes=tuple(task.describe().get("classes", ())),
        **task.inputs(),
        origin={"data": encodable(data_name(data)), **origin, "versions": versions()},
    )


def weighted(file: Path, space: SearchSpace, arch: Architecture, spec: NetworkSpec) -> nn.Module:
    """The deployed network with the weights of a file that this run wrote.

    Raises:
        DataError: the file cannot be read.
        RunError: they are another network's, or not finite.
    """
    tensors, _ = read_weights(file)
    net = network(space, arch, deployed(spec))
    try:
        require_alike(net.state_dict(), tensors, "it")
        require_finite(tensors)
    except ValueError as error:
        raise RunError(
            f"{file} does not fit the network of the run: {error}; accepted: the weights that the "
            "run wrote"
        ) from error
    net.load_state_dict(tensors)
    return net


def running(net: nn.Module, x: Any, *, own: bool) -> AbstractContextManager[None]:
    """The context in which a network runs on inputs `x`.

    Args:
        net: the network.
        x: a batch of inputs.
        own: whether it is of a user's module: what it raises is then explained.
    """
    return explained(net, x, "your module") if own else enough_values(x)


def forward_of(net: nn.Module, devices: Devices, *, own: bool) -> Callable[[Any], Any]:
    """What gives the output of a network in evaluation mode, in float32.

    Args:
        net: on the device.
        devices: where.
        own: whether it is of a user's module.
    """
    net.eval()

    def forward(x: Any) -> Any:
        with running(net, x, own=own), devices.autocast():
            output = call(net, x)
        return mapped(Tensor.float, output)

    return forward


def show(net: nn.Module, task: Task, part: str, devices: Devices, run: Path, *, own: bool) -> None:
    """Write what a report shows of a trained network's answers, if its task has pictures of them.

    Args:
        net: on the device.
        task: its task.
        part: of which examples are shown.
        devices: where.
        run: the run directory.
        own: whether it is of a user's module.
    """
    seen = task.shown(forward_of(net, devices, own=own), part, device=devices.device)
    if seen is not None:
        RunDirectory(run).write_examples(seen.to_mapping())


def finished_of(
    net: nn.Module, task: Task, devices: Devices, examples: Examples
) -> tuple[Figure, ...]:
    """What a task says of a finished network beside its metric.

    Args:
        net: on the device.
        task: which says it.
        devices: where.
        examples: of a part, or the opened test part.
    """
    with torch.no_grad(), devices.autocast():
        return task.finished(net.eval(), examples)


def figures_over(part: str, seeds: Sequence[tuple[Figure, ...]]) -> list[dict[str, Any]]:
    """Entries of result.json: each figure with its mean and interval over seeds.

    Args:
        part: `test` or `held_out`.
        seeds: of each its figures.
    """
    written = []
    for each in zip(*seeds, strict=True):
        values, one = [figure.value for figure in each], each[0]
        entry = {"name": one.name, "unit": one.unit, "higher_is_better": one.higher_is_better}
        held = {**within_bounds(values, one), "values": values}
        written.append({**entry, "how": one.how, "part": part, "reached": held})
    return written


def within_bounds(values: Sequence[float], of: Metric | Figure) -> dict[str, float]:
    """Mean and interval, whose ends are no values that the metric cannot have."""
    least, most = of.bounds
    return {
        name: min(max(value, least), most) if name in ("low", "high") else value
        for name, value in interval(list(values)).items()
    }


def sums_of(
    net: nn.Module, task: Task, part: str | Examples, devices: Devices, *, seed: int, own: bool
) -> Sums:
    """Sums of loss and metric on a part, or on the opened test part, in evaluation mode.

    Args:
        net: on the device.
        task: which measures.
        part: of the task.
        devices: where.
        seed: of what a network may draw.
        own: whether it is of a user's module.

    Raises:
        NumericalError: the metric is not finite.
    """
    forward = forward_of(net, devices, own=own)
    with forked_rng(devices.device, seed=seed):
        sums = task.measure(forward, task.once(part, task.at_once, device=devices.device))
    _require_number(task, sums)
    return sums


def _require_number(task: Task, sums: Mapping[str, Tensor]) -> None:
    value = task.value(sums)
    if not math.isfinite(value):
        raise NumericalError(
            f"{task.metric.name} is {value} after training; accepted: a metric that is a number, "
            "or a smaller lr or a tighter clip"
        )
