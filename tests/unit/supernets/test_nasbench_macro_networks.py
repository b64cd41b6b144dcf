"""Networks of NAS-Bench-Macro against the published table; the supernet against the networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from morphogen import benchmarks, cost, spaces
from morphogen.supernets import Gates, NetworkSpec, build, network

SPACE = spaces.make("nasbench-macro")
SMALL = NetworkSpec(channels=4, classes=3, in_channels=1)


def test_parameters_and_multiply_adds_of_the_table() -> None:
    table = benchmarks.load("nasbench-macro")
    rng = np.random.default_rng(0)
    archs = [SPACE.parse(text) for text in ("00000000", "22222222", "12012012")]
    archs += [SPACE.sample(rng) for _ in range(9)]
    for arch in archs:
        found = cost.of(SPACE, arch)
        assert found.params == table.scores([arch], "params")[0]
        assert found.macs == table.scores([arch], "flops")[0]


@pytest.mark.parametrize("text", ["00000000", "12012012", "21102210"])
def test_a_path_of_the_supernet_is_the_network(text: str) -> None:
    arch = SPACE.parse(text)
    torch.manual_seed(0)
    net, supernet = network(SPACE, arch, SMALL), build(SPACE, SMALL)
    net.ends.load_state_dict(supernet.ends.state_dict())
    for layer, options, choice in zip(net.layers, supernet.layers, SPACE.choices, strict=True):
        layer.load_state_dict(options[arch.one(choice.name)].state_dict())
    x = torch.randn(5, 1, 9, 9)
    path = Gates.of(SPACE, arch)
    torch.testing.assert_close(supernet(x, path), net(x))
    # The same path under weights that are only nearly gates of one.
    soft = Gates(path.weights, path.live)
    torch.testing.assert_close(supernet(x, soft), net(x))


def test_soft_gates_reach_every_option() -> None:
    supernet = build(SPACE, SMALL)
    weights = torch.full((8, 3), 1 / 3, requires_grad=True)
    supernet(torch.randn(4, 1, 8, 8), Gates.dense(SPACE, {"layers": weights})).sum().backward()
    assert (weights.grad != 0).all()


def test_a_restricted_space_has_only_its_options() -> None:
    part = SPACE.restrict({"layer_2": ["MB3_K3"]})
    supernet = build(part, SMALL)
    assert list(supernet.layers[1]) == ["MB3_K3"]
    arch = part.parse("01000000")
    assert supernet(torch.randn(2, 1, 8, 8), Gates.of(part, arch)).shape == (2, 3)
