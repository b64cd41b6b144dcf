"""What a search is made of, as one value that can be sent to other processes; and config.yaml."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from morphogen import spaces
from morphogen.core import ConfigError, RunError
from morphogen.core.config import to_mapping
from morphogen.engine.rundir import RunDirectory
from morphogen.engine.settings import QUICK_ALPHA_RATE, QUICK_WEIGHTS_RATE, Settings
from morphogen.engine.watch import Watcher
from morphogen.methods import MethodInfo, find, methods
from morphogen.spaces import SearchSpace
from morphogen.supernets import NetworkSpec
from morphogen.supernets.own import space_of
from morphogen.tasks import ImageTask
from morphogen.tasks.classification import Data
from morphogen.tasks.problem import Devices, Problem

Space = str | SearchSpace | torch.nn.Module

OBJECT = "(an object passed from Python)"


@dataclass(frozen=True)
class Job:
    """All that a process needs to run a search; sent to every data-parallel process."""

    method: str
    config: Any
    space: SearchSpace
    data: Data
    settings: Settings
    path: Path
    resume: bool
    watcher: Callable[[], Watcher]


def quick_config(info: MethodInfo) -> Any:
    """The method's defaults with learning rates fit for a search of minutes."""
    config = info.config()
    for part, rate in (("alpha", QUICK_ALPHA_RATE), ("weights", QUICK_WEIGHTS_RATE)):
        if hasattr(config, part):
            config = replace(config, **{part: replace(getattr(config, part), lr=rate)})
    return config


def method_of(method: str | object) -> tuple[MethodInfo, Any]:
    """A method from its name (then with `quick_config`) or from its configuration."""
    if isinstance(method, str):
        info = find(method)
        return info, quick_config(info)
    for info in methods().values():
        if type(method) is info.config:
            return info, method
    raise ConfigError(
        f"{type(method).__name__} is no method's configuration; accepted: a name "
        f"({', '.join(methods())}) or one of their configurations"
    )


def known_space(space: Space) -> SearchSpace:
    """A space from its name, itself, or a module with `OneOf` in it."""
    if isinstance(space, str):
        return spaces.make(space)
    return space if isinstance(space, SearchSpace) else space_of(space)


def config_of(directory: RunDirectory) -> dict[str, Any]:
    """The content of config.yaml, or a `RunError` if it is not as `search` wrote it."""
    values = directory.config()
    kinds = {"method": str, "space": str, "data": str, "settings": dict, "config": dict}
    for name, kind in kinds.items():
        if not isinstance(values.get(name), kind):
            raise RunError(f"{directory.config_file} has no {name}; accepted: what search wrote")
    if values.get("identity") != identity(values):
        raise RunError(
            f"{directory.config_file} is not what search wrote: its method, space, data, settings "
            "or config has changed since; accepted: the file as written, or a new search"
        )
    return values


def task_of(data: Data, s: Settings) -> ImageTask:
    """The data, cut as the settings say."""
    return ImageTask.of(
        data,
        train_images=s.train_images,
        valid_images=s.valid_images,
        size=s.image_size or None,
        seed=s.seed,
    )


def problem_of(job: Job, task: ImageTask, devices: Devices | None = None) -> Problem:
    """What a method sees of the job."""
    s = job.settings
    return Problem(
        job.space,
        task,
        NetworkSpec(
            channels=s.channels,
            depth=s.depth,
            classes=len(task.classes),
            in_channels=task.in_channels,
            execution=s.execution,
        ),
        batch_size=s.batch_size,
        seed=s.seed,
        devices=devices,
    )


def describe(job: Job, space: Space) -> dict[str, Any]:
    """The content of config.yaml."""
    decisive = {
        "method": job.method,
        "space": space if isinstance(space, str) else OBJECT,
        "data": str(job.data) if isinstance(job.data, str | Path) else OBJECT,
        "settings": to_mapping(job.settings),
        "config": to_mapping(job.config),
    }
    return {
        **decisive,
        "identity": identity(decisive),
        "command": shlex.join([_program(), *sys.argv[1:]]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "morphogen": version("morphogen"),
            "python": platform.python_version(),
            "torch": str(torch.__version__),
        },
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        **({} if isinstance(space, str) else {"choices": _choices(job.space)}),
    }


def _choices(space: SearchSpace) -> list[dict[str, Any]]:
    """The choices of a space that has no name by which a report could ask for them."""
    return [
        {"name": c.name, "options": list(c.options), "group": c.group, "least": c.least}
        | {"most": c.most}
        for c in space.choices
    ]


def _program() -> str:
    """How this process was started: `morphogen` or `python -m morphogen`, or a script's name."""
    name = Path(sys.argv[0]).name
    return "morphogen" if name == "__main__.py" else name


def identity(values: Mapping[str, Any]) -> str:
    """Fingerprint of what decides a run's numbers: method, space, data, settings, config."""
    decisive = {k: values[k] for k in ("method", "space", "data", "settings", "config")}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
