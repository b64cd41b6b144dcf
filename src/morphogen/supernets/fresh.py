"""Weights of a user's network: drawn anew, or frozen by the user and then kept as they are.

A weight is frozen by `requires_grad_(False)`. A part of the network is frozen if it has weights and
all of them are; its running statistics then stay as they are too, and its norms use them, in
training as in evaluation: they belong to the weights that they were trained with.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

M = TypeVar("M", bound=nn.Module)


def frozen_parts(net: nn.Module, also: Collection[str] = ()) -> Iterator[tuple[str, nn.Module]]:
    """The modules with weights all of which are frozen, and what is inside them, by name.

    Args:
        net: the network.
        also: names of weights that count as frozen, besides those that are.
    """
    more = {id(weight) for name, weight in net.named_parameters() if name in also}

    def visit(module: nn.Module, path: str, inside: bool) -> Iterator[tuple[str, nn.Module]]:
        weights = list(module.parameters())
        # A module without weights (a batch norm that is not affine) goes with what is around it.
        moves = any(w.requires_grad and id(w) not in more for w in weights)
        inside = not moves if weights else inside
        if inside:
            yield path, module
        for name, child in module.named_children():
            yield from visit(child, f"{path}.{name}" if path else name, inside)

    return visit(net, "", False)


def train_mode(net: M) -> M:
    """`net` in train mode, but for the norms of frozen parts, which use their own statistics."""
    net.train()
    for norm in frozen_norms(net):
        norm.eval()
    return net


def frozen_norms(net: nn.Module) -> list[nn.Module]:
    """The modules in frozen parts that keep running statistics."""
    if all(weight.requires_grad for weight in net.parameters()):
        return []
    return [m for _, m in frozen_parts(net) if getattr(m, "running_mean", None) is not None]


def reinitialise(net: nn.Module, untrained: Collection[str] = ()) -> tuple[str, ...]:
    """Draw the weights of `net` anew, in place, from torch's generator: training from scratch.

    Calls `reset_parameters` (or `_reset_parameters`, as torch's attention has it) of every
    submodule that has one, children before parents, so that a module which sets its children's
    weights has the last word. Frozen parts keep their weights and buffers.

    Args:
        net: the network.
        untrained: names of weights that the training will not move either, and that are kept like
            frozen ones: drawn anew, they would stay so.

    Returns:
        Names of the weights, and of the floating-point buffers (tables of positions, say), that
        nobody drew and nobody froze: they have no such method, or it does not reach them (those
        behind a parametrization, such as weight norm). They keep their values.
    """
    weights = {n: w for n, w in net.named_parameters() if w.is_floating_point()}
    frozen = {
        n: t
        for path, module in frozen_parts(net, untrained)
        for n, t in module.named_buffers(path, recurse=False)
    } | {n: w for n, w in weights.items() if not w.requires_grad or n in untrained}
    buffers = {n: b for n, b in net.named_buffers() if b.is_floating_point() and n not in frozen}
    loose = {n: w for n, w in weights.items() if n not in frozen and not _computed_from(net, n)}
    counted = {n: w for n, w in weights.items() if n not in frozen and n not in loose} | buffers
    kept = {n: t.detach().clone() for n, t in (frozen | loose | counted).items()}
    with torch.no_grad():
        # What is still no number after the drawing was not drawn.
        for weight in loose.values():
            weight.fill_(torch.nan)
        counts = {n: t._version for n, t in counted.items()}
        _reset(net)
        now = dict(net.named_parameters()) | dict(net.named_buffers())
        for name in frozen:
            now[name].copy_(kept[name])
        undrawn = []
        for name in loose:
            left = now[name].isnan()
            if left.any():
                now[name].copy_(torch.where(left, kept[name], now[name]))
                undrawn.append(name)
        undrawn += [n for n, t in counted.items() if _untouched(now[n], t, counts[n], kept[n])]
    return tuple(undrawn)


def _computed_from(net: nn.Module, name: str) -> bool:
    """Whether a layer's weight is computed from this one, also while the layer is drawn anew."""
    owner = net.get_submodule(name.rpartition(".")[0])
    return isinstance(owner, ParametrizationList)


def _reset(module: nn.Module) -> None:
    for child in module.children():
        _reset(child)
    for method in ("reset_parameters", "_reset_parameters"):
        reset = getattr(module, method, None)
        if callable(reset):
            reset()
            return


def _untouched(now: Tensor, before: Tensor, count: int, value: Tensor) -> bool:
    """Whether a tensor is the same object, not written to by torch's count, and of the same value.

    Past that count it can be written to (`.data`).
    """
    same = now is before and now._version == count
    return same and bool(torch.equal(now.nan_to_num(), value.nan_to_num()))
