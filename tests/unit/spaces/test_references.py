"""References: one for every space that ships, of the whole space where options are left out."""

from __future__ import annotations

from torch import nn

from morphogen import benchmarks, spaces
from morphogen.core import Choice
from morphogen.spaces import SearchSpace, reference_of
from morphogen.spaces.constrained import Constrained
from morphogen.spaces.darts import DARTS
from morphogen.supernets import OneOf
from morphogen.supernets.own import space_of


def test_every_space_has_one_with_its_reason_and_nothing_is_the_matter_with_it() -> None:
    for name in spaces.registered():
        space = spaces.make(name)
        found = reference_of(space)
        assert found is not None
        own = spaces.info(name).reference_space or name
        assert found.space == spaces.make(own)
        assert found.name
        assert found.reason
        assert found.space.remarks(found.architecture) == ()


def test_made_by_hand_and_unsearched_they_are_better_than_a_random_one_by_the_tables() -> None:
    for name, column, least in (
        ("nasbench201", "cifar10_test_200", 0.9),
        ("nasbench-macro", "test_acc", 0.99),
        ("nasbench1shot1-s2", "test_error", 0.9),
    ):
        found, table = reference_of(spaces.make(name)), benchmarks.load(name)
        assert found is not None
        assert table.rank(found.architecture, column) < (1 - least) * len(table)


def test_of_a_space_with_fewer_options_it_is_that_of_the_whole() -> None:
    whole = spaces.make("nasbench201")
    found = reference_of(whole.without(["none"]))
    assert found is not None
    assert found.space == whole
    within = Constrained(whole.without(["avg_pool_3x3"]), lambda arch: False, "nothing")
    found = reference_of(within)
    assert found is not None
    assert found.space == within.inner


def test_of_ones_own_module_it_is_the_first_option_and_of_other_spaces_none() -> None:
    module = nn.Sequential(OneOf({"x": nn.Identity(), "y": nn.ReLU()}, name="a"))
    found = reference_of(space_of(module))
    assert found is not None
    assert found.architecture["a"] == ("x",)
    assert found.name == "the first option of every choice"
    assert reference_of(SearchSpace("own", [Choice("a", ("x", "y"))])) is None
    assert reference_of(DARTS("mine", ("skip_connect", "sep_conv_3x3"))) is None
