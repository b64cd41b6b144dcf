"""Settings of a training from scratch: the protocols of the publications, and a quick one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from morphogen.bilevel.optimisers import SGD, Adam, Optimiser
from morphogen.core import ConfigError
from morphogen.core.config import (
    Amount,
    Count,
    Depth,
    Natural,
    Rate,
    Repeats,
    Seed,
    Share,
    Threads,
    Width,
    altered,
    config,
    from_mapping,
    nested,
)
from morphogen.engine.devices import Accelerator, Precision
from morphogen.spaces import SearchSpace, about, registered
from morphogen.tasks.configs import AnyTaskConfig, TaskConfig

BATCH_SIZE = 96
"""What is taken where nothing is asked for and the data have as many."""


@config
class TrainedNetwork:
    """Network: its size, and what it has for training only."""

    channels: Width = 16
    """C, channels of the first cells (a user's own module has its own)"""
    depth: Depth = 1
    """NAS-Bench-201: N, cells per stage; DARTS space: cells in all"""
    drop_path: Share = 0.0
    """probability that an operation's output is dropped, rising linearly from 0 to it; DARTS space
    only"""
    dropout: Share = 0.0
    """probability that an element of a layer's output is dropped; networks of sequences"""
    auxiliary: Amount = 0.0
    """weight of the auxiliary head's loss; 0: no such head; DARTS space only"""
    fresh_weights: bool = True
    """your own module: draw its weights anew for every seed; off: start from those it has"""


@config
class TrainingHardware:
    """Hardware: on what it is trained."""

    accelerator: Accelerator = "cpu"
    """cpu, cuda, mps or auto"""
    precision: Precision = "32-true"
    """bf16-mixed: convolutions in bfloat16"""
    threads: Threads = 0
    """CPU threads; 0: torch's own choice"""


@config
class Training:
    """How an architecture is trained from scratch; the defaults take minutes on two cores.

    A part may be given by its class or as a mapping: `Training(network={"channels": 36})`.
    """

    seed: Seed = 0
    """of the first training; every random stream comes from it"""
    seeds: Repeats = 1
    """trainings, with seeds seed, seed + 1, ...; from two on, the accuracy has an interval"""
    epochs: Count = 12
    """passes over the training examples, of each training; where nobody sets them and images or
    signals are few, as many as draw 200,000 of them, 300 at most"""
    batch_size: Natural = 0
    """examples of a batch; 0: 96, or fewer where the data are few"""
    held_out: Share = 0.1
    """share of the training examples that is not trained on: it chooses the best epoch and stops
    early; a validation part of the data's own is held out instead; 0: train on all, that part too,
    and keep the last epoch"""
    patience: Natural = 0
    """stop after so many epochs without a better held-out accuracy; 0: never"""
    optimiser: Literal["sgd", "adam"] = "sgd"
    """sgd, or adam, which Transformers need"""
    lr: Rate = 0.05
    """learning rate, from which a cosine falls to lr-end, epoch by epoch"""
    lr_end: Amount = 0.0
    """learning rate that the cosine would reach after the last epoch; of adam, 0: lr throughout"""
    momentum: Share = 0.9
    """momentum of sgd"""
    nesterov: bool = True
    """Nesterov's momentum, of sgd"""
    betas: tuple[Share, Share] = (0.9, 0.98)
    """decay of the two moments of adam"""
    warm_up: Natural = 0
    """of adam: steps, at most half of all, in which the learning rate rises to lr, to fall
    with the root of the steps after that; 0: neither"""
    eps: Amount = 1e-8
    """of adam: added to the root of the second moment"""
    weight_decay: Amount = 5e-4
    """L2 penalty, added to the gradient"""
    clip: Amount = 5.0
    """largest norm of the gradient; 0: no clipping"""
    loggers: str = ""
    """where epochs are written besides the run directory: tensorboard, mlflow, wandb (offline
    unless WANDB_MODE says otherwise), or several, e.g. tensorboard,mlflow"""
    task: AnyTaskConfig = None
    """what only data of their kind can be asked for; None: the defaults of that kind"""
    network: TrainedNetwork = TrainedNetwork()
    hardware: TrainingHardware = TrainingHardware()

    @property
    def descent(self) -> Optimiser:
        """The optimiser of the weights, as searches are configured with it."""
        if self.optimiser == "adam":
            return Adam(
                lr=self.lr,
                lr_end=self.lr_end,
                betas=self.betas,
                weight_decay=self.weight_decay,
                clip=self.clip,
                warm_up=self.warm_up,
                eps=self.eps,
            )
        return SGD(
            lr=self.lr,
            lr_end=self.lr_end,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            clip=self.clip,
        )

    def __post_init__(self) -> None:
        if self.warm_up and self.optimiser != "adam":
            raise ConfigError(
                f"warm_up is {self.warm_up} and optimiser {self.optimiser!r}; accepted: optimiser "
                "adam, or warm_up 0"
            )
        if self.patience and not self.held_out:
            raise ConfigError(
                f"patience is {self.patience} and held_out is 0; accepted: a held_out share, by "
                "which to stop, or patience 0"
            )


def paper_training(space: SearchSpace | str, task: TaskConfig | None = None) -> Training:
    """The published evaluation protocol of a space.

    Args:
        space: of the architecture.
        task: what the data are asked for where the protocol says nothing.

    Raises:
        ConfigError: none is published for it here.
    """
    known = about(space)
    if known is None or known.evaluation is None:
        name = space if isinstance(space, str) else space.name
        published = [other.name for other in registered().values() if other.evaluation is not None]
        raise ConfigError(
            f"preset 'paper' has no evaluation protocol for space {name!r}; accepted: preset "
            f"quick, or a space of {', '.join(published)}"
        )
    return _made(known.evaluation, task)


def quick_training(space: SearchSpace | str, task: TaskConfig | None = None) -> Training:
    """A training of minutes on two cores.

    Args:
        space: of the architecture.
        task: what the data are asked for.
    """
    return _made(_quick(space, task), task)


def own_descent(
    space: SearchSpace | str | None, task: TaskConfig | None = None
) -> Optimiser | None:
    """The optimiser of networks of a space, or on data of a kind, that have one of their own.

    Its rate is constant, or falls as space or kind say: to the end of whichever training it is.
    None where the usual one of who trains them does.
    """
    numbers = _quick(space, task)
    return _made(numbers, task).descent if "optimiser" in numbers else None


def _quick(space: SearchSpace | str | None, task: TaskConfig | None) -> dict[str, Any]:
    known = None if space is None else about(space)
    return {**(known.quick if known else {}), **({} if task is None else task.trains)}


def _made(numbers: Mapping[str, Any], task: TaskConfig | None) -> Training:
    """Numbers of the training and, under `task.`, of the data, over what those are asked for."""
    if task is None:
        return from_mapping(Training, nested(numbers))
    of_data = {n.partition(".")[2]: v for n, v in numbers.items() if n.startswith("task.")}
    others = {n: v for n, v in numbers.items() if not n.startswith("task.")}
    return replace(from_mapping(Training, nested(others)), task=altered(task, of_data))
