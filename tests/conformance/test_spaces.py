"""Every space keeps the promises of `morphogen.testing` by being registered."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from morphogen import space_of, spaces
from morphogen.testing import SpaceChecks
from morphogen.testing.toys import own

SPACES = list(spaces.registered())


@cache
def suite(name: str) -> SpaceChecks:
    if name == "own module":
        return SpaceChecks(space_of(own()))
    if spaces.make(name).spatial_dims == 0:
        return SpaceChecks(name, samples=4, supernet=name != "transformer")
    noise = torch.Generator().manual_seed(0)
    side = (
        32 if name.startswith(("shufflenet", "proxylessnas")) else 16
    )  # which halves it five times
    shape = (2, 1, 64) if name.startswith("signal") else (2, 1, side, side)
    return SpaceChecks(name, x=torch.randn(shape, generator=noise), samples=4)


@pytest.mark.parametrize("promise", SpaceChecks.promises())
@pytest.mark.parametrize("name", [*SPACES, "own module"])
def test_a_space_keeps_its_promises(name: str, promise: str) -> None:
    suite(name).check(promise)
