"""What every space inherits, on a small space with all kinds of choices."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import chisquare  # type: ignore[import-untyped]

from morphogen import spaces
from morphogen.core import Architecture, ArchitectureError, Choice, SpaceError, UnknownNameError
from morphogen.spaces import (
    Differentiable,
    Discrete,
    Encodable,
    Restrictable,
    SearchSpace,
    capabilities,
)

SMALL = SearchSpace(
    "small",
    [
        Choice("wide", ("a", "b", "c", "d"), "cell"),
        Choice("narrow", ("a", "b"), "cell"),
        Choice("two", ("p", "q", "r"), least=2, most=2),
        Choice("maybe", ("on",), least=0, most=1),
    ],
)
FIRST = Architecture({"wide": "a", "narrow": "b", "two": ("p", "r"), "maybe": ()})


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# -- structure ---------------------------------------------------------------------------------


def test_groups_collect_choices_and_masks_pad_the_short_rows() -> None:
    assert {g: [c.name for c in cs] for g, cs in SMALL.groups.items()} == {
        "cell": ["wide", "narrow"],
        "two": ["two"],
        "maybe": ["maybe"],
    }
    assert SMALL.masks["cell"].tolist() == [[True] * 4, [True, True, False, False]]
    assert SMALL.masks["two"].shape == (1, 3)


def test_space_without_choices_or_with_one_name_twice_is_refused() -> None:
    with pytest.raises(SpaceError, match=r"^space 'x' has no choices; it needs at least one$"):
        SearchSpace("x", [])
    with pytest.raises(SpaceError, match=r"^space 'x' has two choices of one name: a$"):
        SearchSpace("x", [Choice("a", ("p",)), Choice("a", ("q",)), Choice("b", ("q",))])


def test_capabilities_are_reported_in_a_fixed_order() -> None:
    assert capabilities(SMALL) == (Discrete, Encodable, Restrictable)
    assert Differentiable in capabilities(spaces.make("nasbench201"))


def test_unknown_space_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"^unknown space 'nasbench202'; did you mean 'nasb"):
        spaces.make("nasbench202")


@pytest.mark.parametrize(
    "name", ["nasbench201", "nasbench-macro", "nasbench1shot1-s1", "nasbench1shot1-s2"]
)
def test_built_in_space_is_called_as_it_is_made(name: str) -> None:
    space = spaces.make(name)
    assert space.name == name
    assert space == spaces.make(name)
    assert hash(space) == hash(spaces.make(name))
    assert space != SearchSpace(name, space.choices)


# -- architectures -----------------------------------------------------------------------------


def test_enumerate_lists_size_different_architectures() -> None:
    every = SMALL.enumerate()
    assert len(every) == len(set(every)) == SMALL.size() == 4 * 2 * 3 * 2
    assert all(SMALL.check(a) == a for a in every)


def test_check_puts_choices_and_options_in_the_order_of_the_space() -> None:
    mixed = Architecture({"maybe": (), "two": ("r", "p"), "narrow": "b", "wide": "a"})
    checked = SMALL.check(mixed)
    assert list(checked) == ["wide", "narrow", "two", "maybe"]
    assert checked == FIRST
    assert checked["two"] == ("p", "r")
    assert SMALL.check(checked) is checked


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"two": "p"}, "choice 'two' keeps p; accepted: 2 different of p, q, r"),
        ({"two": ("p", "p")}, "choice 'two' keeps p+p; accepted: 2 different of p, q, r"),
        ({"wide": ()}, "choice 'wide' keeps nothing; accepted: 1 different of a, b, c, d"),
        ({"maybe": ("on", "on")}, "choice 'maybe' keeps on+on; accepted: 0 to 1 different of on"),
    ],
)
def test_check_says_what_is_wrong(change: dict[str, str], message: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        SMALL.check(FIRST.replace(**change))
    assert str(caught.value) == message


def test_check_names_missing_and_unknown_choices_and_options() -> None:
    with pytest.raises(ArchitectureError, match=r"^space 'small': no value for choice 'narrow'$"):
        SMALL.check(Architecture({"wide": "a"}))
    with pytest.raises(UnknownNameError, match=r"^unknown choice of space 'small' 'wid'; did you"):
        SMALL.check(FIRST.replace(wid="a"))
    with pytest.raises(UnknownNameError, match=r"^unknown option of choice 'narrow' 'c'; known: a"):
        SMALL.check(FIRST.replace(narrow="c"))


def test_neighbours_are_all_that_differ_in_one_choice() -> None:
    near = SMALL.neighbours(FIRST)
    brute = [a for a in SMALL.enumerate() if sum(a[k] != FIRST[k] for k in a) == 1]
    assert len(near) == 3 + 1 + 2 + 1
    assert set(near) == set(brute)


def test_mutate_is_uniform_over_neighbours_and_leaves_its_argument() -> None:
    near = SMALL.neighbours(FIRST)
    stream, before = rng(1), Architecture(FIRST)
    drawn = [SMALL.mutate(FIRST, stream) for _ in range(7_000)]
    assert before == FIRST
    assert chisquare([drawn.count(a) for a in near]).pvalue > 1e-3
    assert set(drawn) == set(near)


def test_space_of_one_architecture_cannot_be_mutated() -> None:
    one = SearchSpace("one", [Choice("a", ("x",))])
    with pytest.raises(SpaceError, match=r"^space 'one' has one architecture; nothing can be muta"):
        one.mutate(one.sample(rng()), rng())


def test_sample_is_uniform() -> None:
    stream, every = rng(2), SMALL.enumerate()
    drawn = [SMALL.sample(stream) for _ in range(100 * len(every))]
    assert chisquare([drawn.count(a) for a in every]).pvalue > 1e-3


def test_same_generator_same_samples() -> None:
    one, two = rng(3), rng(3)
    assert [SMALL.sample(one) for _ in range(20)] == [SMALL.sample(two) for _ in range(20)]


def test_crossover_takes_every_value_from_a_parent_with_equal_chance() -> None:
    second = Architecture({"wide": "d", "narrow": "a", "two": ("q", "r"), "maybe": "on"})
    stream = rng(4)
    children = [SMALL.crossover(FIRST, second, stream) for _ in range(1_600)]
    every = [
        Architecture({k: (FIRST, second)[i][k] for k, i in zip(FIRST, pick, strict=True)})
        for pick in product((0, 1), repeat=4)
    ]
    assert chisquare([children.count(a) for a in every]).pvalue > 1e-3


def test_crossover_refuses_a_parent_of_another_space() -> None:
    with pytest.raises(ArchitectureError, match="no value for choice 'narrow'"):
        SMALL.crossover(FIRST, Architecture({"wide": "a"}), rng())


# -- text --------------------------------------------------------------------------------------


def test_text_round_trip_is_exact() -> None:
    assert SMALL.format(FIRST) == "wide=a;narrow=b;two=p+r;maybe="
    assert all(SMALL.parse(SMALL.format(a)) == a for a in SMALL.enumerate())
    assert SMALL.parse(" maybe= ; two=r+p;narrow=b;wide = a\n") == FIRST


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wide", "cannot read 'wide' in 'wide'; accepted: choice=option;choice=option;..."),
        ("", "cannot read '' in ''; accepted: choice=option;choice=option;..."),
        ("wide=a;wide=b", "choice 'wide' has two values in 'wide=a;wide=b'"),
        ("wide=a", "space 'small': no value for choice 'narrow'"),
    ],
)
def test_unreadable_text_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        SMALL.parse(text)
    assert str(caught.value) == message


# -- numbers -----------------------------------------------------------------------------------


def test_one_hot_has_zeros_in_the_padding_and_encode_leaves_it_out() -> None:
    rows = SMALL.one_hot(FIRST)
    assert rows["cell"].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]
    assert rows["two"].tolist() == [[1, 0, 1]]
    assert rows["maybe"].tolist() == [[0]]
    assert SMALL.encode(FIRST).tolist() == [1, 0, 0, 0, 0, 1, 1, 0, 1, 0]
    assert len({SMALL.encode(a).tobytes() for a in SMALL.enumerate()}) == SMALL.size()
    with pytest.raises(UnknownNameError, match=r"^unknown encoding of space 'small' 'path'"):
        SMALL.encode(FIRST, "path")


def test_derive_inverts_one_hot() -> None:
    full = [a for a in SMALL.enumerate() if a["maybe"]]
    assert all(SMALL.derive(SMALL.one_hot(a)) == a for a in full)


def test_derive_keeps_the_best_never_the_padding_and_the_first_of_equals() -> None:
    scores = {
        "cell": np.array([[0.0, 2.0, 2.0, 1.0], [-3.0, -4.0, 9.0, 9.0]]),
        "two": np.array([[0.5, 0.1, 0.5]]),
        "maybe": np.array([[-1.0]]),
    }
    assert SMALL.derive(scores) == Architecture(
        {"wide": "b", "narrow": "a", "two": ("p", "r"), "maybe": "on"}
    )


def test_derive_refuses_scores_of_another_shape() -> None:
    scores = SMALL.one_hot(FIRST)
    with pytest.raises(SpaceError, match=r"group 'cell' have shape \(1, 4\); accepted in space 's"):
        SMALL.derive({**scores, "cell": scores["cell"][:1]})
    with pytest.raises(SpaceError, match=r"group 'maybe' have shape None"):
        SMALL.derive({k: v for k, v in scores.items() if k != "maybe"})


# -- sub-spaces --------------------------------------------------------------------------------


def test_restrict_is_the_subset_and_leaves_the_whole_as_it_was() -> None:
    whole = SMALL.size()
    part = SMALL.restrict({"wide": ("d", "b"), "two": ["q", "p", "p"]})
    assert part.choice("wide").options == ("b", "d")
    assert part.choice("wide").group == "cell"
    assert part.masks["cell"].tolist() == [[True, True], [True, True]]
    assert set(part.enumerate()) == {
        a
        for a in SMALL.enumerate()
        if a["wide"] in {("b",), ("d",)} and set(a["two"]) <= {"p", "q"}
    }
    assert SMALL.size() == whole
    assert part != SMALL
    assert type(part) is type(SMALL)


def test_restrict_refuses_unknown_names_and_too_few_options() -> None:
    with pytest.raises(UnknownNameError, match=r"^unknown option of choice 'wide' 'z'"):
        SMALL.restrict({"wide": ["z"]})
    with pytest.raises(UnknownNameError, match=r"^unknown choice of space 'small' 'wids'; did you"):
        SMALL.restrict({"wids": ["a"]})
    with pytest.raises(SpaceError, match=r"^choice 'two' keeps 2 to 1 of 1 options"):
        SMALL.restrict({"two": ["p"]})
    with pytest.raises(SpaceError, match=r"^choice 'wide' has no options"):
        SMALL.restrict({"wide": []})


def test_derive_in_a_sub_space_of_padded_rows() -> None:
    part = spaces.make("nasbench201").restrict({"edge_0_1": ["none", "skip_connect"]})
    scores = np.tile([0.0, 1.0, 2.0, 3.0, 4.0], (6, 1))
    arch = part.derive({"cell": scores})
    assert arch.one("edge_0_1") == "skip_connect"
    assert arch.one("edge_2_3") == "avg_pool_3x3"
    assert part.encode(arch).shape == (2 + 5 * 5,)
