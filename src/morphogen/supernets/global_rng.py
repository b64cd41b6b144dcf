"""What modules draw by themselves, from torch's global generators: dropout, drop-path, S4's noise.

The stream of these draws is the search's (its checkpoint holds it). A pass that asks and does not
train leaves it where it is; a loss that is called several times draws once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor

CPU = torch.device("cpu")


def generators(*devices: torch.device) -> list[Generator]:
    """The generators that modules on these devices draw from, the CPU's first, each once."""
    found = [torch.default_generator]
    for device in devices:
        if device.type in ("cpu", "meta"):
            continue
        module = torch.get_device_module(device)
        if device.type == "mps":
            own = module._get_default_mps_generator()
        else:
            module.init()  # before it, there are no generators
            index = module.current_device() if device.index is None else device.index
            own = module.default_generators[index]
        if all(own is not other for other in found):
            found.append(own)
    return found


def states(of: Iterable[Generator]) -> list[Tensor]:
    """Where these generators stand."""
    return [generator.get_state() for generator in of]


def set_states(of: Iterable[Generator], where: Iterable[Tensor]) -> None:
    """Have these generators go on from where `states` found them."""
    for generator, state in zip(of, where, strict=True):
        generator.set_state(state)


def reseed(of: Iterable[Generator], seed: int) -> None:
    """Start these generators anew.

    torch.manual_seed starts those of all devices anew, and takes milliseconds for it.
    """
    for generator in of:
        generator.manual_seed(seed)


@contextmanager
def forked_rng(*devices: torch.device, seed: int | None = None) -> Iterator[None]:
    """Whatever is drawn within, the global generators are afterwards where they were.

    Args:
        devices: whose generators, besides the CPU's.
        seed: of what is drawn within; None: from where the generators stand.
    """
    every = generators(*devices)
    before = states(every)
    try:
        if seed is not None:
            reseed(every, seed)
        yield
    finally:
        set_states(every, before)


class ReplayedDraws:
    """Draws that are made once: every `with` block but the first draws what the first one drew.

    The generators go on behind the first block's draws, as if it had been the only one.

    Args:
        devices: whose global generators.
        more: other generators that are drawn from.
    """

    def __init__(self, *devices: torch.device, more: Iterable[Generator] = ()) -> None:
        self._generators = [*generators(*devices), *more]
        self._first: list[Tensor] | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """A block that draws."""
        now = states(self._generators)
        if self._first is None:
            self._first = now
            yield
            return
        set_states(self._generators, self._first)
        try:
            yield
        finally:
            set_states(self._generators, now)


class OwnDraws:
    """A stream of one's own for what modules draw: each `with` block goes on where the last ended.

    Args:
        devices: whose global generators stand in for it within a block.
        seed: of the stream.
    """

    def __init__(self, *devices: torch.device, seed: int) -> None:
        self._devices = devices
        with forked_rng(*devices, seed=seed):
            self._states = states(generators(*devices))

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """A block that draws."""
        every = generators(*self._devices)
        with forked_rng(*self._devices):
            set_states(every, self._states)
            try:
                yield
            finally:
                self._states = states(every)

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands."""
        return {"states": list(self._states)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self._states = list(state["states"])
