"""Registering a space: once, beside it; by other packages, too."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from morphogen import benchmarks, spaces
from morphogen.core import ConfigError, UnknownNameError
from morphogen.spaces import SearchSpace, about, info, register, registered
from morphogen.spaces.darts import DARTS
from morphogen.spaces.nasbench201 import NASBench201
from morphogen.spaces.shufflenet import ShuffleNet

# The tables of the papers, of CIFAR-10 with 200 epochs, in %.
RESNET = 93.97  # NAS-Bench-201, table 4; the mean of other seeds than the shipped table's


def test_every_space_is_registered_under_its_own_name_with_its_paper():
    for name, known in registered().items():
        space = spaces.make(name)
        assert (space.name, type(space)) == (name, known.kind)
        assert about(space) == info(name) == known
        assert "arXiv" in known.paper
        assert known.summary


def test_no_other_file_holds_a_list_of_spaces():
    """Methods and tables name those in which they are published; five are defaults."""
    names = {n for n in registered() if not n.isalpha()} | {"shufflenet", "nasbench1shot1"}
    defaults = {"nasbench201", "signal201", "short-connections", "dartsformer-small", "rl-darts"}
    root = Path(spaces.__file__).parents[1]
    found = []
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] in ("spaces", "methods", "benchmarks"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        held = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)} & names
        if held - defaults:
            found.append(path.relative_to(root).as_posix())
    assert found == ["cli/commands/import_nasbench101.py", "evaluators/single_path.py"]


def test_reference_architectures_belong_to_their_space():
    table = benchmarks.load("nasbench201")
    resnet = spaces.make("nasbench201").parse(info("nasbench201").reference)
    assert table.query(resnet).values["cifar10_test_200"] == pytest.approx(RESNET, abs=0.1)
    assert {n for n, known in registered().items() if known.reference} >= {"darts", "shufflenet"}
    for name, known in registered().items():
        assert bool(known.reference) == bool(known.reference_name) == bool(known.reference_reason)
        if known.reference:
            spaces.make(known.reference_space or name).parse(known.reference)


def test_a_table_is_of_spaces_whose_architectures_it_has():
    table = benchmarks.load("nasbench201")
    assert benchmarks.of(NASBench201(operations=("nor_conv_3x3", "none"))) is table
    assert benchmarks.of(NASBench201(operations=("nor_conv_3x3", "conv_7x7"))) is None
    assert benchmarks.of(NASBench201("mine")) is None


def test_a_variant_says_what_is_other_than_in_the_space_it_is_like():
    s2, whole = info("darts-s2"), info("darts")
    assert (s2.family, s2.supernet, s2.drawing) == ("darts", whole.supernet, whole.drawing)
    assert s2.evaluation == {**whole.evaluation, "network.channels": 16}
    assert (s2.reference_name, s2.table) == ("ResNet-like cells", "")


def test_a_space_of_ones_own_name_has_the_family_of_its_kind_and_nothing_published():
    known = about(ShuffleNet("mine", repeats=(1,), widths=(8,), strides=(1,), stem=4))
    assert (known.family, known.drawing) == ("shufflenet", "layers")
    assert known.search is None
    assert known.network == {}
    assert about(SearchSpace("darts", DARTS().choices)) is None  # of another kind
    assert about("nothing of that name") is None


def test_a_name_is_registered_once(monkeypatch):
    monkeypatch.setattr("morphogen.spaces.registry._REGISTRY", dict(registered()))

    def other() -> DARTS:
        return DARTS("darts-small")

    register("darts-small", like="darts")(other)
    register("darts-small", like="darts")(other)  # a notebook's cell, run twice
    assert info("darts-small").family == "darts"
    with pytest.raises(ConfigError, match="'darts-s1' is registered twice, by "):
        register("darts-s1")(other)
    with pytest.raises(ConfigError, match="registered as 'Big Space'; accepted: small letters"):
        register("Big Space")
    with pytest.raises(UnknownNameError, match="did you mean 'layers'"):
        register("other", drawing="layer")
    with pytest.raises(UnknownNameError, match="did you mean 'darts'"):
        register("other", like="dart")(other)
