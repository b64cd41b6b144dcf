"""A module's call made again later: same weights, buffers, draws, mode and precision, same bits.

For whatever computes a result twice instead of keeping it. What the module draws from torch's
global generators is drawn again, and they stay where they are. Buffers count once: the call made
again begins with those that the first one found and writes into copies, so that a batch norm's
running statistics move once. What is no parameter, buffer or `training` flag is not kept: a module
must not change other attributes that its output depends on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from morphogen.supernets.global_rng import generators, set_states, states


class Precision:
    """The autocast settings that stand now, for these devices; `with` brings them back.

    Casts are not shared between calls within: one made without gradients would cut off those of a
    later call that reads the same weight.

    Args:
        devices: on which is computed.
    """

    def __init__(self, *devices: torch.device) -> None:
        kinds = dict.fromkeys(["cpu", *(device.type for device in devices)])
        self._settings = [
            (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
            for kind in kinds
            if torch.amp.is_autocast_available(kind)
        ]

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """A block that computes with these settings."""
        with ExitStack() as stack:
            for kind, dtype, enabled in self._settings:
                stack.enter_context(
                    torch.autocast(kind, dtype=dtype, enabled=enabled, cache_enabled=False)
                )
            yield


class Call:
    """One call of a module: `first` makes it, `again` makes it again.

    Args:
        module: what is called. Its parameters and buffers may be tensors put in their place
            (`torch.func.functional_call`).
        devices: whose global generators it may draw from, besides the CPU's.
    """

    def __init__(self, module: nn.Module, devices: Collection[torch.device] = ()) -> None:
        self.module = module
        # A tensor of several names is listed under each: what is put in its place is, too.
        self.parameters: dict[str, Tensor] = dict(module.named_parameters(remove_duplicate=False))
        """Name -> tensor, when the call was made."""
        self.buffers: dict[str, Tensor] = dict(module.named_buffers(remove_duplicate=False))
        """Name -> tensor as the first call found it: a copy if the call wrote into it."""
        self._generators = generators(*devices)
        self.draws: list[Tensor] = states(self._generators)
        """Where the generators stood; empty if the first call drew nothing."""
        self._training = [part.training for part in module.modules()]

    def first(self, *args: Any) -> Any:
        """The module's output; afterwards only what the call has changed is kept as a copy."""
        copies = {id(b): b.detach().clone() for b in self.buffers.values()}
        output = self.module(*args)
        found = {id(b): b for b in self.buffers.values()}  # one of several names stays one
        changed = _changed(found.values(), copies.values())
        kept = {i: copies[i] for i, change in zip(found, changed, strict=True) if change}
        self.buffers = {name: kept.get(id(b), b) for name, b in self.buffers.items()}
        after = states(self._generators)
        if all(torch.equal(a, b) for a, b in zip(self.draws, after, strict=True)):
            self.draws = []
        return output

    def again(
        self,
        args: tuple[Any, ...],
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        draws: Sequence[Tensor],
    ) -> Any:
        """The output of the first call, on these arguments. Moves the global generators.

        The caller keeps the tensors, as autograd keeps what is saved for backward; the call
        itself can be told to `forget` them.

        Args:
            args: of the module.
            parameters: `parameters`, or tensors of the same values in their place.
            buffers: `buffers`.
            draws: `draws`.
        """
        if draws:
            set_states(self._generators, draws)
        copies: dict[int, Tensor] = {}
        for buffer in buffers.values():
            copies.setdefault(id(buffer), buffer.detach().clone())
        tensors = {**parameters, **{name: copies[id(b)] for name, b in buffers.items()}}
        with self._as_it_was():
            return functional_call(self.module, tensors, args, tie_weights=False)

    def forget(self) -> None:
        """Let go of all tensors: the caller keeps them."""
        self.parameters, self.buffers, self.draws = {}, {}, []

    @contextmanager
    def _as_it_was(self) -> Iterator[None]:
        """The module's parts in train or evaluation mode, as they were at the first call."""
        parts = list(self.module.modules())
        now = [part.training for part in parts]
        _set_training(parts, self._training)
        try:
            yield
        finally:
            _set_training(parts, now)


def _changed(now: Iterable[Tensor], before: Iterable[Tensor]) -> list[bool]:
    """Which tensors have other values than before.

    By value, since batch norms write past torch's count of writes. Waits for the device once.
    """
    pairs = list(zip(now, before, strict=True))
    if not pairs or any(a.device.type == "meta" for a, _ in pairs):
        return [False] * len(pairs)
    flags = [(a != b).any() for a, b in pairs]
    return [bool(flag) for flag in torch.stack([f.to(flags[0].device) for f in flags]).tolist()]


def _set_training(parts: Sequence[nn.Module], flags: Sequence[bool]) -> None:
    for part, flag in zip(parts, flags, strict=True):
        if part.training != flag:
            part.training = flag
