"""What a training is made of: its data, its networks, and what is written beside the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from morphogen.core import Architecture, DataError
from morphogen.core.config import to_mapping
from morphogen.core.rng import seed_for
from morphogen.engine.ownmodule import some
from morphogen.engine.record.evaluating import deployed, deployed_names, signed
from morphogen.engine.record.watch import Watcher
from morphogen.engine.train.fitting import Fitting
from morphogen.engine.train.training import Training
from morphogen.runs.weights import write_weights
from morphogen.spaces import ModuleSpace, SearchSpace
from morphogen.supernets import NetworkSpec, frozen_parts, network, reinitialise
from morphogen.supernets.checks import without_gradient
from morphogen.supernets.global_rng import forked_rng
from morphogen.tasks import Task
from morphogen.tasks.cut import Cut
from morphogen.tasks.kinds import Data, task_for
from morphogen.tasks.problem import Devices


@dataclass(frozen=True)
class TrainJob:
    """One architecture, on some data, by some protocol."""

    space: SearchSpace
    arch: Architecture
    data: Data
    training: Training
    path: Path
    watcher: Callable[[], Watcher]
    resumed: bool = False


def training_task(job: TrainJob) -> Task:
    """The data, cut in what is trained on and what is held out."""
    t = job.training
    task = task_for(job.data, t.task, Cut(held_out=t.held_out, seed=t.seed))
    task.check_test(open=True)
    if not t.held_out:  # of all that is trained on, not of the half a search would train on
        task.train_on_all()
    if not t.held_out and not task.has_test:
        raise DataError(
            f"data {task.name!r} has no test part and held_out is 0, so that nothing could be "
            "measured; accepted: data with a test part, or a held_out share above 0"
        )
    return task


def part_of(t: Training) -> str:
    """The part that is trained on."""
    return "train" if t.held_out else "pool"


def spec_of(job: TrainJob, task: Task) -> NetworkSpec:
    """The network's sizes, with its auxiliary head if it is trained with one."""
    t = job.training
    return NetworkSpec(
        channels=t.network.channels,
        depth=t.network.depth,
        classes=task.outputs(),
        in_channels=task.in_channels,
        dropout=t.network.dropout,
        auxiliary=t.network.auxiliary > 0,
    )


def fitting_of(job: TrainJob, task: Task, devices: Devices, name: str) -> Fitting:
    """All that the loop over seeds and epochs needs.

    Args:
        job: what is trained.
        task: on what.
        devices: where.
        name: fingerprint of the configuration, kept in the checkpoint.
    """
    spec = spec_of(job, task)
    names = deployed_names(job.space, job.arch, spec)

    anew = isinstance(job.space, ModuleSpace) and job.training.network.fresh_weights
    untrained = _untrained(job, task) if anew else ()

    def make(seed: int) -> nn.Module:
        with forked_rng(seed=seed_for(seed, "weights")):
            net = network(job.space, job.arch, spec)
            if anew:
                reinitialise(net, untrained)
        return net

    def save(net: nn.Module, seed: int, kind: str, epoch: int) -> None:
        signature = signed(
            job.space,
            job.arch,
            deployed(spec),
            task,
            data=job.data,
            seed=seed,
            weights=kind,
            epoch=epoch,
            split=split_sentence(job, task),
            settings=to_mapping(job.training),
        )
        write_weights(weights_file(job.path, seed, kind), net, signature, names)

    return Fitting(
        training=job.training,
        task=task,
        part=part_of(job.training),
        make=make,
        save=save,
        devices=devices,
        identity=name,
        text=job.space.format(job.arch),
        own=isinstance(job.space, ModuleSpace),
    )


def kept_weights(job: TrainJob, task: Task) -> tuple[str, ...]:
    """A sentence for each kind of weights of a user's module that a training does not draw anew."""
    if not isinstance(job.space, ModuleSpace) or not job.training.network.fresh_weights:
        return ()
    untrained = _untrained(job, task)
    with forked_rng():
        net = network(job.space, job.arch, spec_of(job, task))
        kept = {path for path, _ in frozen_parts(net, untrained)}
        trained = any(
            name.endswith("num_batches_tracked") and int(buffer) > 0
            for name, buffer in net.named_buffers()
            if name.rpartition(".")[0] not in kept
        )
        undrawn = reinitialise(net, untrained)
    frozen = [name for name, weight in net.named_parameters() if not weight.requires_grad]
    said = []
    if trained:
        said.append(
            "your module has been trained before, as its batch norms tell, and its weights are "
            "drawn anew: fresh_weights=False begins with those it has, and requires_grad_(False) "
            "keeps a part of it"
        )
    if undrawn:
        said.append(
            "not from scratch: no reset_parameters draws these weights or tables of your module "
            f"anew, and at every seed they begin as they are: {_listed(undrawn)}"
        )
    if frozen:
        said.append(
            "not from scratch: these weights of your module are frozen (requires_grad is False) "
            "and stay as they are, as the statistics of frozen batch norms do: "
            f"{_listed(frozen)}"
        )
    if untrained:
        said.append(
            "not from scratch: these weights of your module get no gradient (torch.no_grad, "
            f"detach, or out of reach of forward), and stay as they are: {_listed(untrained)}"
        )
    return tuple(said)


def _untrained(job: TrainJob, task: Task) -> tuple[str, ...]:
    """Weights of a user's network that no step moves, though they are not frozen."""
    with forked_rng():
        net = network(job.space, job.arch, spec_of(job, task))
    return without_gradient(net, some(task, "pool").x, "the network")


def _listed(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def weights_file(run: Path, seed: int, kind: str) -> Path:
    """Where the weights of a seed are: those of its `best` or of its `last` epoch."""
    return run / f"seed-{seed}-{kind}.safetensors"


def split_sentence(job: TrainJob, task: Task) -> str:
    """Which examples did what, in a sentence."""
    held_out, count, unit = job.training.held_out, task.length("pool"), task.unit
    train, valid = task.length("train"), task.length("valid")
    everything = f"all {count} training {unit}, those that a search used among them"
    if task.gathers:
        kept = "judged in each epoch on others, to choose the best" if held_out else "the last kept"
        text = f"trained on what the network itself gathered in {task.parts()['train']}; {kept}"
    elif held_out and task.own_valid:
        text = (
            f"trained on all {train} {unit} of the train part; the {valid} of "
            "the data's own validation part were held out, to choose the best epoch"
        )
    elif held_out:
        text = (
            f"of {everything}, {train} were trained on and {valid} held out, "
            "to choose the best epoch"
        )
    elif task.own_valid:
        text = (
            f"trained on all {count} {unit} of the train part and of the data's own validation "
            "part; the last epoch is kept"
        )
    else:
        text = f"trained on {everything}; the last epoch is kept"
    if task.has_test:
        return f"{text}; the test part was opened once, after the last training"
    return (
        f"{text}; the data have no test part, and the held-out {task.metric.name} is optimistic "
        "since it chose the epoch"
    )
