"""A user's own module, and any network, tried on a few images before a run begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from morphogen.core import SpaceError
from morphogen.core.rng import seed_for
from morphogen.spaces import ModuleSpace, SearchSpace
from morphogen.supernets import explained, train_mode
from morphogen.supernets.draws import aside
from morphogen.supernets.trying import WHOSE, backward, is_lazy, materialised, try_module
from morphogen.tasks.classification import ImageTask


def some_images(task: ImageTask, part: str, count: int = 2) -> Tensor:
    """The first `count` of a part, as a network gets them: float [count, channels, h, w]."""
    return next(task.once(part, count, limit=count)).x  # type: ignore[no-any-return]


def require_scores(scores: Any, x: Tensor, task: ImageTask, *, whose: str) -> None:
    """A `SpaceError` unless `scores` are those of images `x`: a row for each, a column per class.

    Args:
        scores: what a network gave.
        x: what it was given.
        task: which classes there are.
        whose: what the message calls the network.
    """
    shape: Any = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
    if len(shape) != 2 or shape[0] != len(x) or shape[1] < len(task.classes):
        raise SpaceError(
            f"{whose} gives {shape} for images {list(x.shape)}; accepted: {_accepted(x, task)}"
        )


def try_network(net: nn.Module, x: Tensor, task: ImageTask, *, auxiliary: bool) -> None:
    """Run a network that is to be trained: a step without the step, and in evaluation mode.

    Args:
        net: the network; its statistics move.
        x: a batch.
        task: which classes there are.
        auxiliary: whether it gives a second output, in train mode.

    Raises:
        SpaceError: it raises something, or gives no scores.
    """
    whose = "the network"
    for name, held in net.state_dict().items():
        if not isinstance(held, Tensor):
            raise SpaceError(
                f"{whose} keeps a {type(held).__name__} in its state ({name}), which no file of "
                "weights can hold; accepted: get_extra_state that gives a tensor, or none"
            )
    accepted = f"one that takes them and gives {_accepted(x, task)}"
    with aside(x.device), explained(net, x, whose, accepted):
        output = train_mode(net)(x)
        scores = output[0] if auxiliary else output
        require_scores(scores, x, task, whose=whose)
        backward(net, scores)
        with torch.no_grad():
            require_scores(net.eval()(x), x, task, whose=whose)


def try_space(
    space: SearchSpace, task: ImageTask, part: str, *, batch_size: int, seed: int
) -> tuple[SearchSpace, tuple[str, ...]]:
    """What a search should know of a user's module before it begins.

    Args:
        space: any space; others than a user's module are left alone.
        task: the data.
        part: of which a few are shown to the module.
        batch_size: images of a batch in one process.
        seed: of the weights of lazy layers.

    Returns:
        The space, its module without lazy layers; and sentences on what is odd.

    Raises:
        SpaceError: the module does not fit the data, or fails.
    """
    if not isinstance(space, ModuleSpace):
        return space, ()
    x = some_images(task, part, min(2, batch_size))
    known = materialised(space, x, seed_for(seed, "weights"))
    columns: set[int] = set()

    def require(scores: Any, some: Tensor) -> None:
        require_scores(scores, some, task, whose=WHOSE)
        columns.add(scores.shape[1])

    said = try_module(known, x, require)
    more = max(columns) - len(task.classes)
    if more:
        said += (
            f"your module gives {max(columns)} scores for {len(task.classes)} classes: {more} of "
            "them are for no class of the data, and wrong wherever they are largest",
        )
    return known, said


def settled(space: SearchSpace, task: Callable[[], ImageTask], seed: int) -> SearchSpace:
    """The space of a run that goes on, its lazy layers as they were when it began."""
    if not isinstance(space, ModuleSpace) or not is_lazy(space):
        return space
    made = task()
    return materialised(space, some_images(made, "train"), seed_for(seed, "weights"))


def _accepted(x: Tensor, task: ImageTask) -> str:
    return f"scores [{len(x)}, {len(task.classes)}], one for each image and class"
