"""Every space keeps the promises of `morphogen.testing` by being registered."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

from morphogen import space_of, spaces
from morphogen.supernets import network
from morphogen.testing import SpaceChecks
from morphogen.testing.toys import own

SPACES = [*spaces.registered(), "own module"]

EVERYWHERE = (
    "nasbench201",
    "darts",
    "nasbench-macro",
    "signal201",
    "rl-darts",
    "dartsformer-small",
    "own module",
)
"""Of each family one, which keeps the long promises in the default tier; the slow one has all."""

LONG = (
    "a_path_leaves_other_options_without_gradient",
    "the_gradient_reaches_every_gate",
    "networks_stand_alone",
    "every_path_of_the_supernet_gives_scores",
)

CASES = [
    pytest.param(
        name,
        promise,
        marks=[pytest.mark.slow] if promise in LONG and name not in EVERYWHERE else [],
    )
    for promise in SpaceChecks.promises()
    for name in SPACES
]


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
    return SpaceChecks(
        name,
        x=torch.randn(shape, generator=noise),
        samples=4,
        supernet=name != "anynet",
    )


@pytest.mark.parametrize(("name", "promise"), CASES)
def test_a_space_keeps_its_promises(name: str, promise: str) -> None:
    suite(name).check(promise)


IMAGES = [name for name in spaces.registered() if spaces.make(name).spatial_dims == 2]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", IMAGES)
def test_on_a_cpu_the_convolutions_of_a_network_are_channels_last(name: str, channels: int) -> None:
    """With which oneDNN is quicker: a step of NAS-Bench-201's takes 1.7 times as long without.

    Of grey images, too, which are of either layout, so that torch has to be told.
    """
    checks, made = suite(name), list[bool]()
    net = network(checks.space, checks.archs[0], replace(checks.spec, in_channels=channels))

    def look(_: nn.Module, __: object, out: torch.Tensor) -> None:
        made.append(out.is_contiguous(memory_format=torch.channels_last))

    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(look)
    net(torch.randn(2, channels, 64, 64))  # large enough that no grid is of a single pixel
    assert made
    assert all(made)
