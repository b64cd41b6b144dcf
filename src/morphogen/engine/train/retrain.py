"""Train an architecture from scratch and say what it reaches: the evaluation after a search.

Trained on all training examples of the data, the parts that a search used among them, but for a
held-out share that chooses the epoch. The test part is opened once, when every seed is trained.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from morphogen import cost
from morphogen.core import Architecture, RunError, arguments, memory
from morphogen.core.config import from_mapping, to_mapping
from morphogen.core.processes import refuse_again
from morphogen.engine.devices import one_device
from morphogen.engine.ownmodule import resumed_space, some, try_network, try_space
from morphogen.engine.record.loggers import logged, names_of
from morphogen.engine.record.recorder import Recorder
from morphogen.engine.record.watch import Watcher, usual
from morphogen.engine.sizes import fitted_training
from morphogen.engine.train import fitting
from morphogen.engine.train.baseline import SEEDS, Opponent, announced, compared, opponents
from morphogen.engine.train.origin import Origin
from morphogen.engine.train.recipe import fitted_recipe
from morphogen.engine.train.trained import TrainResult, evaluate, finished
from morphogen.engine.train.training import Training, quick_training
from morphogen.engine.train.trainjob import (
    TrainJob,
    fitting_of,
    kept_weights,
    part_of,
    spec_of,
    training_task,
)
from morphogen.runs.config import (
    Space,
    describe,
    identity,
    known_space,
    read_back,
    require_types,
)
from morphogen.runs.directory import TRAINING, RunDirectory
from morphogen.runs.provenance import (
    on_threads,
    other_machine,
    provenance,
    require_same_data,
    require_same_module,
)
from morphogen.supernets.global_rng import forked_rng
from morphogen.tasks import Task
from morphogen.tasks.kinds import (
    USUAL_DATA,
    Data,
    as_arguments,
    asked_of,
    chosen,
    require_fit,
    space_for,
)
from morphogen.tasks.problem import Devices


@memory.reported(f"{cost.SMALLER}; what a run directory holds goes on with `morphogen resume`")
def train(
    architecture: Architecture | str,
    *,
    space: Space | None = None,
    data: Data | None = None,
    task: Task | None = None,
    training: Training | None = None,
    run: str | Path | RunDirectory | None = None,
    baseline: bool = False,
    keep: Collection[str] | None = None,
    origin: Origin | None = None,
    watcher: Callable[[], Watcher] = usual,
) -> TrainResult:
    """Train an architecture from scratch, once per seed, and evaluate it on the test part.

    Args:
        architecture: an architecture, or its text.
        space: the space it is from: a name, a space, or your own module with `OneOf` in it; by
            default nasbench201, and signal201 for signals.
        data: a name, a path, or an object, of a kind that `morphogen list data` shows; by default
            fashion-mnist.
        task: data, loss and metric of your own, instead of `data`.
        training: protocol; by default `quick_training(space)`, with a baseline three seeds of it,
            of the length that fits the number of examples, by the recipe that fits its length.
        run: the run directory, new (or one that is `claimed`); by default
            `runs/train-<space>-<time>`.
        baseline: then train the space's reference and a random architecture by the same protocol,
            in folders of the run directory, and say whether this one is better.
        keep: names of fields, `task.crop`, that somebody has set: of the others length and recipe
            are fitted likewise. By default all of a training that is given.
        origin: the run that found the architecture, for the record.
        watcher: makes the object that is told of progress.

    Raises:
        MorphogenError: one sentence on what is wrong and what is accepted.
    """
    refuse_again()
    data = chosen(data, task, USUAL_DATA)
    known = known_space(space_for(data) if space is None else space)
    require_fit(known, data)
    arch = known.parse(architecture) if isinstance(architecture, str) else known.check(architecture)
    if training is None:
        training = replace(
            quick_training(known, asked_of(data, None)), seeds=SEEDS if baseline else 1
        )
        keep = keep or ()
    require_types(run, training=(training, Training))
    training = replace(training, task=asked_of(data, training.task))
    arguments.function("watcher", watcher, "a class or function that makes a watcher")
    job = TrainJob(known, arch, data, training, Path(), watcher)
    # What is wrong with the request is said before anything is written.
    names_of(job.training.loggers)
    devices = one_device(job.training.hardware.accelerator, job.training.hardware.precision)
    task = training_task(job)
    t, said, fit = _fitted(job, task, keep)
    job = replace(job, training=t)
    if t.task != training.task:
        task = training_task(job)
    known, odd = try_space(known, task, "pool", batch_size=t.batch_size, seed=t.seed)
    job = replace(job, space=known)
    if job.training.hardware.accelerator == "cpu":
        cost.require(
            known,
            spec_of(job, task),
            task.example(),
            batch=job.training.batch_size,
            arch=arch,
        )
    _try(job, task, devices)
    within = origin.within if origin else None
    listed = opponents(known, arch, t.seed, within) if baseline else ()
    with RunDirectory.claimed(run, f"{TRAINING}-{known.name}") as directory:
        job = replace(job, path=directory.path)
        directory.begin(
            describe(
                TRAINING,
                known,
                data,
                settings=to_mapping(job.training),
                config={"architecture": known.format(arch)},
                provenance=provenance(
                    known, task, threads=t.hardware.threads, accelerator=t.hardware.accelerator
                ),
                remarks=(*said, *odd, *kept_weights(job, task)),
            )
            | {"task": task.on_record(), **fit}
            | (origin.recorded(t) if origin else {})
            | ({"opponents": [other.recorded(known) for other in listed]} if listed else {})
        )
    return compared(job, _train(job, task, devices), _beside)


@memory.reported(f"{cost.SMALLER}, in a new run, or more memory")
def resume(
    run: str | os.PathLike[str],
    *,
    space: Space | None = None,
    data: Data | None = None,
    task: Task | None = None,
    watcher: Callable[[], Watcher] = usual,
) -> TrainResult:
    """Continue a training to the result it would have had, bit for bit on the CPU.

    Args:
        run: its directory.
        space: needed again if code of yours belongs to it, as to a module.
        data: needed again if it was an object of yours rather than a name or path.
        task: needed again if it was one of yours.
        watcher: as for `train`.

    Raises:
        RunError: there is no such run, or an object is missing.
        CheckpointError: its checkpoint is damaged or another run's.
    """
    refuse_again()
    directory = RunDirectory.open(run)
    if not directory.is_training:
        raise RunError(
            f"{run} is the run of a search ({directory.config().get('method')}); accepted: one "
            "that `train` made"
        )
    values, known, images = read_back(directory, space, chosen(data, task), call="resume")
    training = from_mapping(Training, values["settings"])
    job = TrainJob(
        known,
        known.parse(values["config"]["architecture"]),
        images,
        training,
        directory.path,
        watcher,
        resumed=True,
    )
    job = replace(job, space=resumed_space(known, lambda: training_task(job), training.seed))
    found = finished(job) or _train(
        job,
        training_task(job),
        one_device(training.hardware.accelerator, training.hardware.precision),
    )
    return compared(job, found, _beside)


def _beside(job: TrainJob, other: Opponent) -> TrainResult:
    """The training of an opponent, in a folder of the job's, begun or gone on with."""
    path = job.path / other.folder
    watcher = announced(job.watcher, f"to compare with, by the same recipe: {other.against}")
    given = as_arguments(job.data)
    if RunDirectory(path).config_file.exists():
        return resume(path, space=other.space, watcher=watcher, **given)
    return train(
        other.architecture,
        space=other.space,
        training=job.training,
        run=path,
        watcher=watcher,
        **given,
    )


def _fitted(
    job: TrainJob, task: Task, keep: Collection[str] | None
) -> tuple[Training, tuple[str, ...], dict[str, list[str]]]:
    """The training with what nobody has set fitted to the data, what is said of it, and entries of
    config.yaml.
    """
    t, said = fitted_training(job.training, task, part_of(job.training))
    if keep is None:
        return t, said, {}
    t, planned, why = fitted_recipe(t, job.space, task, keep)
    return t, (*said, *why), {"planned": list(planned), "kept": sorted(keep)}


def _try(job: TrainJob, task: Task, devices: Devices) -> None:
    """A few examples through the network, or a sentence that says what is wrong."""
    with forked_rng(devices.device):
        net = fitting_of(job, task, devices, "").start(0).net
    batch = some(task, "pool", min(2, job.training.batch_size), device=devices.device)
    try_network(net, batch, task, auxiliary=job.training.network.auxiliary > 0)


def _train(job: TrainJob, task: Task, devices: Devices) -> TrainResult:
    """The trainings, from the run directory to their evaluation."""
    directory, t = RunDirectory(job.path), job.training
    config = directory.config()
    with logged(job.watcher(), t.loggers) as watcher:
        recorder = Recorder(directory, config, watcher, job.resumed)
        if job.resumed:
            require_same_data(directory, config, task)
            drawn = t.network.fresh_weights or directory.checkpoint_file.exists()
            other = require_same_module(directory, config, job.space, redrawn=drawn)
            for sentence in filter(None, (other_machine(config), other)):
                watcher.notice(sentence)
        inherited = [config["inherited"]] if "inherited" in config else []
        for sentence in (*inherited, *config.get("remarks", ()), *task.remarks()):
            watcher.notice(sentence)
        name = identity(config)
        with directory.locked(), forked_rng(devices.device), on_threads(config["threads"]):
            content = recorder.last_checkpoint([name]) if job.resumed else None
            work = fitting_of(job, task, devices, name)
            with task.sealed("the training"):
                history = fitting.run(work, recorder, content)
            return evaluate(job, task, work, history, watcher.notice)
