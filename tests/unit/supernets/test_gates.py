"""Gates, the registry of supernets, and frozen statistics."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from morphogen.core import Architecture, CapabilityError, Choice, SpaceError, UnknownNameError
from morphogen.spaces import SearchSpace
from morphogen.supernets import (
    Gates,
    NetworkSpec,
    Supernet,
    all_live,
    build,
    frozen_statistics,
    network,
    register,
)
from morphogen.supernets.base import _REGISTRY
from morphogen.supernets.gates import nonzero

CHOICES = (
    Choice("a", ("x", "y", "z"), "cell"),
    Choice("b", ("x", "y"), "cell"),
    Choice("c", ("p", "q", "r"), least=0, most=2),
)


def space() -> SearchSpace:
    return SearchSpace("toy", CHOICES)


# -- gates ---------------------------------------------------------------------------------------


def test_all_live_leaves_out_options_that_a_row_does_not_have() -> None:
    assert all_live(space()) == {"cell": ((0, 1, 2), (0, 1)), "c": ((0, 1, 2),)}
    assert nonzero(np.array([[0.0, 2.0], [0.0, 0.0]])) == ((1,), ())


def test_gates_of_an_architecture_are_a_path() -> None:
    gates = Gates.of(space(), Architecture({"a": "z", "b": "x", "c": ("r", "p")}))
    assert gates.unit
    assert gates.live == {"cell": ((2,), (0,)), "c": ((0, 2),)}
    assert torch.equal(gates.weights["cell"], torch.tensor([[0.0, 0, 1], [1, 0, 0]]))
    assert torch.equal(gates.weights["c"], torch.tensor([[1.0, 0, 1]]))
    assert not any(w.requires_grad for w in gates.weights.values())
    dropped = Gates.of(space(), Architecture({"a": "z", "b": "x", "c": ()}))
    assert dropped.live["c"] == ((),)


def test_dense_gates_and_their_rows() -> None:
    weights = {"cell": torch.rand(2, 3, requires_grad=True), "c": torch.rand(1, 3)}
    gates = Gates.dense(space(), weights)
    assert not gates.unit
    live, row = gates.row("cell", 1)
    assert live == (0, 1)
    assert torch.equal(row, weights["cell"][1])
    assert row.requires_grad


def test_detached_gates_keep_everything_but_the_gradient() -> None:
    weights = {"cell": torch.rand(2, 3, requires_grad=True), "c": torch.rand(1, 3)}
    live = {"cell": ((0,), (1,)), "c": ((),)}
    gates = Gates(weights, live, unit=True).detach()
    assert not gates.weights["cell"].requires_grad
    assert torch.equal(gates.weights["cell"], weights["cell"])
    assert gates.live == live
    assert gates.unit
    assert weights["cell"].requires_grad


def test_gates_do_not_alias_the_mappings_they_are_made_from() -> None:
    weights, live = {"c": torch.rand(1, 3)}, {"c": ((0,),)}
    gates = Gates(weights, live)
    weights.clear()
    live.clear()
    assert gates.row("c", 0)[0] == (0,)


@pytest.mark.parametrize(("live", "rows"), [({}, 0), ({"cell": ((0,),)}, 1)])
def test_weights_and_live_options_must_have_equal_rows(live: dict, rows: int) -> None:  # type: ignore[type-arg]
    with pytest.raises(SpaceError) as error:
        Gates({"cell": torch.rand(2, 3)}, live)
    assert str(error.value) == (
        f"gates of group 'cell': 2 rows of weights but {rows} rows of live options; "
        "accepted: equal numbers"
    )


# -- the registry --------------------------------------------------------------------------------


class _Space(SearchSpace):
    """Registered for the length of a test."""


class _Supernet(Supernet):
    def __init__(self, space: SearchSpace, spec: NetworkSpec) -> None:
        super().__init__()
        self.space, self.spec = space, spec

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        return x


def _network(space: SearchSpace, arch: Architecture, spec: NetworkSpec) -> nn.Module:
    return nn.Linear(spec.channels, spec.classes)


@pytest.fixture
def registered() -> Iterator[None]:
    register(_Space, supernet=_Supernet, network=_network)
    yield
    del _REGISTRY[_Space]


@pytest.mark.usefixtures("registered")
def test_supernets_are_found_by_the_class_of_the_space_or_its_base() -> None:
    class Derived(_Space):
        pass

    spec = NetworkSpec(channels=4)
    for kind in (_Space, Derived):
        built = build(kind("toy", CHOICES), spec)
        assert isinstance(built, _Supernet)
        assert built.spec is spec
    arch = Architecture({"a": "x", "b": "y", "c": ()})
    assert isinstance(network(_Space("toy", CHOICES), arch, spec), nn.Linear)


@pytest.mark.usefixtures("registered")
def test_a_space_is_registered_once() -> None:
    with pytest.raises(CapabilityError, match=r"^space _Space has a supernet already$"):
        register(_Space, supernet=_Supernet, network=_network)


@pytest.mark.usefixtures("registered")
def test_the_network_of_a_foreign_architecture_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown option of choice 'a' 'zzz'"):
        network(
            _Space("toy", CHOICES), Architecture({"a": "zzz", "b": "x", "c": ()}), NetworkSpec()
        )


def test_a_space_without_a_supernet_says_so() -> None:
    with pytest.raises(CapabilityError) as error:
        build(space(), NetworkSpec())
    assert str(error.value).startswith(
        "space 'toy' has no supernet, only architectures; spaces with one: "
    )
    assert "nasbench201" in str(error.value)
    assert "your own module" in str(error.value)


# -- frozen statistics ---------------------------------------------------------------------------


def norms() -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm1d(3),
        nn.BatchNorm1d(3, momentum=None),
        nn.BatchNorm1d(3, track_running_stats=False),
    )


def test_frozen_statistics_keep_buffers_and_use_the_batch() -> None:
    net, x = norms(), torch.randn(16, 3) * 2 + 5
    before = copy.deepcopy(net.state_dict())
    with frozen_statistics(net):
        frozen = net(x)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert torch.equal(frozen, net(x))
    assert not torch.equal(net.state_dict()["0.running_mean"], before["0.running_mean"])
    assert net.state_dict()["0.num_batches_tracked"] == 1


@pytest.mark.parametrize(
    ("live", "path"),
    [(((0,), (2,)), True), (((0,), ()), True), (((0,), (1, 2)), False)],
    ids=["one each", "none of one", "two of one"],
)
def test_a_path_has_one_option_of_a_choice_at_most(live: tuple, path: bool) -> None:
    assert Gates({"g": torch.rand(2, 3)}, {"g": live}).path == path


def test_frozen_statistics_restore_the_flag_and_nothing_else() -> None:
    net = norms()
    with pytest.raises(ValueError, match="expected 2D or 3D input"), frozen_statistics(net):
        net(torch.ones(1))
    assert [m.track_running_stats for m in net] == [True, True, False]
    with frozen_statistics(net), frozen_statistics(net):
        pass
    assert [m.track_running_stats for m in net] == [True, True, False]


def test_frozen_statistics_change_nothing_in_evaluation_mode() -> None:
    net, x = norms(), torch.randn(16, 3) + 5
    net(x)
    net.eval()
    expected = net(x)
    with frozen_statistics(net):
        assert torch.equal(net(x), expected)
