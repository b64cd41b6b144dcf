"""A user's module is tried before a search: what does not fit is said before any training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy as is_lazy_tensor

from morphogen.core import Architecture, SpaceError
from morphogen.spaces import ModuleSpace
from morphogen.supernets.base import NetworkSpec, network
from morphogen.supernets.failures import explained
from morphogen.supernets.fresh import train_mode
from morphogen.supernets.gates import Gates
from morphogen.supernets.global_rng import forked_rng
from morphogen.supernets.nested import call, device_of, first, tensors_of
from morphogen.supernets.oneof import Watch, watching
from morphogen.supernets.own import ModuleSupernet, space_of

WHOSE = "your module"


def check(module: nn.Module, example_input: Any) -> Any:
    """Try every option once, before any search: a copy of the module runs with all gates soft.

    Args:
        module: a network with `OneOf` in it; neither its weights nor its statistics change.
        example_input: what its `forward` takes, for example images [1, channels, height, width];
            several inputs as a tuple or dict.

    Returns:
        The output, computed in evaluation mode without gradients.

    Raises:
        SpaceError: what `space_of` raises; what the module raises, with the place; options whose
            outputs cannot be summed, with the choice, the options and their shapes.
    """
    space = space_of(module)
    supernet = ModuleSupernet(space).eval()
    with torch.no_grad():
        return _soft(supernet, example_input)


def try_module(
    space: ModuleSpace, x: Any, require_scores: Callable[[Any, Any], None]
) -> tuple[str, ...]:
    """Run a copy of the module in every way in which a search would, and say what is odd.

    All options mixed in train and in evaluation mode, with a backward pass; then, in so many paths
    as there are options of a choice, each option by itself.

    Args:
        space: of the module, which does not change.
        x: what its `forward` takes, a batch of the size that is trained on, or a smaller one.
        require_scores: raises a `SpaceError` if its first argument is no output for its second.

    Returns:
        Sentences: choices that the module does not reach, in one mode or in both.

    Raises:
        SpaceError: the module raises something; options cannot be mixed; nothing can be learnt;
            an operation in place makes a path of the supernet another network than it is alone.
    """
    supernet = ModuleSupernet(space)
    _check_weights(supernet, x)
    place = device_of(x)
    supernet.to(place)
    with forked_rng(place, seed=0):
        with torch.enable_grad(), watching() as trained:
            output = _soft(train_mode(supernet), x)
            require_scores(output, x)
            with explained(supernet, x, f"the backward pass of {WHOSE}"):
                _check_gradient(supernet, output)
        with torch.no_grad(), watching() as asked:
            for some in (x, first(x, 1)):
                require_scores(_soft(supernet.eval(), some), some)
    for arch in _paths(space):
        _check_path(space, supernet, arch, x)
    return _unreached(space, trained, asked)


def is_lazy(space: ModuleSpace) -> bool:
    """Whether the module of `space` has layers that take their sizes from their first input."""
    return space.module is not None and bool(_lazy(space.module))


def materialised(space: ModuleSpace, x: Any, seed: int) -> ModuleSpace:
    """`space`, the lazy layers of whose module (`nn.LazyConv2d`) have their sizes and weights.

    Args:
        space: of the module, which does not change.
        x: what its `forward` takes.
        seed: of the weights of lazy layers.

    Raises:
        SpaceError: a lazy layer is not reached by a forward pass.
    """
    if not is_lazy(space):
        return space
    supernet = ModuleSupernet(space)
    modes = [(module, module.training) for module in supernet.modules()]
    place = device_of(x)
    with forked_rng(place, seed=seed), torch.no_grad():
        _soft(supernet.eval().to(place), x)
    for module, training in modes:
        module.training = training
    left = _lazy(supernet.module)
    if left:
        raise SpaceError(
            f"{WHOSE} has lazy layers that its forward does not reach ({', '.join(left)}), so that "
            "their sizes stay unknown; accepted: layers of known sizes"
        )
    known = copy(space)
    known.module = supernet.module
    return known


def _lazy(module: nn.Module) -> list[str]:
    """Names of the weights whose sizes are not known yet."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return [name for name, tensor in named if is_lazy_tensor(tensor)]


def _soft(supernet: ModuleSupernet, x: Any) -> Any:
    """The output with all options of equal weight."""
    space, place = supernet.space, device_of(x)
    floating = [t.dtype for t in tensors_of(x) if t.is_floating_point()]
    dtype = floating[0] if floating else torch.get_default_dtype()
    weights = {
        group: torch.full(mask.shape, 1 / mask.shape[-1], device=place, dtype=dtype)
        for group, mask in space.masks.items()
    }
    with explained(supernet.module, x, WHOSE):
        return supernet(x, Gates.dense(space, weights))


def _check_weights(supernet: ModuleSupernet, x: Any) -> None:
    floating = {t.dtype for t in tensors_of(x) if t.is_floating_point()}
    for name, weight in supernet.module.named_parameters():
        if weight.is_meta:
            raise SpaceError(
                f"{WHOSE} has weights without values, on the device meta ({name}); accepted: "
                "module.to_empty(device='cpu') and weights for it"
            )
        if weight.is_floating_point() and floating and weight.dtype not in floating:
            raise SpaceError(
                f"{WHOSE} has weights of {weight.dtype} ({name}) for inputs of "
                f"{', '.join(map(str, floating))}; "
                "accepted: module.float(); precision bf16-mixed computes in bfloat16"
            )


def backward(net: nn.Module, output: Any) -> bool:
    """Take the gradient of a network's output by its weights; whether any has one."""
    weights = [w for w in net.parameters() if w.requires_grad]
    parts = [t.float().sum() for t in tensors_of(output) if t.requires_grad]
    if not weights or not parts:
        return False
    found = torch.autograd.grad(torch.stack(parts).sum(), weights, allow_unused=True)
    return any(gradient is not None for gradient in found)


def without_gradient(net: nn.Module, x: Any, whose: str) -> tuple[str, ...]:
    """Names of the weights of `net` that are not frozen and yet get no gradient in train mode.

    They stand behind `torch.no_grad` or `detach`, or `forward` does not reach them with `x`.

    Args:
        net: the network; its statistics move.
        x: inputs of a batch.
        whose: what messages call it.
    """
    named = {name: w for name, w in net.named_parameters() if w.requires_grad}
    with forked_rng(device_of(x), seed=0), explained(net, x, whose):
        output = call(train_mode(net), x)
        output = output[0] if isinstance(output, tuple) else output
        if not isinstance(output, Tensor) or not output.requires_grad:
            return tuple(named)
        total = output.float().sum()
        found = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    return tuple(name for name, g in zip(named, found, strict=True) if g is None)


def _check_gradient(supernet: ModuleSupernet, output: Any) -> None:
    """That the scores depend on a weight, where there are weights to train."""
    weights = sum(w.requires_grad for w in supernet.parameters())
    if weights and not backward(supernet, output):  # methods say so where there are none
        raise SpaceError(
            f"the scores of {WHOSE} have no gradient by any of its {weights} weights, so that "
            "nothing can be learnt; accepted: a forward without torch.no_grad or detach around it"
        )


def _paths(space: ModuleSpace) -> Iterator[Architecture]:
    """As few architectures as have every option in one of them."""
    for turn in range(max(len(c.options) for c in space.choices)):
        kept = {c.name: c.options[turn % len(c.options)] for c in space.choices}
        yield space.check(Architecture(kept))


def _check_path(space: ModuleSpace, supernet: ModuleSupernet, arch: Architecture, x: Any) -> None:
    """That a path of the supernet is the network that it stands for.

    The two can differ only where something is changed in place, so that they are compared only
    then: a module may draw at random, and need not give one output twice.
    """
    device = device_of(x)
    gates = Gates.of(space, arch, device)
    with torch.no_grad(), explained(supernet.module, x, WHOSE):
        with forked_rng(device, seed=0), watching() as watch:
            train_mode(supernet)(x, gates)
        if not watch.in_place:
            return
        with forked_rng(device, seed=0):
            path = train_mode(ModuleSupernet(space).to(device))(x, gates)
    net = train_mode(network(space, arch, NetworkSpec()).to(device))
    with forked_rng(device, seed=0), explained(net, x, f"{WHOSE} with {space.format(arch)}"):
        alone = call(net, x)
        backward(net, alone)
    if not all(
        torch.allclose(one, other, rtol=1e-4, atol=1e-5, equal_nan=True)
        for one, other in zip(tensors_of(path), tensors_of(alone), strict=True)
    ):
        raise SpaceError(
            f"{WHOSE} is not what it seems to be with {space.format(arch)}: an operation in place "
            "(ReLU(inplace=True), x += y) changes what another part of the module reads too; "
            "accepted: operations that leave their input alone at the beginning of an option and "
            "after a choice (ReLU(), x = x + y)"
        )


def _unreached(space: ModuleSpace, trained: Watch, asked: Watch) -> tuple[str, ...]:
    said = []
    for choice in space.choices:
        modes = [choice.name in watch.reached for watch in (trained, asked)]
        if not any(modes):
            said.append(
                f"choice {choice.name!r} decides nothing: the forward pass of {WHOSE} did not "
                "reach it, in train mode nor in evaluation mode"
            )
        elif not all(modes):
            mode, other = ("train", "evaluation") if modes[0] else ("evaluation", "train")
            said.append(
                f"choice {choice.name!r} is reached in {mode} mode only: in {other} mode it "
                "decides nothing"
            )
    return tuple(said)
