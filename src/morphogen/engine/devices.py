"""Devices, precision and data-parallel processes, through Lightning Fabric.

Fabric is imported where it is used: that takes seconds.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor

from morphogen.core import ConfigError, memory
from morphogen.tasks.problem import Devices, Local, ModuleT

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Precision = Literal["32-true", "bf16-mixed"]

Accelerator = Literal["cpu", "cuda", "mps", "auto"]


class FabricDevices:
    """A launched Fabric as methods see it: a device, a mean over processes, a precision."""

    def __init__(self, fabric: Fabric, precision: Precision) -> None:
        self._fabric, self._precision = fabric, precision
        self.rank = fabric.global_rank
        self.world = fabric.world_size
        self.device = fabric.device

    def mean(self, tensors: list[Tensor]) -> list[Tensor]:
        """The mean over all processes of each tensor, in one reduction per data type."""
        if self.world == 1:
            return tensors
        out: list[Tensor] = list(tensors)
        for dtype in {t.dtype for t in tensors}:
            chosen = [i for i, t in enumerate(tensors) if t.dtype == dtype]
            flat = torch.cat([tensors[i].reshape(-1) for i in chosen])
            reduced = self._fabric.all_reduce(flat, reduce_op="mean")
            parts = torch.split(cast(Tensor, reduced), [tensors[i].numel() for i in chosen])
            for i, part in zip(chosen, parts, strict=True):
                out[i] = part.view(tensors[i].shape)
        return out

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of the chosen precision."""
        return self._fabric.autocast()

    def placed(self, net: ModuleT) -> ModuleT:
        """A stand-alone network on the device, laid out for the precision."""
        return _laid_out(net.to(self.device), self._precision)


class LocalBFloat16(Local):
    """One process on the CPU, with convolutions and matrix products in bfloat16."""

    def autocast(self) -> AbstractContextManager[Any]:
        """As Fabric's for `bf16-mixed`."""
        return torch.autocast("cpu", dtype=torch.bfloat16)

    def placed(self, net: ModuleT) -> ModuleT:
        """A stand-alone network, laid out for the precision."""
        return _laid_out(net, "bf16-mixed")


def _laid_out(net: ModuleT, precision: Precision) -> ModuleT:
    """In bfloat16 with channels last: so a processor's matrix units read images."""
    if precision == "bf16-mixed":
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


def one_device(accelerator: str, precision: Precision) -> Devices:
    """A device for this process alone; the CPU needs no Fabric.

    Raises:
        ConfigError: the accelerator is not available.
    """
    if accelerator == "cpu":
        return Local() if precision == "32-true" else LocalBFloat16()
    fabric = make_fabric(accelerator, 1, precision)
    fabric.launch()
    return FabricDevices(fabric, precision)


def place(accelerator: str, devices: int, precision: Precision) -> Devices | Fabric:
    """Where a search runs: one device in this process, or a Fabric that starts several.

    Raises:
        ConfigError: the accelerator or the number of devices is not available.
    """
    if devices == 1:
        return one_device(accelerator, precision)
    return make_fabric(accelerator, devices, precision)


def _count(accelerator: str) -> int:
    """Devices of a kind that torch finds."""
    if accelerator == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    return int(accelerator == "mps" and torch.backends.mps.is_available())


def make_fabric(accelerator: str, devices: int, precision: Precision) -> Fabric:
    """A Fabric that is not launched yet; processes are spawned, so it works from anywhere.

    Raises:
        ConfigError: the accelerator or the number of devices is not available.
    """
    if accelerator == "cpu":
        memory.require_processes(devices, "devices")
    elif accelerator != "auto" and devices > (there := _count(accelerator)):
        raise ConfigError(
            f"accelerator {accelerator!r} with devices {devices}, and torch {torch.__version__} "
            f"finds {there or 'none'} here; accepted: cpu, auto"
            + (f", or at most {there} devices" if there else "")
        )
    from lightning_fabric import Fabric

    from morphogen.engine.parallel import Loopback

    try:
        return Fabric(
            accelerator=accelerator,
            devices=devices,
            precision=precision,
            strategy="auto" if devices == 1 else Loopback(),
        )
    except Exception as error:  # Fabric has types of its own, and says what it misses by others
        reason = str(error).split("\n")[0].rstrip(".")
        raise ConfigError(
            f"accelerator {accelerator!r} with devices {devices}: {reason}; accepted: cpu, or an "
            "accelerator of this machine with at most as many devices as it has"
        ) from error
