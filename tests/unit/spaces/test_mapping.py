"""Spaces as plain values: what is written reads back equal, whatever the space."""

from __future__ import annotations

import json

import numpy as np
import pytest

from morphogen import spaces
from morphogen.core import Choice, MorphogenError, SpaceError
from morphogen.spaces import Constrained, ModuleSpace, SearchSpace, needs_code, read, registry
from morphogen.spaces.darts import DARTS
from morphogen.spaces.nasbench1shot1 import NASBench1Shot1
from morphogen.spaces.nasbench201 import NASBench201
from morphogen.spaces.shufflenet import ShuffleNet

OTHER = ("nor_conv_3x3", "none", "avg_pool_3x3")
SMALL = {"repeats": (1, 2), "widths": (8, 16), "strides": (1, 2), "stem": 4, "head": 8}
NASBENCH201 = spaces.make("nasbench201")
MIXED = SearchSpace(
    "mixed", [Choice("a", ("x", "y"), "rows"), Choice("b", ("p", "q", "r"), "rows", 0, 2)]
)
INSIDE = {"inner": ((("outer", "deep"),),)}
OWN = ModuleSpace(
    "own", [Choice("outer", ("deep", "flat")), Choice("inner", ("a", "b"))], 0, INSIDE
)

WRITTEN = [
    *((spaces.make(name), {"name": name}) for name in spaces.registered()),
    (
        NASBENCH201.restrict({"edge_0_1": ["none", "skip_connect"]}),
        {"name": "nasbench201", "options": {"edge_0_1": ["none", "skip_connect"]}},
    ),
    (
        spaces.make("darts-s3").without(["none", "skip_connect"]),
        {"name": "darts-s3", "without": ["none", "skip_connect"]},
    ),
    (
        NASBench201(operations=OTHER),
        {"name": "nasbench201", "arguments": {"operations": list(OTHER)}},
    ),
    (
        NASBench201("mine", OTHER).without(["none"]),
        {
            "name": "mine",
            "like": "nasbench201",
            "arguments": {"operations": list(OTHER)},
            "without": ["none"],
        },
    ),
    (DARTS("mine", ("skip_connect", "sep_conv_3x3"), distinct=False), None),
    (DARTS("mine", ("conv_7x1", "none", "sep_conv_3x3")).without(["none"]), None),
    (spaces.make("darts-s1").restrict({"normal_2_0": ["dil_conv_3x3"]}), None),
    (NASBench1Shot1("mine", (1, 1, 2)), {"name": "mine", "like": "nasbench1shot1-s1"}),
    (spaces.make("nasbench1shot1-s2").without(["maxpool3x3"]), None),
    (ShuffleNet("mine", **SMALL).restrict({"layer_2": ["xception_3x3"]}), None),
    (MIXED, {"name": "mixed"}),
    (OWN, {"name": "own", "code": "module"}),
    (OWN.restrict({"outer": ["deep"]}), None),
]


@pytest.mark.parametrize(("space", "written"), WRITTEN, ids=lambda v: getattr(v, "name", ""))
def test_a_space_reads_back_equal(space, written):
    mapping = space.to_mapping()
    assert (written or {}).items() <= mapping.items()
    again = read(json.loads(json.dumps(mapping)))
    assert again == space
    assert hash(again) == hash(space)
    assert again.to_mapping() == mapping
    assert again.size() == space.size()
    assert {g: m.tolist() for g, m in again.masks.items()} == {
        g: m.tolist() for g, m in space.masks.items()
    }
    rng = np.random.default_rng(0)
    for _ in range(5):
        arch = space.sample(rng)
        assert again.format(arch) == space.format(arch)
        assert again.parse(space.format(arch)) == arch
        assert again.encode(arch).tolist() == space.encode(arch).tolist()
        assert again.remarks(arch) == space.remarks(arch)


def test_code_of_the_users_is_named_and_not_written():
    """A limit is a function, a class of one's own a program: what is left of them is choices."""
    few = Constrained(NASBENCH201, lambda arch: False, "params <= 1")
    assert few.to_mapping() == {"name": "nasbench201", "limit": "params <= 1"}
    assert read(few.to_mapping()) == NASBENCH201

    class Mine(SearchSpace):
        pass

    mine = Mine("mine", MIXED.choices)
    assert mine.to_mapping()["code"].startswith("the class ")
    assert read(mine.to_mapping()).choices == MIXED.choices
    needing = [needs_code(s.to_mapping()) for s in (few, mine, OWN, MIXED, NASBENCH201)]
    assert needing == [True, True, True, False, False]


def test_arguments_that_make_another_space_are_not_written(monkeypatch):
    monkeypatch.setattr(registry, "_REGISTRY", dict(spaces.registered()))

    @spaces.register("rings")
    class Rings(SearchSpace):
        """Of a package that says of its arguments what is not so."""

        def __init__(self, name="rings", count=2):
            super().__init__(name, [Choice(f"ring_{i}", ("on", "off")) for i in range(count)])

        def arguments(self):
            return {"number": len(self.choices)}

    assert Rings().to_mapping() == {"name": "rings"}
    mapping = Rings(count=3).to_mapping()
    assert mapping["code"].endswith("Rings")
    assert read(mapping).choices == Rings(count=3).choices


@pytest.mark.parametrize(
    "mapping",
    [
        None,
        "darts",
        {},
        {"name": 3},
        {"name": "darts", "colour": "red"},
        {"name": "no-such-space"},
        {"name": "x", "like": "no-such-space"},
        {"name": "x", "like": ["darts"]},
        {"name": "nasbench201", "options": ["none"]},
        {"name": "nasbench201", "options": {"edge_0_1": "none"}},
        {"name": "nasbench201", "options": {"edge_0_1": []}},
        {"name": "nasbench201", "options": {"edge_9_1": ["none"]}},
        {"name": "nasbench201", "arguments": {"operations": 3}},
        {"name": "nasbench201", "arguments": ["operations"]},
        {"name": "nasbench201", "arguments": {"no_such": 3}},
        {"name": "nasbench201", "without": "none"},
        {"name": "nasbench201", "without": ["no such option"]},
        {"name": "x", "like": "nasbench201", "arguments": {"operations": [*map(str, range(999))]}},
        {"name": "x", "like": "nasbench1shot1-s1", "arguments": {"parents": [1] * 9}},
        {"name": "x", "like": "shufflenet", "arguments": {"repeats": [10**9]}},
        {"name": "darts", "arguments": {"operations": {"normal": []}}},
        {"name": "x", "choices": []},
        {"name": "x", "choices": [{"name": "a"}]},
        {"name": "x", "choices": [{"name": "a", "options": ["b"], "least": "c"}]},
        {"name": "x", "choices": [{"name": "a", "options": ["b"], "most": 7}]},
        {"name": "x", "code": "module", "choices": [{"name": "a", "options": ["b"]}], "routes": 1},
    ],
)
def test_what_is_no_space_is_one_sentence(mapping):
    with pytest.raises(MorphogenError) as caught:
        read(mapping)
    assert (
        "accepted" in str(caught.value)
        or "known" in str(caught.value)
        or isinstance(caught.value, SpaceError)
    )
