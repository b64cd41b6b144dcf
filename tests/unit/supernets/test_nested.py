"""Networks of several inputs: called by place or by name; searched as any module."""

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from morphogen import OneOf, cost
from morphogen.core import ConfigError, SpaceError
from morphogen.supernets import Gated, Gates, NetworkSpec, build, network, space_of
from morphogen.supernets.checks import check, try_module, without_gradient
from morphogen.supernets.nested import (
    call,
    described,
    device_of,
    first,
    length_of,
    mapped,
    shapes,
    sizes_of,
    take,
    zeros,
)

X = (torch.arange(12).view(4, 3) % 5, torch.linspace(-1, 1, 8).view(4, 2))
NAMED = dict(zip(("tokens", "values"), X, strict=True))


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ids, self.rest = nn.Embedding(5, 4), nn.Linear(2, 4)
        self.mix = OneOf({"tanh": nn.Tanh(), "linear": nn.Linear(4, 4)}, name="mix")
        self.head = nn.Linear(4, 1)

    def forward(self, tokens: Tensor, values: Tensor) -> Tensor:
        return self.head(self.mix(self.ids(tokens).mean(1) + self.rest(values)))


def test_a_tuple_goes_in_by_place_and_a_dict_by_name():
    net = Two()
    space = space_of(net)
    arch = space.parse("mix=tanh")
    alone = network(space, arch, NetworkSpec())
    gates, supernet = Gates.of(space, arch), build(space, NetworkSpec())
    wanted = alone(*X)
    for x in (X, NAMED):
        assert torch.equal(call(alone, x), wanted)
        assert torch.equal(supernet(x, gates), wanted)
        assert torch.equal(call(Gated(supernet, gates), x), wanted)


@pytest.mark.parametrize("x", [X, NAMED])
def test_what_is_tried_before_a_search(x):
    space, shape = space_of(Two()), []
    assert check(Two(), x).shape == (4, 1)
    assert try_module(space, x, lambda output, some: shape.append(list(output.shape))) == ()
    assert shape == [[4, 1], [4, 1], [1, 1]]
    net = network(space, space.sample(np.random.default_rng(0)), NetworkSpec())
    assert without_gradient(net, x, "the network") == ()
    with pytest.raises(SpaceError, match=r"fails on inputs .*\[4, 3\].*accepted"):
        check(Two(), {"tokens": X[0], "other": X[1]})


@pytest.mark.parametrize("x", [X, NAMED])
def test_costs_of_several_inputs_are_of_one_example(x):
    space = space_of(Two())
    counted = cost.of(space, space.parse("mix=linear"), image=x)
    assert counted.macs == 2 * 4 + 4 * 4 + 4
    assert cost.of(space, space.parse("mix=tanh"), image=first(x, 1)).macs == 2 * 4 + 4
    net = network(space, space.parse("mix=tanh"), NetworkSpec())
    (latency,) = cost.latency([net], x, batch=3, rounds=2, warm_up=0)
    assert latency.median > 0


def test_pieces_of_nested_tensors():
    assert length_of(X) == length_of(NAMED) == 4
    assert device_of(NAMED) == torch.device("cpu")
    assert torch.equal(take(NAMED, [2, 0])["values"], X[1][[2, 0]])
    assert mapped(torch.Tensor.float, list(X))[0].dtype == torch.float32
    assert shapes(X) == "([4, 3], [4, 2])"
    assert shapes(NAMED) == "{tokens: [4, 3], values: [4, 2]}"
    assert shapes(None) == "NoneType"
    with pytest.raises(TypeError, match="a str is no tensor"):
        mapped(torch.Tensor.float, {"a": "b"})


def test_inputs_as_plain_values_and_back():
    other = {"tokens": torch.zeros(1, 5), "values": torch.zeros(1, 2)}
    said = described(first(NAMED, 1), other)
    assert said == {"tokens": "int64 [*]", "values": "float32 [2]"}
    assert sizes_of(said) == [[None], [2]]
    made = zeros(json.loads(json.dumps(described((X[0], torch.ones(1, dtype=torch.bool))))), 3)
    assert [(t.shape, t.dtype) for t in made] == [((3, 3), X[0].dtype), ((3,), torch.bool)]
    for wrong in (None, [], {}, "float32", "object [3]", "float32 [-1]", ["float32 [3]", 1]):
        with pytest.raises(ConfigError, match="accepted: texts like"):
            zeros(wrong)
