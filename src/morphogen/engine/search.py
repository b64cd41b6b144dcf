"""Start a search, or resume one: from names or objects to a run directory and a result."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import platform
import shlex
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.spawn import ProcessExitedException

from morphogen import spaces
from morphogen.core import Architecture, ConfigError, MorphogenError, RunError, SpaceError
from morphogen.core.config import from_mapping, to_mapping
from morphogen.core.rng import numpy_stream
from morphogen.engine.devices import FabricDevices, make_fabric
from morphogen.engine.loop import TIMES, Desk, Outcome, run_rounds, run_steps
from morphogen.engine.rundir import RunDirectory
from morphogen.engine.settings import QUICK_ALPHA_RATE, Settings
from morphogen.engine.watch import Silent, Watcher
from morphogen.evaluators.table import TableEvaluator
from morphogen.evaluators.training import TrainingEvaluator
from morphogen.methods import AskTell, Method, MethodInfo, find, methods
from morphogen.spaces import SearchSpace
from morphogen.supernets import NetworkSpec
from morphogen.supernets.own import ModuleSpace, space_of
from morphogen.supernets.own import check as check_module
from morphogen.tasks import ImageTask
from morphogen.tasks.classification import Data
from morphogen.tasks.problem import Problem

Space = str | SearchSpace | torch.nn.Module


@dataclass(frozen=True)
class SearchResult:
    """What a search found, and at what cost."""

    architecture: Architecture
    text: str
    """The architecture in the space's own notation."""
    method: str
    space: SearchSpace
    remarks: tuple[str, ...]
    """What the user should be told of the architecture, a sentence each."""
    history: list[dict[str, Any]] = field(repr=False)
    """One row per epoch, as in metrics.jsonl."""
    cost: Mapping[str, float]
    """Seconds of wall clock and CPU, images drawn."""
    run: Path
    """The run directory."""


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
    """The method's defaults with alpha's learning rate fit for a search of minutes."""
    default = info.config()
    if not hasattr(default, "alpha"):
        return default
    return replace(default, alpha=replace(default.alpha, lr=QUICK_ALPHA_RATE))


def search(
    method: str | object = "idarts",
    *,
    space: Space = "nasbench201",
    data: Data = "fashion-mnist",
    settings: Settings | None = None,
    run: str | Path | None = None,
    watcher: Callable[[], Watcher] = Silent,
) -> SearchResult:
    """Find an architecture.

    Args:
        method: a method's name (then with `quick_config`), or a method's configuration.
        space: a built-in space's name, a space, or your own module with `OneOf` in it.
        data: a name or path as `morphogen.tasks.load` takes it, or images.
        settings: budget, sizes, seed, devices.
        run: the run directory, new; by default `runs/<method>-<space>-<time>`.
        watcher: makes the object that is told of progress, in the main process.

    Raises:
        MorphogenError: one sentence on what is wrong and what is accepted.
    """
    settings = settings or Settings()
    info, config = _method(method)
    known = _space(space)
    info.require(known)
    # What is wrong with the request is said before anything is written.
    fabric = _fabric(settings)
    task = _task(data, settings)
    _check_batch(settings, task)
    if info.black_box and settings.evaluator == "table":
        TableEvaluator(known, settings.metric)
    if isinstance(known, ModuleSpace):
        _try(known, task)
    directory = RunDirectory.create(Path(run) if run else None, f"{info.name}-{known.name}")
    job = Job(
        info.name, config, known, data, settings, directory.path, resume=False, watcher=watcher
    )
    directory.write_config(_describe(job, space))
    return _launch(fabric, job, task)


def resume(
    run: str | Path,
    *,
    space: Space | None = None,
    data: Data | None = None,
    watcher: Callable[[], Watcher] = Silent,
) -> SearchResult:
    """Continue a run to the result it would have had without the interruption, bit for bit.

    Args:
        run: its directory.
        space: needed again if it was an object of yours rather than a name.
        data: needed again if it was an object of yours rather than a name or path.
        watcher: as for `search`.

    Raises:
        RunError: there is no such run, or an object is missing.
        CheckpointError: its checkpoint is damaged or another run's.
    """
    directory = RunDirectory.open(Path(run))
    values = _config_of(directory)
    for name, given in (("space", space), ("data", data)):
        if values[name] == OBJECT and given is None:
            raise RunError(
                f"the {name} of {run} was an object of yours; pass it again: resume({str(run)!r}, "
                f"{name}=...)"
            )
    info = find(values["method"])
    job = Job(
        info.name,
        from_mapping(info.config, values["config"]),
        _space(space if space is not None else values["space"]),
        data if data is not None else values["data"],
        from_mapping(Settings, values["settings"]),
        directory.path,
        resume=True,
        watcher=watcher,
    )
    finished = _finished(directory, job)
    return finished or _launch(_fabric(job.settings), job)


OBJECT = "(an object passed from Python)"


def _method(method: str | object) -> tuple[MethodInfo, Any]:
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


def _space(space: Space) -> SearchSpace:
    if isinstance(space, str):
        return spaces.make(space)
    return space if isinstance(space, SearchSpace) else space_of(space)


def _config_of(directory: RunDirectory) -> dict[str, Any]:
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


def _fabric(settings: Settings) -> Any:
    return make_fabric(settings.accelerator, settings.devices, settings.precision)


def _try(space: ModuleSpace, task: ImageTask) -> None:
    """One pass of a user's module over two images, or a `SpaceError` that says what is wrong."""
    some = task.train.take(torch.arange(min(2, len(task.train))))
    x, _ = next(iter(task.sequential(some, batch_size=2)))
    accepted = f"scores [{len(x)}, {len(task.classes)}], one for each image and class"
    try:
        with torch.random.fork_rng(devices=[]):
            scores = check_module(space.copy_module(), x)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SpaceError(
            f"your module fails on images {list(x.shape)}: {reason}; accepted: a module that "
            f"takes them and gives {accepted}"
        ) from error
    shape = list(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
    if len(shape) != 2 or shape[0] != len(x) or shape[1] < len(task.classes):
        raise SpaceError(
            f"your module gives {shape} for images {list(x.shape)}; accepted: {accepted}"
        )


def _task(data: Data, s: Settings) -> ImageTask:
    return ImageTask.of(
        data,
        train_images=s.train_images,
        valid_images=s.valid_images,
        size=s.image_size or None,
        seed=s.seed,
    )


def _check_batch(settings: Settings, task: ImageTask) -> None:
    smallest = min(len(task.train), len(task.valid))
    if settings.batch_size > smallest:
        raise ConfigError(
            f"batch_size is {settings.batch_size}, and the smaller part of the data has "
            f"{smallest} images; accepted: at most {smallest}"
        )
    if settings.batch_size % settings.devices:
        raise ConfigError(
            f"batch_size is {settings.batch_size} for {settings.devices} devices; "
            "accepted: a multiple of the devices"
        )


def _describe(job: Job, space: Space) -> dict[str, Any]:
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
    }


def _program() -> str:
    """How this process was started: `morphogen` or `python -m morphogen`, or a script's name."""
    name = Path(sys.argv[0]).name
    return "morphogen" if name == "__main__.py" else name


def identity(values: Mapping[str, Any]) -> str:
    """Fingerprint of what decides a run's numbers: method, space, data, settings, config."""
    decisive = {k: values[k] for k in ("method", "space", "data", "settings", "config")}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _launch(fabric: Any, job: Job, task: ImageTask | None = None) -> SearchResult:
    """Run the job in this process, or in `devices` processes that share every batch."""
    if job.settings.devices == 1:
        return _result(job, _work(fabric, job, task))
    try:
        packed = pickle.dumps(job)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"devices is {job.settings.devices}, and an object passed cannot be sent to another "
            f"process ({str(error).splitlines()[0]}); accepted: classes and functions at the top "
            "level of a module that can be imported, or devices 1"
        ) from error
    try:
        ended: str | MorphogenError = fabric.launch(_process, packed)
    except ProcessExitedException as error:
        raise RunError(
            f"a process of the search was ended from outside ({str(error).splitlines()[0]}); "
            f"accepted: `morphogen resume {job.path}`"
        ) from error
    if isinstance(ended, MorphogenError):
        raise ended
    history = RunDirectory(job.path).metrics()
    return _result(job, Outcome(job.space.parse(ended), history))


def _process(fabric: Any, packed: bytes) -> str | MorphogenError:
    """The work of one of several processes.

    The job comes in bytes, because Fabric walks through its arguments and refuses frozen
    dataclasses. What is returned goes through a pipe that nobody reads before all processes have
    ended, so it is short: the architecture, or what went wrong.
    """
    job: Job = pickle.loads(packed)
    try:
        return job.space.format(_work(fabric, job, None).architecture)
    except MorphogenError as error:
        return error


def _work(fabric: Any, job: Job, task: ImageTask | None) -> Outcome:
    s = job.settings
    threads = torch.get_num_threads()
    if s.threads or s.devices > 1:
        torch.set_num_threads(s.threads or max(1, threads // s.devices))
    devices = FabricDevices(fabric)
    directory = RunDirectory(job.path)
    main = devices.rank == 0
    desk = Desk(
        directory, directory.config(), job.watcher() if main else Silent(), job.resume, main
    )
    began = desk.config.get("versions", {}).get("torch")
    if job.resume and began != str(torch.__version__):
        desk.watcher.notice(
            f"the run began with torch {began} and goes on with {torch.__version__}: its numbers "
            "may differ in their last bits from those of an uninterrupted run"
        )
    task = task or _task(job.data, s)
    problem = Problem(
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
    method = find(job.method).build(job.config)
    lock = directory.locked() if main else nullcontext()
    try:
        with lock, task.sealed("the search"), torch.random.fork_rng(devices=[]):
            return _loop(method, problem, desk, job)
    finally:
        torch.set_num_threads(threads)


def _loop(method: Method, problem: Problem, desk: Desk, job: Job) -> Outcome:
    s = job.settings
    if isinstance(method, AskTell):
        evaluate = (
            TableEvaluator(job.space, s.metric)
            if s.evaluator == "table"
            else TrainingEvaluator(problem, s.evaluation_epochs, s.batch_size)
        )
        return run_rounds(
            method,
            job.space,
            evaluate,
            desk,
            devices=problem.devices,
            rng=numpy_stream(s.seed, "search"),
            evaluations=s.evaluations,
        )
    return run_steps(
        method,
        problem,
        desk,
        identity=identity(desk.config),
        epochs=s.epochs,
        steps=s.steps_per_epoch or len(problem.task.valid) // s.batch_size,
        diagnostic_images=s.diagnostic_images,
    )


def _finished(directory: RunDirectory, job: Job) -> SearchResult | None:
    """The result of a run that has one, read from its files; None if it has to go on."""
    written, history = directory.result(), directory.metrics()
    if written is None or not history or len(history) != written.get("epochs"):
        return None
    text = history[-1].get("architecture")
    if not isinstance(text, str) or text != written.get("architecture"):
        return None  # damaged: the checkpoint knows better
    return _result(job, Outcome(job.space.parse(text), history))


def _result(job: Job, outcome: Outcome) -> SearchResult:
    """Write result.json and return the same."""
    cost = {name: round(sum(row[name] for row in outcome.history), 3) for name in TIMES}
    images = outcome.history[-1].get("images", {}) if outcome.history else {}
    result = SearchResult(
        architecture=outcome.architecture,
        text=job.space.format(outcome.architecture),
        method=job.method,
        space=job.space,
        remarks=job.space.remarks(outcome.architecture),
        history=outcome.history,
        cost={**cost, **{f"{part}_images": n for part, n in images.items()}},
        run=job.path,
    )
    RunDirectory(job.path).write_result(
        {
            "architecture": result.text,
            "method": result.method,
            "space": result.space.name,
            "remarks": list(result.remarks),
            "seed": job.settings.seed,
            "epochs": len(outcome.history),
            "split": "search data only: train part for weights, search-validation part for the "
            "architecture; test data was not opened",
            "cost": dict(result.cost),
        }
    )
    return result
