"""Sums over choices against counts of networks, and what is no sum against being taken for one."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from morphogen import OneOf, cost, spaces
from morphogen.core import Architecture
from morphogen.cost.additive import FIELDS, Counts, fit, plan
from morphogen.spaces import Constrained, SearchSpace
from morphogen.spaces.shufflenet import ShuffleNet
from morphogen.supernets import NetworkSpec, space_of

IMAGE = (3, 16, 16)

FEW = ShuffleNet("few", repeats=(2, 1), widths=(8, 16), strides=(1, 2), stem=4, head=16)


@pytest.mark.parametrize("many", [20, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("space", "spec", "fields"),
    [
        (FEW, NetworkSpec(channels=4), FIELDS),
        pytest.param(
            spaces.make("shufflenet-small"), NetworkSpec(channels=8), FIELDS, marks=pytest.mark.slow
        ),
        pytest.param(
            spaces.make("nasbench-macro"), NetworkSpec(channels=8), FIELDS, marks=pytest.mark.slow
        ),
        # A node without inputs is a map of zeros, one with several adds them up.
        (
            spaces.make("nasbench201"),
            NetworkSpec(channels=4, depth=1),
            ("params", "macs", "flops"),
        ),
    ],
)
def test_sums_are_the_counts_of_the_networks(
    space: SearchSpace, spec: NetworkSpec, fields: tuple[str, ...], many: int
) -> None:
    sums = fit(space, lambda arch: cost.of(space, arch, spec, IMAGE))
    assert sums.fields == fields
    rng = np.random.default_rng(7)
    for _ in range(many):
        arch = space.sample(rng)
        counted = cost.of(space, arch, spec, IMAGE)
        assert {f: sums.count(arch, f) for f in fields} == {f: getattr(counted, f) for f in fields}


@pytest.mark.slow
def test_published_counts_as_sums() -> None:
    space = spaces.make("shufflenet")
    spec = cost.published(space)
    sums = fit(space, lambda arch: cost.of(space, arch, spec, (3, 224, 224)))
    published = space.parse("21012020202300003233")
    assert sums.count(published, "macs") == 322_918_720
    assert sums.count(published, "params") == 3_558_464
    equal = [sums.count(space.parse(digit * 20), "macs") for digit in "0123"]
    assert equal == [295_842_496, 313_654_976, 340_373_696, 358_825_920]


@pytest.mark.parametrize("name", ["shufflenet-small", "nasbench201", "darts-s2"])
def test_the_plan_solves_for_every_amount_and_checks_pairs(name: str) -> None:
    space = spaces.make(name)
    fitted, checked = plan(space)
    rows = np.stack([space.encode(arch) for arch in fitted])
    draws = np.random.default_rng(3)
    every = np.stack([space.encode(space.sample(draws)) for _ in range(400)])
    rank = np.linalg.matrix_rank(np.vstack([every, rows]))
    assert np.linalg.matrix_rank(np.hstack([rows, np.ones((len(rows), 1))])) == len(fitted)
    assert len(fitted) >= rank
    assert len(checked) <= 2 * len(fitted)
    if name != "darts-s2":  # whose nodes keep two edges, so that some pairs cannot be
        assert len(fitted) == 1 + sum(len(c.options) - 1 for c in space.choices)
        pairs = {p for arch in checked for p in combinations(sorted(arch.items()), 2)}
        sizes = [len(c.options) for c in space.choices]
        assert len(pairs) == sum(a * b for a, b in combinations(sizes, 2))
    assert plan(space) == (fitted, checked)


class Widths(nn.Module):
    """The second convolution's weights depend on both choices: no sum."""

    def __init__(self) -> None:
        super().__init__()
        self.first = OneOf({str(c): nn.Conv2d(3, c, 1) for c in (2, 4, 6)}, name="first")
        self.second = OneOf({str(c): nn.LazyConv2d(c, 1) for c in (2, 3, 5)}, name="second")
        self.third = OneOf({"linear": nn.LazyLinear(4), "one": nn.LazyLinear(1)}, name="third")

    def forward(self, x: Tensor) -> Tensor:
        return self.third(self.second(self.first(x)).mean((2, 3)))


class Nested(nn.Module):
    """The inner choice counts only where the outer one takes it in."""

    def __init__(self) -> None:
        super().__init__()
        inner = OneOf({"wide": nn.Conv2d(3, 3, 5, padding=2), "skip": nn.Identity()}, name="inner")
        self.outer = OneOf({"block": inner, "skip": nn.Identity()}, name="outer")
        self.other = OneOf({"conv": nn.Conv2d(3, 3, 1), "skip": nn.Identity()}, name="other")

    def forward(self, x: Tensor) -> Tensor:
        return self.other(self.outer(x)).mean((2, 3))


def test_what_is_no_sum_is_found_out_and_counted() -> None:
    space = space_of(Nested())
    sums = fit(space, lambda arch: cost.of(space, arch, image=IMAGE))
    assert sums.fields == ()
    counts = Counts(space, NetworkSpec(), IMAGE)
    for arch in 3 * space.enumerate():
        assert counts(arch, "params") == cost.of(space, arch, image=IMAGE).params


def test_a_product_of_widths_is_no_sum() -> None:
    space = space_of(Widths())

    def count(arch: Architecture) -> cost.Cost:
        first, second = int(arch.one("first")), int(arch.one("second"))
        params = 4 * first + (first + 1) * second + {"linear": 4, "one": 1}[arch.one("third")]
        return cost.Cost(params, 5 * first, 7, 8 * second + first, 9, 10)

    assert fit(space, count).fields == ("macs", "flops", "memory_access", "activation_bytes")


def test_counts_known_before_are_checks_too() -> None:
    space = spaces.make("nasbench-macro")
    true = cost.Cost(1, 2, 3, 4, 5, 6)
    odd = {space.parse("01201201"): cost.Cost(1, 2, 4, 4, 5, 6)}
    assert "flops" in fit(space, lambda arch: true).fields
    assert fit(space, lambda arch: true, odd).fields == (
        *("params", "macs"),
        *("memory_access", "activation_bytes"),
    )


def test_networks_are_built_for_a_few_architectures_and_sums_serve_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from morphogen.cost import additive

    built: list[Architecture] = []
    original = additive.of

    def of(space: SearchSpace, arch: Architecture, *rest: object) -> cost.Cost:
        built.append(arch)
        return original(space, arch, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(additive, "of", of)
    space = spaces.make("nasbench-macro")
    counts = Counts(space, NetworkSpec(channels=4), IMAGE)
    archs = space.enumerate()[::20]
    first = [counts(arch, "params") for arch in archs[:10]]
    assert built == archs[:10]
    assert counts.sums is None
    for arch in archs:
        counts(arch, "flops")
    assert counts.sums is not None
    assert len(built) < 120
    assert [counts(arch, "params") for arch in archs[:10]] == first
    spec = NetworkSpec(channels=4)
    assert counts(archs[-1], "peak_bytes") == cost.of(space, archs[-1], spec, IMAGE).peak_bytes


def test_what_a_limit_refuses_has_a_cost() -> None:
    whole = spaces.make("nasbench-macro")
    few = Constrained(whole, lambda arch: whole.format(arch).startswith("0000000"), "narrow")
    counts = Counts(few, NetworkSpec(channels=4), IMAGE)
    with torch.random.fork_rng():
        values = {counts(arch, "params") for arch in whole.enumerate()[:30]}
    assert len(values) > 10
