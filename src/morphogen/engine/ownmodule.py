"""A user's own module, and any network, tried on a few examples before a run begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from morphogen.core import ConfigError, SpaceError
from morphogen.core.rng import seed_for
from morphogen.cost import published
from morphogen.spaces import ModuleSpace, SearchSpace
from morphogen.supernets import explained, network, train_mode
from morphogen.supernets.checks import WHOSE, backward, is_lazy, materialised, try_module
from morphogen.supernets.global_rng import forked_rng
from morphogen.supernets.nested import call, device_of, first, length_of, shapes
from morphogen.tasks import Batch, Task


def some(task: Task, part: str, count: int = 2, *, device: torch.device | str = "cpu") -> Batch:
    """The first `count` examples of a part, as a network gets them without augmentation."""
    return next(task.once(part, count, limit=count, device=device))


def try_network(net: nn.Module, batch: Batch, task: Task, *, auxiliary: bool) -> None:
    """Run a network that is to be trained: a step without the step, and in evaluation mode.

    Args:
        net: the network; its statistics move.
        batch: on its device.
        task: what the outputs are for.
        auxiliary: whether it gives a second output, in train mode.

    Raises:
        SpaceError: it raises something, or gives what the loss does not take.
    """
    whose = "the network"
    for name, held in net.state_dict().items():
        if not isinstance(held, Tensor):
            raise SpaceError(
                f"{whose} keeps a {type(held).__name__} in its state ({name}), which no file of "
                "weights can hold; accepted: get_extra_state that gives a tensor, or none"
            )
    accepted = f"one that takes them and gives {task.accepted_output(batch)}"
    with forked_rng(device_of(batch.x)), explained(net, batch.x, whose, accepted):
        output = call(train_mode(net), batch.x)
        output = output[0] if auxiliary else output
        task.check_output(output, batch, whose=whose)
        backward(net, output)
        with torch.no_grad():
            task.check_output(call(net.eval(), batch.x), batch, whose=whose)


def try_space(
    space: SearchSpace, task: Task, part: str, *, batch_size: int, seed: int
) -> tuple[SearchSpace, tuple[str, ...]]:
    """What a search should know of a user's module before it begins.

    Args:
        space: any space; a built-in one is tried on a task of one's own only.
        task: the data.
        part: of which a few examples are shown to the module.
        batch_size: examples of a batch in one process.
        seed: of the weights of lazy layers.

    Returns:
        The space, its module without lazy layers; and sentences on what is odd.

    Raises:
        SpaceError: the module does not fit the data, or fails.
    """
    if not isinstance(space, ModuleSpace):
        batch = some(task, part, min(2, batch_size))
        require_axes(space, batch)
        if not task.kind:  # of the kinds it is known which spaces serve
            try_built_in(space, batch, task)
        return space, ()
    batch = some(task, part, min(2, batch_size))
    known = materialised(space, batch.x, seed_for(seed, "weights"))
    odd: dict[str, None] = {}  # in the order in which they are seen, each once

    def require(output: Any, x: Any) -> None:
        y = first(batch.y, length_of(x))
        shown = Batch(x, y, task.units(y))
        odd.update(dict.fromkeys(task.check_output(output, shown, whose=WHOSE)))

    said = try_module(known, batch.x, require)
    return known, (*said, *odd)


def require_axes(space: SearchSpace, batch: Batch) -> None:
    """Refuse inputs that are no pictures, or no signals, where the space is of networks for them.

    Raises:
        SpaceError: the space takes other inputs.
    """
    dims, x = space.spatial_dims, batch.x
    if dims and not (isinstance(x, Tensor) and x.is_floating_point() and x.ndim == 2 + dims):
        axes = ", ".join(("n", "channels", *(("height", "width") if dims == 2 else ("time",))))
        raise SpaceError(
            f"space {space.name!r} takes one tensor [{axes}] of floating-point numbers, and the "
            f"inputs of the task are {shapes(x)}; accepted: such inputs, or a module of your own"
        )


def try_built_in(space: SearchSpace, batch: Batch, task: Task) -> None:
    """Run a network of a built-in space on a task of one's own, and see that they fit.

    Args:
        space: without code of the user's.
        batch: a few examples.
        task: what the outputs are for.

    Raises:
        ConfigError: it is not known how many outputs a network needs.
        SpaceError: the loss takes other outputs.
    """
    x = batch.x
    if not task.outputs():
        raise ConfigError(
            f"outputs of the task is None; accepted for space {space.name!r}: the number of "
            "outputs that a network needs, of classes or of targets"
        )
    spec = replace(published(space), classes=task.outputs(), in_channels=task.in_channels)
    with forked_rng(seed=0), torch.no_grad():
        net = network(space, space.sample(np.random.default_rng(0)), spec).eval()
        whose = f"a network of space {space.name!r}"
        accepted = f"one that takes them and gives {task.accepted_output(batch)}"
        with explained(net, x, whose, accepted):
            task.check_output(net(x), batch, whose=whose)


def resumed_space(space: SearchSpace, task: Callable[[], Task], seed: int) -> SearchSpace:
    """The space of a run that goes on, its lazy layers as they were when it began."""
    if not isinstance(space, ModuleSpace) or not is_lazy(space):
        return space
    return materialised(space, some(task(), "train").x, seed_for(seed, "weights"))
