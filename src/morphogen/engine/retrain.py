"""Train an architecture from scratch and say what it reaches: the evaluation after a search.

Trained on all training images of the data, the parts that a search used among them, but for a
held-out share that chooses the epoch. The test part is opened once, when every seed is trained.
"""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from morphogen import cost
from morphogen.core import Architecture, DataError, RunError, SpaceError
from morphogen.core.config import from_mapping, to_mapping
from morphogen.core.rng import seed_for
from morphogen.core.statistics import interval
from morphogen.engine import fitting
from morphogen.engine.devices import FabricDevices, make_fabric
from morphogen.engine.fitting import Fitting
from morphogen.engine.job import OBJECT, Space, identity, known_space
from morphogen.engine.loggers import logged, names_of
from morphogen.engine.loop import TIMES, Desk
from morphogen.engine.loop import _latest as latest
from morphogen.engine.rundir import RunDirectory
from morphogen.engine.training import Training, quick_training
from morphogen.engine.watch import Silent, Watcher
from morphogen.engine.weights import Signature, read_weights, write_weights
from morphogen.spaces import SearchSpace
from morphogen.supernets import ModuleSpace, NetworkSpec, network, reinitialise
from morphogen.tasks import Images, ImageTask
from morphogen.tasks.classification import Data, statistics
from morphogen.tasks.remarks import remarks

METHOD = "train"
"""What config.yaml of a training says where that of a search names its method."""


@dataclass(frozen=True)
class TrainResult:
    """What trainings of one architecture reached."""

    architecture: Architecture
    text: str
    """The architecture in the space's own notation."""
    space: SearchSpace
    accuracies: tuple[float, ...]
    """Percent of the test images, one per seed; empty for data without a test part."""
    accuracy: Mapping[str, float]
    """Their mean, `low` and `high` of its 95 % interval from two seeds on; empty likewise."""
    held_out: Mapping[str, float]
    """The same of the held-out images, which also chose the epoch; empty if none are held out."""
    weights: tuple[Path, ...]
    """The evaluated weights, one .safetensors file per seed."""
    cost: Mapping[str, float]
    """Seconds of wall clock and CPU, images, and the network's parameters and MACs."""
    history: list[dict[str, Any]] = field(repr=False)
    """One row per epoch, as in metrics.jsonl."""
    run: Path
    """The run directory."""


@dataclass(frozen=True)
class _Job:
    space: SearchSpace
    arch: Architecture
    data: Data
    training: Training
    path: Path
    watcher: Callable[[], Watcher]
    resumed: bool = False


def train(
    architecture: Architecture | str,
    *,
    space: Space = "nasbench201",
    data: Data = "fashion-mnist",
    training: Training | None = None,
    run: str | Path | None = None,
    watcher: Callable[[], Watcher] = Silent,
) -> TrainResult:
    """Train an architecture from scratch, once per seed, and evaluate it on the test part.

    Args:
        architecture: an architecture, or its text.
        space: the space it is from: a name, a space, or your own module with `OneOf` in it.
        data: a name or path as `morphogen.tasks.load` takes it, or images.
        training: protocol; by default `quick_training(space)`.
        run: the run directory, new; by default `runs/train-<space>-<time>`.
        watcher: makes the object that is told of progress.

    Raises:
        MorphogenError: one sentence on what is wrong and what is accepted.
    """
    known = known_space(space)
    arch = known.parse(architecture) if isinstance(architecture, str) else known.check(architecture)
    job = _Job(known, arch, data, training or quick_training(known), Path(), watcher)
    # What is wrong with the request is said before anything is written.
    names_of(job.training.loggers)
    devices = _devices(job.training)
    task = _task(job)
    _try(_fitting(job, task, devices, ""), task)
    directory = RunDirectory.create(Path(run) if run else None, f"{METHOD}-{known.name}")
    job = replace(job, path=directory.path)
    directory.write_config(_describe(job, space))
    return _run(job, task, devices)


def resume_training(
    run: str | Path,
    *,
    space: Space | None = None,
    data: Data | None = None,
    watcher: Callable[[], Watcher] = Silent,
) -> TrainResult:
    """Continue a training to the result it would have had, bit for bit on the CPU.

    Args:
        run: its directory.
        space: needed again if it was an object of yours rather than a name.
        data: needed again if it was an object of yours rather than a name or path.
        watcher: as for `train`.

    Raises:
        RunError: there is no such run, or an object is missing.
        CheckpointError: its checkpoint is damaged or another run's.
    """
    directory = RunDirectory.open(Path(run))
    values = _config_of(directory)
    for name, given in (("space", space), ("data", data)):
        if values[name] == OBJECT and given is None:
            raise RunError(
                f"the {name} of {run} was an object of yours; pass it again: "
                f"resume_training({str(run)!r}, {name}=...)"
            )
    known = known_space(space if space is not None else values["space"])
    job = _Job(
        known,
        known.parse(values["config"]["architecture"]),
        data if data is not None else values["data"],
        from_mapping(Training, values["settings"]),
        directory.path,
        watcher,
        resumed=True,
    )
    return _finished(job) or _run(job, _task(job), _devices(job.training))


def is_training(run: str | Path) -> bool:
    """Whether a run directory is that of a training, and not of a search.

    Raises:
        RunError: there is no run.
    """
    return RunDirectory.open(Path(run)).config().get("method") == METHOD


# -- the request -----------------------------------------------------------------------------------


def _devices(t: Training) -> FabricDevices:
    fabric = make_fabric(t.accelerator, 1, t.precision)
    fabric.launch()
    return FabricDevices(fabric)


def _task(job: _Job) -> ImageTask:
    """The data, cut in what is trained on and what is held out."""
    t = job.training
    task = ImageTask.of(
        job.data,
        valid_images=t.held_out or None,
        size=t.size,
        seed=t.seed,
        augment=t.augment,
    )
    if not t.held_out:  # of all images that are trained on, not of the half a search would train on
        task.mean, task.std = statistics(task.pool)
    if not t.held_out and not task.has_test:
        raise DataError(
            f"data {task.name!r} has no test part and held_out is 0, so that nothing could be "
            "measured; accepted: data with a test part, or a held_out share above 0"
        )
    return task


def _spec(job: _Job, task: ImageTask) -> NetworkSpec:
    t = job.training
    return NetworkSpec(
        channels=t.channels,
        depth=t.depth,
        classes=len(task.classes),
        in_channels=task.in_channels,
        auxiliary=t.auxiliary > 0,
    )


def _fitting(job: _Job, task: ImageTask, devices: FabricDevices, name: str) -> Fitting:
    spec = _spec(job, task)
    deployed = replace(spec, auxiliary=False)
    with torch.device("meta"):
        names = set(network(job.space, job.arch, deployed).state_dict())

    def make(seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(seed, "weights"))
            net = network(job.space, job.arch, spec)
            if isinstance(job.space, ModuleSpace) and job.training.fresh_weights:
                reinitialise(net)
        return net

    def save(net: nn.Module, seed: int, kind: str, epoch: int) -> None:
        signature = _signature(job, task, deployed, seed=seed, kind=kind, epoch=epoch)
        write_weights(weights_file(job.path, seed, kind), net, signature, names)

    return Fitting(
        training=job.training,
        task=task,
        part="train" if job.training.held_out else "pool",
        make=make,
        save=save,
        devices=devices,
        identity=name,
        text=job.space.format(job.arch),
    )


def weights_file(run: Path, seed: int, kind: str) -> Path:
    """Where the weights of a seed are: those of its `best` or of its `last` epoch."""
    return run / f"seed-{seed}-{kind}.safetensors"


def _signature(
    job: _Job, task: ImageTask, spec: NetworkSpec, *, seed: int, kind: str, epoch: int
) -> Signature:
    values = {k: getattr(spec, k) for k in ("channels", "depth", "classes", "in_channels", "stem")}
    return Signature(
        space=job.space.name,
        architecture=job.space.format(job.arch),
        spec=values,
        classes=task.classes,
        channels=task.in_channels,
        size=task.image_size,
        mean=task.mean,
        std=task.std,
        origin={
            "data": _name_of(job.data),
            "seed": seed,
            "weights": kind,
            "epoch": epoch,
            "split": _split(job, task),
            "settings": to_mapping(job.training),
            "versions": _versions(),
        },
    )


def _try(trial: Fitting, task: ImageTask) -> None:
    """One pass of the network over two images, or a sentence that says what is wrong."""
    with torch.random.fork_rng(devices=[]):
        fit = trial.start(0)
        some = task.pool.take(torch.arange(min(2, len(task.pool))))
        x, _ = next(iter(task.sequential(some, len(some), device=trial.devices.device)))
        accepted = f"scores [{len(x)}, {len(task.classes)}], one for each image and class"
        try:
            with torch.no_grad():
                scores = fit.net(x)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise SpaceError(
                f"the network fails on images {list(x.shape)}: {reason}; accepted: a network that "
                f"takes them and gives {accepted}"
            ) from error
    first = scores[0] if isinstance(scores, tuple) else scores
    shape = list(first.shape) if isinstance(first, torch.Tensor) else type(first).__name__
    if shape != [len(x), len(task.classes)]:
        raise SpaceError(
            f"the network gives {shape} for images {list(x.shape)}; accepted: {accepted}"
        )


# -- the run directory -----------------------------------------------------------------------------


def _describe(job: _Job, space: Space) -> dict[str, Any]:
    """The content of config.yaml, in the form of a search's."""
    decisive = {
        "method": METHOD,
        "space": space if isinstance(space, str) else OBJECT,
        "data": _name_of(job.data),
        "settings": to_mapping(job.training),
        "config": {"architecture": job.space.format(job.arch)},
    }
    name = Path(sys.argv[0]).name
    program = "morphogen" if name == "__main__.py" else name
    return {
        **decisive,
        "identity": identity(decisive),
        "command": shlex.join([program, *sys.argv[1:]]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": _versions(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def _versions() -> dict[str, Any]:
    return {
        "morphogen": version("morphogen"),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }


def _name_of(data: Data) -> str:
    return str(data) if isinstance(data, str | Path) else OBJECT


def _config_of(directory: RunDirectory) -> dict[str, Any]:
    values = directory.config()
    if values.get("method") != METHOD:
        raise RunError(
            f"{directory.path} is the run of a search ({values.get('method')}); accepted: one that "
            "`train` made"
        )
    kinds = {"space": str, "data": str, "settings": dict, "config": dict}
    whole = all(isinstance(values.get(name), kind) for name, kind in kinds.items())
    if not whole or values.get("identity") != identity(values):
        raise RunError(
            f"{directory.config_file} is not what train wrote: something in it has changed since; "
            "accepted: the file as written, or a new training"
        )
    return values


# -- the work --------------------------------------------------------------------------------------


def _run(job: _Job, task: ImageTask, devices: FabricDevices) -> TrainResult:
    with logged(job.watcher(), job.training.loggers) as watcher:
        return _watched(job, task, devices, watcher)


def _watched(job: _Job, task: ImageTask, devices: FabricDevices, watcher: Watcher) -> TrainResult:
    directory = RunDirectory(job.path)
    config = directory.config()
    threads = torch.get_num_threads()
    torch.set_num_threads(job.training.threads or threads)
    desk = Desk(directory, config, watcher, job.resumed)
    if job.resumed and config.get("versions", {}).get("torch") != str(torch.__version__):
        desk.watcher.notice(
            f"the run goes on with torch {torch.__version__}, not the one it began with: its "
            "numbers may differ in their last bits from those of an uninterrupted run"
        )
    for sentence in remarks(task.pool):
        desk.watcher.notice(sentence)
    name = identity(config)
    try:
        with directory.locked(), torch.random.fork_rng(devices=[]):
            content = None
            if job.resumed:
                content, notice = latest(directory, name)
                if notice:
                    desk.watcher.notice(notice)
            work = _fitting(job, task, devices, name)
            with task.sealed("the training"):
                history = fitting.run(work, desk, content)
            return _result(job, task, work, history)
    finally:
        torch.set_num_threads(threads)


def _result(
    job: _Job, task: ImageTask, work: Fitting, history: list[dict[str, Any]]
) -> TrainResult:
    """Evaluate the weights of every seed, write result.json and return the same."""
    t = job.training
    kind = "best" if t.held_out else "last"
    files = tuple(weights_file(job.path, t.seed + i, kind) for i in range(t.seeds))
    accuracies: list[float] = []
    if task.has_test:
        test = task.open_test(f"evaluation of {t.seeds} finished trainings from scratch")
        accuracies = [_evaluate(job, task, work, file, test) for file in files]
    best = [
        max(r["held_out_accuracy"] for r in history if r["seed"] == t.seed + i)
        for i in range(t.seeds)
        if t.held_out
    ]
    size = task.image_size
    counted = cost.of(
        job.space,
        job.arch,
        replace(_spec(job, task), auxiliary=False),
        (task.in_channels, size, size),
    )
    spent = {
        **{name: round(sum(row[name] for row in history), 3) for name in TIMES},
        "train_images": len(history) * _per_epoch(history),
        "params": counted.params,
        "macs": counted.macs,
    }
    RunDirectory(job.path).write_result(
        {
            "architecture": job.space.format(job.arch),
            "method": METHOD,
            "space": job.space.name,
            "remarks": list(job.space.remarks(job.arch)),
            "seed": t.seed,
            "seeds": t.seeds,
            "epochs": len(history),
            "test_accuracy": {**_percent(accuracies), "values": accuracies} if accuracies else None,
            "held_out_accuracy": {**_percent(best), "values": best} if best else None,
            "split": _split(job, task),
            "test_openings": list(task.test_openings),
            "weights": [file.name for file in files],
            "cost": spent,
        }
    )
    finished = _finished(job)
    if finished is None:
        raise RunError(f"{job.path} changed while its result was written; accepted: a quiet disk")
    return finished


def _percent(values: list[float]) -> dict[str, float]:
    """Mean and interval of accuracies, which are never below 0 nor above 100."""
    return {
        name: min(max(value, 0.0), 100.0) if name in ("low", "high") else value
        for name, value in interval(values).items()
    }


def _per_epoch(history: list[dict[str, Any]]) -> int:
    """Images drawn in an epoch: the same in every one."""
    return int(history[0]["images"]["train"])


def _evaluate(job: _Job, task: ImageTask, work: Fitting, file: Path, images: Images) -> float:
    tensors, _ = read_weights(file)
    net = network(job.space, job.arch, replace(_spec(job, task), auxiliary=False))
    net.load_state_dict(tensors)
    return fitting.accuracy(work, net.to(work.devices.device), images)


def _split(job: _Job, task: ImageTask) -> str:
    """Which images did what, in a sentence."""
    everything = f"all {len(task.pool)} training images, those that a search used among them"
    if not job.training.held_out:
        text = f"trained on {everything}; the last epoch is kept"
    else:
        text = (
            f"of {everything}, {len(task.train)} were trained on and {len(task.valid)} held out, "
            "to choose the best epoch"
        )
    if task.has_test:
        return f"{text}; the test part was opened once, after the last training"
    return (
        f"{text}; the data have no test part, and the held-out accuracy is optimistic since it "
        "chose the epoch"
    )


def _finished(job: _Job) -> TrainResult | None:
    """The result of a run that has one, read from its files; None if it has to go on."""
    directory = RunDirectory(job.path)
    written, history = directory.result(), directory.metrics()
    text = job.space.format(job.arch)
    if written is None or written.get("architecture") != text:
        return None
    if len(history) != written.get("epochs") or "test_accuracy" not in written:
        return None
    test, held = written["test_accuracy"] or {}, written["held_out_accuracy"] or {}
    return TrainResult(
        architecture=job.arch,
        text=text,
        space=job.space,
        accuracies=tuple(test.get("values", ())),
        accuracy={k: v for k, v in test.items() if k != "values"},
        held_out={k: v for k, v in held.items() if k != "values"},
        weights=tuple(job.path / name for name in written["weights"]),
        cost=written["cost"],
        history=history,
        run=job.path,
    )


def found_in(run: str | Path) -> tuple[str, str, str]:
    """What a finished run found: architecture, name of its space, its data.

    Raises:
        RunError: there is no run, or it is not finished.
    """
    directory = RunDirectory.open(Path(run))
    values, written = directory.config(), directory.result()
    if written is None or not isinstance(written.get("architecture"), str):
        raise RunError(
            f"{run} is not finished: it has no result yet; accepted: a finished run, or first "
            f"`morphogen resume {run}`"
        )
    return written["architecture"], str(values.get("space")), str(values.get("data"))
