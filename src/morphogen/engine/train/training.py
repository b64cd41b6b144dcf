"""Settings of a training from scratch: the protocols of the publications, and a quick one."""

from __future__ import annotations

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
    Side,
    Threads,
    Width,
    config,
    from_mapping,
)
from morphogen.engine.devices import Accelerator, Precision
from morphogen.spaces import SearchSpace, about, registered
from morphogen.tasks.classification import Augment


@config
class Training:
    """How an architecture is trained from scratch; the defaults take minutes on two cores."""

    seed: Seed = 0
    """of the first training; every random stream comes from it"""
    seeds: Repeats = 1
    """trainings, with seeds seed, seed + 1, ...; from two on, the accuracy has an interval"""
    epochs: Count = 12
    """passes over the training images, of each training"""
    batch_size: Count = 96
    """images of a batch"""
    image_size: Side = 16
    """height and width in pixels to which images are resized; 0: as they are"""
    channels: Width = 16
    """C, channels of the first cells (a user's own module has its own)"""
    depth: Depth = 1
    """NAS-Bench-201: N, cells per stage; DARTS space: cells in all"""
    lr: Rate = 0.05
    """learning rate of SGD, from which a cosine falls to lr-end, epoch by epoch"""
    lr_end: Amount = 0.0
    """learning rate that the cosine would reach after the last epoch"""
    momentum: Share = 0.9
    """momentum of SGD"""
    nesterov: bool = True
    """Nesterov's momentum"""
    weight_decay: Amount = 5e-4
    """L2 penalty of SGD"""
    label_smoothing: Share = 0.0
    """share of a label that goes to all classes alike (CIFAR: 0; ImageNet: 0.1)"""
    class_weights: str = "none"
    """weights of classes in the loss: none; balanced, for every class the same
    in all; or numbers, for classes that are not named 1: 'cat=2, dog=0.5'"""
    clip: Amount = 5.0
    """largest norm of the gradient; 0: no clipping"""
    flip: bool = True
    """mirror training images at random; off for digits, letters and wherever sides matter"""
    crop: bool = True
    """shift training images at random, by an eighth of their size at most"""
    cutout: Side = 0
    """side in pixels of the square that is cut out of training images; 0: none"""
    drop_path: Share = 0.0
    """probability that an operation's output is dropped, rising linearly from 0 to it; DARTS space
    only"""
    auxiliary: Amount = 0.0
    """weight of the auxiliary head's loss; 0: no such head; DARTS space only"""
    held_out: Share = 0.1
    """share of the training images that is not trained on: it chooses the best epoch and stops
    early; a validation part of the data's own is held out instead; 0: train on all, that part too,
    and keep the last epoch"""
    patience: Natural = 0
    """stop after so many epochs without a better held-out accuracy; 0: never"""
    fresh_weights: bool = True
    """your own module: draw its weights anew for every seed; off: start from those it has"""
    precision: Precision = "32-true"
    """bf16-mixed: convolutions in bfloat16"""
    accelerator: Accelerator = "cpu"
    """cpu, cuda, mps or auto"""
    threads: Threads = 0
    """CPU threads; 0: torch's own choice"""
    loggers: str = ""
    """where epochs are written besides the run directory: tensorboard, mlflow, wandb (offline
    unless WANDB_MODE says otherwise), or several, e.g. tensorboard,mlflow"""

    def __post_init__(self) -> None:
        if self.patience and not self.held_out:
            raise ConfigError(
                f"patience is {self.patience} and held_out is 0; accepted: a held_out share, by "
                "which to stop, or patience 0"
            )

    @property
    def augment(self) -> Augment:
        """What training images undergo."""
        return Augment(padding=None if self.crop else 0, flip=self.flip, cutout=self.cutout)

    @property
    def size(self) -> int | None:
        """Pixels to which images are resized, if they are."""
        return self.image_size or None


def paper_training(space: SearchSpace | str) -> Training:
    """The published evaluation protocol of a space.

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
    return from_mapping(Training, known.evaluation)


def quick_training(space: SearchSpace | str) -> Training:
    """A training of minutes on two cores."""
    known = about(space)
    return from_mapping(Training, known.quick if known else {})
