"""A user's module some of whose options give NaN, hang, fail or kill the process they are in."""

from __future__ import annotations

import os
import signal
import time

import torch
from torch import Tensor, nn

from morphogen import OneOf
from tiny import CLASSES


class Trap(nn.Module):
    """An option without weights that does what its name says, once there is a whole batch."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def forward(self, x: Tensor) -> Tensor:
        if len(x) <= 2:  # the engine only tries the module
            return x
        if self.what == "nan":
            return x * torch.nan
        if self.what == "fails":
            raise RuntimeError("this layer\nis broken")
        if self.what == "hangs":
            time.sleep(600)
        if self.what == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        return x


class Fragile(nn.Module):
    """One choice of six options: two that work, four that do not."""

    def __init__(self, *traps: str) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        options = {name: Trap(name) for name in ("skip", *traps)}
        self.block = OneOf({"conv": nn.Conv2d(4, 4, 3, padding=1), **options}, name="block")
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(torch.relu(self.stem(x))).mean((2, 3)))


def fragile(*traps: str) -> Fragile:
    """Always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(6)
        return Fragile(*traps)
