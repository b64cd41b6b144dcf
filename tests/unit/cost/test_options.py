"""Costs of options against whole networks, hand-made numbers, and the modules they are of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from morphogen import OneOf, cost, spaces
from morphogen.bilevel.gates import softmax_gates
from morphogen.core import CapabilityError, SpaceError, UnknownNameError
from morphogen.spaces import SearchSpace
from morphogen.supernets import Gates, NetworkSpec, Supernet, build, space_of
from morphogen.testing.toys import OwnNetwork

SIZES = {
    "nasbench201": NetworkSpec(channels=4, depth=2),
    "darts": NetworkSpec(channels=4, depth=4),
    "nasbench-macro": NetworkSpec(channels=4),
    "shufflenet-small": NetworkSpec(),
    "proxylessnas-small": NetworkSpec(channels=8),
    "signal201": NetworkSpec(channels=4, depth=1),
    "own": NetworkSpec(),
}


def space_called(name: str) -> SearchSpace:
    return space_of(OwnNetwork(3, 5)) if name == "own" else spaces.make(name)


def image_of(name: str) -> tuple[int, ...]:
    return (3, 64) if name.startswith("signal") else (3, 16, 16)


@pytest.mark.parametrize("name", SIZES)
def test_differences_between_networks_are_those_between_their_options(name: str) -> None:
    space, spec, image = space_called(name), SIZES[name], image_of(name)
    costs = cost.of_options(space, spec, image)
    rng = np.random.default_rng(0)
    archs = [space.sample(rng) for _ in range(4)]
    whole = [cost.of(space, arch, spec, image) for arch in archs]
    of_paths = [float(costs.expected(Gates.of(space, arch), "macs")) for arch in archs]
    rest = {w.macs - path for w, path in zip(whole, of_paths, strict=True)}
    assert rest == {costs.rest["macs"]}  # what is in every network
    assert min(rest) > 0
    assert len({w.macs for w in whole}) > 1
    for arch, path in zip(archs, of_paths, strict=True):
        assert costs.expected(Gates.of(space, arch), "flops") == 2 * path


@pytest.mark.parametrize("name", ["nasbench-macro", "own"])
def test_parameters_are_those_of_the_networks_where_norms_are_alike(name: str) -> None:
    space, spec = space_called(name), SIZES[name]
    costs = cost.of_options(space, spec, (3, 16, 16))
    rng = np.random.default_rng(1)
    rest = set()
    for arch in [space.sample(rng) for _ in range(4)]:
        path = float(costs.expected(Gates.of(space, arch), "params"))
        rest.add(cost.of(space, arch, spec, (3, 16, 16)).params - path)
    assert len(rest) == 1


def test_the_darts_operations_by_hand() -> None:
    # SNAS, 16 channels on 32 x 32: sep 3x3 S = 800, F = 819,200; dil 5x5 S = 656, F = 671,744.
    space = spaces.make("darts")
    costs = cost.of_options(space, NetworkSpec(channels=16, depth=4), places=True)
    names = space.groups["normal"][0].options
    sep, dil = names.index("sep_conv_3x3"), names.index("dil_conv_5x5")
    assert costs.params["normal"][0, :, sep].tolist() == [800.0] * 14
    assert costs.macs["normal"][0, :, sep].tolist() == [819_200.0] * 14
    assert costs.params["normal"][0, :, dil].tolist() == [656.0] * 14
    assert costs.macs["normal"][0, :, dil].tolist() == [671_744.0] * 14
    for free in ("none", "skip_connect", "max_pool_3x3", "avg_pool_3x3"):
        assert not costs.macs["normal"][:, :, names.index(free)].any()
    # Of four cells the first and the last are normal; a halved image has twice the channels.
    assert costs.macs["normal"][:2, 0, sep].tolist() == [819_200.0, (2 * 64 * 9 + 2 * 64**2) * 64]
    assert not costs.macs["normal"][2:].any()
    # An edge of a reduction cell halves where it leaves an input, and nowhere else.
    skip = costs.macs["reduce"][0, :, space.groups["reduce"][0].options.index("skip_connect")]
    targets = [source for node in range(4) for source in range(node + 2)]
    assert (skip > 0).tolist() == [source < 2 for source in targets]


def test_the_expected_cost_is_differentiable_and_knows_examples() -> None:
    space = spaces.make("nasbench201")
    costs = cost.of_options(space, NetworkSpec(channels=2, depth=1), (3, 8, 8))
    alpha = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    gates = softmax_gates(space, [alpha])
    total = costs.expected(gates, "params")
    values = torch.as_tensor(costs.params["cell"], dtype=torch.float32)
    p = torch.softmax(alpha, -1)
    torch.testing.assert_close(total, (p * values).sum())
    (slope,) = torch.autograd.grad(total, alpha)
    torch.testing.assert_close(slope, p * (values - (p * values).sum(-1, keepdim=True)))
    each = Gates({"cell": torch.stack([p, 2 * p])}, gates.live)
    torch.testing.assert_close(
        costs.expected(each, "params"), torch.stack([total, 2 * total]).detach(), check_dtype=False
    )


class Sometimes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.block = OneOf({"a": nn.Conv2d(4, 4, 1), "b": nn.Identity()}, name="block")

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return (self.block(x) if len(x) > 1 else x).mean((2, 3))


def test_what_has_no_cost_is_one_sentence() -> None:
    with pytest.raises(SpaceError, match=r"^option 'a' of choice 'block' is not run when all"):
        cost.of_options(space_of(Sometimes()))
    with pytest.raises(SpaceError, match=r"fails on an input of 3x64: "):
        cost.of_options(spaces.make("nasbench-macro"), NetworkSpec(channels=4), (3, 64))
    with pytest.raises(CapabilityError, match="has no supernet"):
        cost.of_options(SearchSpace("bare", spaces.make("nasbench201").choices))


# -- which modules they are ----------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SIZES, "nasbench1shot1-s1"])
def test_the_modules_of_an_option_are_what_a_smaller_supernet_lacks(name: str) -> None:
    space, spec = space_called(name), SIZES.get(name, NetworkSpec(channels=2, depth=2))
    with torch.device("meta"):
        net = build(space, spec)
    choice = next(c for c in space.choices if name in SIZES or c.group == "operations")
    counts = []
    for option in choice.options[-3:]:
        modules = net.options(choice.name, option)
        assert len(set(modules)) == len(modules)
        gone = sum(p.numel() for m in modules for p in m.parameters())
        left = [o for o in choice.options if o != option]
        with torch.device("meta"):
            smaller = build(space.restrict({choice.name: left}), spec)
        assert size(net) - size(smaller) == gone
        counts.append(gone)
    assert max(counts) > 0


def size(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("name", ["nasbench201", "nasbench1shot1-s2", "own"])
def test_gradients_reach_the_modules_of_a_path_and_no_others(name: str) -> None:
    space = space_called(name)
    net = build(space, NetworkSpec(channels=2, depth=1))
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    rng = np.random.default_rng(2)
    for arch in [space.sample(rng) for _ in range(3)]:
        net.zero_grad(set_to_none=True)
        net(x, Gates.of(space, arch)).square().sum().backward()
        for choice in space.choices:
            for option in choice.options:
                for module in net.options(choice.name, option):
                    reached = [p.grad is not None for p in module.parameters()]
                    assert option in arch[choice.name] or not any(reached)


def test_costs_of_choices_are_apart_and_each_knows_how_often_it_stands() -> None:
    space = spaces.make("nasbench201")
    costs = cost.of_options(space, NetworkSpec(channels=4, depth=2), (3, 16, 16), places=True)
    generator = torch.Generator().manual_seed(0)
    alphas = [torch.randn(6, 5, generator=generator)]
    gates = softmax_gates(space, alphas)
    found = costs.of_choices(gates, "macs")["cell"]
    assert found.shape == (6, 6)
    assert costs.stands["cell"].tolist() == [6] * 6  # two cells in each of three stages
    torch.testing.assert_close(found.sum(), costs.expected(gates, "macs"))
    third = gates.weights["cell"][2] @ torch.tensor(costs.macs["cell"][4, 2], dtype=torch.float32)
    torch.testing.assert_close(found[4, 2], third)


def test_supernets_that_do_not_tell_and_names_that_are_none() -> None:
    space = spaces.make("nasbench201")

    class Silent(Supernet):
        def __init__(self) -> None:
            super().__init__()
            self.space = space

        def forward(self, x: Tensor, gates: Gates) -> Tensor:
            return x

    edge = space.choices[0].name
    with pytest.raises(CapabilityError, match=r"^the supernet of space 'nasbench201' does not say"):
        Silent().options(edge, "none")
    with pytest.raises(UnknownNameError, match="nor_conv_3x3"):
        Silent().options(edge, "nor_conv_3")
