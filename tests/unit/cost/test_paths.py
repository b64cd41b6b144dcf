"""Costs of paths: counted, and remembered."""

from __future__ import annotations

import pytest
import torch

from morphogen import cost, spaces
from morphogen.supernets import Gates, NetworkSpec, space_of
from morphogen.testing.toys import OwnNetwork


def test_the_nominal_time_is_that_of_multiply_adds_and_bytes() -> None:
    found = cost.PathCost(macs=3 * 10**7, memory_access=10**7)
    assert found.nominal == pytest.approx(3 + 1)


def test_only_what_is_live_decides_and_all_that_is_live_costs() -> None:
    space = spaces.make("nasbench-macro")
    paths = cost.Paths(space, NetworkSpec(channels=4), (3, 16, 16))
    gates = Gates.of(space, space.parse("12012012"))
    found = paths(gates)
    assert paths(Gates({g: 0.3 * w for g, w in gates.weights.items()}, gates.live)) is found
    soft = {g: torch.full(m.shape, 0.1) for g, m in space.masks.items()}
    every = paths(Gates.dense(space, soft))
    assert (every.macs > 2 * found.macs, every.memory_access > found.memory_access) == (True, True)


def test_a_users_module_has_paths_too() -> None:
    space = space_of(OwnNetwork(3, 5))
    paths = cost.Paths(space, image=(3, 16, 16))
    found = {paths(Gates.of(space, arch)).macs for arch in space.enumerate()}
    wanted = {cost.of(space, arch, image=(3, 16, 16)).macs for arch in space.enumerate()}
    assert found == wanted
