"""The loop that trains one architecture from scratch, seed after seed, epoch after epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from morphogen.bilevel.optimisers import gradient_step
from morphogen.core import CheckpointError, ConfigError, NumericalError, SpaceError
from morphogen.core.rng import seed_for
from morphogen.engine.record.evaluating import running, sums_of
from morphogen.engine.record.recorder import Recorder
from morphogen.engine.train.training import Training
from morphogen.runs import checkpoint
from morphogen.supernets import evaluating, train_mode
from morphogen.supernets.nested import call, mapped
from morphogen.tasks import Examples, Stream, Sums, Task
from morphogen.tasks.metric import added
from morphogen.tasks.problem import Clock, Devices, trainable


@dataclass
class Fit:
    """Everything that a training changes; captured in the checkpoint."""

    net: nn.Module
    optimiser: torch.optim.Optimizer
    stream: Stream
    number: int
    """Of this training among the seeds, from 0."""
    epoch: int = 0
    """Finished epochs of this training."""
    best: float = -1.0
    """Best held-out score so far."""
    best_epoch: int = 0


@dataclass(frozen=True)
class Fitting:
    """What all trainings of a run have in common."""

    training: Training
    task: Task
    part: str
    """Part of the task that is trained on: `train`, or `pool` where nothing is held out."""
    make: Callable[[int], nn.Module]
    """Network of a seed, its weights drawn from it."""
    save: Callable[[nn.Module, int, str, int], None]
    """Write the weights of a network: seed, `best` or `last`, epoch."""
    devices: Devices
    identity: str
    text: str
    """The architecture."""
    own: bool = False
    """Whether the network is of a user's module: what it raises is then explained."""

    def running(self, net: nn.Module, x: Any) -> AbstractContextManager[None]:
        """The context in which the network runs on inputs `x`."""
        return running(net, x, own=self.own)

    def start(self, number: int) -> Fit:
        """The training with the given number, before its first step."""
        t = self.training
        seed = t.seed + number
        torch.manual_seed(seed_for(seed, "torch"))  # drop-path and users' dropout
        net = train_mode(self.devices.placed(self.make(seed)))
        if t.network.drop_path and not hasattr(net, "drop_path"):
            raise ConfigError(
                f"drop_path is {t.network.drop_path:g}, and the network has none; accepted: 0, or "
                "a network of the DARTS space"
            )
        if t.network.auxiliary and getattr(net, "auxiliary", None) is None:
            raise ConfigError(
                f"auxiliary is {t.network.auxiliary:g}, and the network has no such head; "
                "accepted: 0, or a network of the DARTS space"
            )
        weights = trainable(net)
        if not weights:
            raise SpaceError(
                f"the network of {self.text} has no weight to train; accepted: at least one with "
                "requires_grad"
            )
        optimiser = t.descent.make(weights.values())
        generator = torch.Generator().manual_seed(seed_for(seed, "data/train"))
        stream = self.task.stream(self.part, t.batch_size, generator, device=self.devices.device)
        return Fit(net, optimiser, stream, number)


def run(
    fitting: Fitting, recorder: Recorder, content: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Train every seed, from the start or from a checkpoint's content; the lines of the record.

    Raises:
        NumericalError: the loss is not finite.
        CheckpointError: the content does not fit.
    """
    t = fitting.training
    history: list[dict[str, Any]] = []
    fit: Fit | None = None
    if content is not None:
        history = list(content["history"])
        number = content["state"].get("number")
        if type(number) is not int or not 0 <= number < t.seeds:
            raise CheckpointError(
                f"the checkpoint's training is number {number}; accepted: 0 to {t.seeds - 1}"
            )
        fit = fitting.start(number)
        checkpoint.restore(fit, content["state"])
        checkpoint.restore_rng(content, fitting.devices.device)
    recorder.start(history)
    for number in range(fit.number if fit else 0, t.seeds):
        if fit is None or fit.number != number:
            fit = fitting.start(number)
        while fit.epoch < t.epochs and not _exhausted(fit, t):
            row = _epoch(fitting, fit, recorder)
            history.append(row)
            state = checkpoint.capture(fit)
            checkpoint.require_finite(state, row["epoch"])
            recorder.save(
                row,
                {
                    "identity": fitting.identity,
                    "state": state,
                    **checkpoint.rng_states(fitting.devices.device),
                },
            )
    return history


def _exhausted(fit: Fit, t: Training) -> bool:
    return bool(t.patience) and fit.epoch - fit.best_epoch >= t.patience


def _epoch(fitting: Fitting, fit: Fit, recorder: Recorder) -> dict[str, Any]:
    """One pass over the training examples, and the held-out metric after it."""
    t, stream = fitting.training, fit.stream
    wall, cpu = time.perf_counter(), time.process_time()
    # As in DARTS: the rate is constant within an epoch, and so is the probability of drop-path.
    if t.network.drop_path:
        fit.net.drop_path = t.network.drop_path * (fit.epoch / t.epochs)  # type: ignore[assignment]
    stream.refresh(lambda x: _acted(fitting, fit.net, x))
    steps, done = stream.steps_per_epoch, fit.number * t.epochs + fit.epoch
    loss_sum = torch.zeros((), device=fitting.devices.device)
    task, total = fitting.task, dict[str, Tensor]()
    train_mode(fit.net)
    descent = t.descent
    weights = list(trainable(fit.net).values())
    for step in range(steps):
        loss, total_loss, sums = _forward(fitting, fit)
        clock = Clock(fit.epoch, t.epochs, step, steps)
        gradient_step(fit.optimiser, weights, total_loss, descent, clock, _laid_out)
        loss_sum += loss
        total = added(total, sums)
        recorder.watcher.stepped(Clock(done, t.epochs * t.seeds, step + 1, steps))
    mean = float(loss_sum) / steps
    if not math.isfinite(mean):
        raise NumericalError(
            f"the training loss is {mean} in epoch {fit.epoch + 1}; the last checkpoint is from "
            "before; a smaller lr or a tighter clip may help"
        )
    lr = descent.at(Clock(fit.epoch, t.epochs, 0, steps))
    fit.epoch += 1
    row: dict[str, Any] = {
        "epoch": done + 1,
        "seed": t.seed + fit.number,
        "seed_epoch": fit.epoch,
        "architecture": fitting.text,
        "train_loss": mean,
        **_train_figures(task, total, stream),
        "lr": lr,
    }
    seed = t.seed + fit.number
    if t.held_out:
        value = row[f"held_out_{task.metric.name}"] = measured(fitting, fit.net, "valid")
        if not fit.best_epoch or task.metric.score(value) > fit.best:
            fit.best, fit.best_epoch = task.metric.score(value), fit.epoch
            fitting.save(fit.net, seed, "best", fit.epoch)
    fitting.save(fit.net, seed, "last", fit.epoch)
    row["examples"] = {"train": stream.seen}
    row["seconds"] = round(time.perf_counter() - wall, 3)
    row["cpu_seconds"] = round(time.process_time() - cpu, 3)
    return row


def _acted(fitting: Fitting, net: nn.Module, x: Any) -> Any:
    """The network's output in evaluation mode, with which examples are gathered."""
    with evaluating(net), fitting.running(net, x), fitting.devices.autocast():
        output = call(net, x)
    return mapped(Tensor.float, output)


def _train_figures(task: Task, total: Sums, stream: Stream) -> dict[str, float]:
    """What the metric is on the training examples, or what was gathered with the network."""
    if task.gathers:
        return {f"train_{name}": value for name, value in stream.told.items()}
    return {} if task.metric.name == "loss" else {f"train_{task.metric.name}": task.value(total)}


def _forward(fitting: Fitting, fit: Fit) -> tuple[Tensor, Tensor, Sums]:
    """On the next batch the loss of the main head, that of all heads, what the metric needs."""
    x, y, size = fit.stream.next()
    with fitting.running(fit.net, x), fitting.devices.autocast():
        scores = call(fit.net, x)
    extra: Tensor | None = None
    if fitting.training.network.auxiliary:
        scores, extra = scores
    scores = mapped(Tensor.float, scores)
    loss = fitting.task.loss(scores, y, train=True)
    total = loss
    if extra is not None:
        beside = fitting.task.loss(extra.float(), y, train=True)
        total = loss + fitting.training.network.auxiliary * beside
    counts = {} if fitting.task.gathers else fitting.task.counts(mapped(Tensor.detach, scores), y)
    return loss.detach(), total, {**counts, "size": loss.new_tensor(size, dtype=torch.float64)}


def _laid_out(gradients: list[Tensor]) -> list[Tensor]:
    """The gradients in the order of memory that `backward` gives them, by which norms are summed.

    There is one process, whose gradients are the mean.
    """
    return [gradient.contiguous() for gradient in gradients]


def measured(fitting: Fitting, net: nn.Module, part: str | Examples) -> float:
    """The task's metric on a part, or on the opened test part, in evaluation mode."""
    return fitting.task.value(sums(fitting, net, part))


def sums(fitting: Fitting, net: nn.Module, part: str | Examples) -> Sums:
    """The sums from which it is computed."""
    seed, own = fitting.training.seed, fitting.own
    return sums_of(net, fitting.task, part, fitting.devices, seed=seed, own=own)
