"""The algebra of masks is that of sets of architectures, which are listed here."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest
from scipy.stats import chi2

from morphogen import spaces
from morphogen.core import Choice, SpaceError, UnknownNameError
from morphogen.spaces import Constrained, SearchSpace, SubspaceMask

SMALL = SearchSpace(
    "small",
    [
        Choice("one", tuple("abc")),
        Choice("dropped", tuple("ab"), least=0),
        Choice("two", tuple("abcd"), least=2, most=2),
    ],
)
NB201 = spaces.make("nasbench201")


def listed(mask: SubspaceMask) -> set:
    """Its architectures, found among all by looking at each option that they keep."""
    return {
        arch
        for arch in mask.whole.enumerate()
        if all(o in mask.allowed[name] for name, kept in arch.items() for o in kept)
    }


def masks() -> list[SubspaceMask]:
    """Masks of the small space with every subset of `one` and `dropped`, and some of `two`."""
    some = [s for k in (1, 2, 3) for s in combinations("abc", k)]
    return [
        SubspaceMask.of(SMALL, {"one": one, "dropped": dropped, "two": two})
        for one, dropped, two in product(some, ("a", "ab"), ("abc", "bcd", "ad"))
    ]


def test_count_and_membership_are_those_of_the_list():
    for mask in masks():
        found = listed(mask)
        assert mask.count() == len(found) > 0
        assert {a for a in SMALL.enumerate() if a in mask} == found
        assert set(mask.space.enumerate()) == found


def test_intersection_is_that_of_the_sets():
    rng, every = np.random.default_rng(0), masks()
    for first, second in rng.choice(len(every), (60, 2)):
        one, two = every[first], every[second]
        both = one & two
        assert both == two & one == one.restrict(two.allowed)
        assert listed(both) == listed(one) & listed(two)
        assert both.count() == len(listed(both))  # 0 of an empty one
        assert both <= one
        assert (one <= two) == (both == one)
        assert SubspaceMask.of(SMALL, both.allowed) == both


def test_an_empty_mask_has_nothing_to_draw():
    one, other = (SubspaceMask.of(SMALL, {"one": [o]}) for o in "ab")
    assert (one & other).empty
    with pytest.raises(SpaceError, match="choice 'one' is left 0 options"):
        (one & other).sample(np.random.default_rng(0))
    short = SubspaceMask.of(SMALL, {"two": "a"})
    assert short.count() == 0
    with pytest.raises(SpaceError, match="allows 2 or more"):
        _ = short.space


def test_parts_of_a_split_are_disjoint_and_make_up_the_whole():
    # Few-shot NAS: 5 leaves of 3,125 on one edge. GM-NAS: 2|3, then 2|3 on another edge.
    root = SubspaceMask.of(NB201)
    first, second = NB201.choices[:2]
    leaves = root.split(first.name, [[o] for o in first.options])
    assert [leaf.count() for leaf in leaves] == [3125] * 5
    two, three = root.split(first.name, [first.options[:2], first.options[2:]])
    assert [two.count(), three.count()] == [6250, 9375]
    deep = [
        m
        for m in (two, three)
        for m in m.split(second.name, [second.options[:2], second.options[2:]])
    ]
    assert [m.count() for m in deep] == [2500, 3750, 3750, 5625]
    for parts in (leaves, deep):
        owners = Counter(sum(a in part for part in parts) for a in NB201.enumerate()[::7])
        assert list(owners) == [1]
        rows = [
            np.array([[o in m.allowed[c.name] for o in c.options] for c in NB201.choices])
            for m in parts
        ]
        assert (sum(rows) >= 1).all()
    of_parent = [np.isin(first.options, m.allowed[first.name]).astype(int) for m in (two, three)]
    assert (sum(of_parent) == 1).all()
    both = [
        leaf for part in leaves for leaf in part.split(second.name, [[o] for o in second.options])
    ]
    assert [leaf.count() for leaf in both] == [625] * 25
    assert not any((a & b).count() for a, b in combinations(both, 2))


@pytest.mark.parametrize(
    ("choice", "groups", "says"),
    [
        ("one", ["ab"], "accepted: groups in which each of a, b, c is once"),
        ("one", ["ab", "bc"], "accepted: groups"),
        ("one", ["abc", ""], "nothing"),
        ("two", ["ab", "cd"], "keeps up to 2 options at once"),
    ],
)
def test_what_is_no_split_is_refused(choice, groups, says):
    with pytest.raises(SpaceError, match=says):
        SubspaceMask.of(SMALL).split(choice, groups)


def test_draws_are_uniform_over_what_is_allowed_and_valid():
    mask = SubspaceMask.of(NB201, {c.name: c.options[:2] for c in NB201.choices[2:]})
    mask = mask.restrict({NB201.choices[0].name: ["nor_conv_1x1"]})

    def valid(arch) -> bool:
        return len({arch.one(c.name) for c in NB201.choices}) > 2

    rng = np.random.default_rng(0)
    for predicate in (None, valid):
        members = [a for a in listed(mask) if predicate is None or predicate(a)]
        drawn = Counter(mask.sample(rng, predicate) for _ in range(40 * len(members)))
        assert set(drawn) <= set(members)
        square = sum((drawn[a] - 40) ** 2 / 40 for a in members)
        assert square < chi2.ppf(0.999, len(members) - 1)
    with pytest.raises(SpaceError, match="no such thing"):
        mask.sample(rng, lambda arch: False, "no such thing")


def test_of_all_options_the_space_draws_as_ever():
    limited = Constrained(NB201, lambda a: a.one(NB201.choices[0].name) != "none", "no none")
    for space in (NB201, limited):
        mask = SubspaceMask.of(space)
        assert mask.space is space
        one, two = np.random.default_rng(1), np.random.default_rng(1)
        assert [mask.sample(one) for _ in range(5)] == [space.sample(two) for _ in range(5)]
    part = SubspaceMask.of(limited, {NB201.choices[0].name: ["none", "skip_connect"]})
    drawn = {part.sample(np.random.default_rng(i)).one(NB201.choices[0].name) for i in range(9)}
    assert drawn == {"skip_connect"}


def test_other_spaces_and_names_are_refused():
    with pytest.raises(SpaceError, match="accepted: two of one space"):
        _ = SubspaceMask.of(NB201) & SubspaceMask.of(SMALL)
    with pytest.raises(UnknownNameError):
        SubspaceMask.of(SMALL, {"one": "z"})
    with pytest.raises(UnknownNameError):
        SubspaceMask.of(SMALL).split("three", ["ab"])


def test_a_mask_derives_by_the_rule_of_the_space_among_what_is_allowed():
    rng = np.random.default_rng(3)
    for space in (NB201, spaces.make("darts")):
        scores = {g: rng.random(m.shape) for g, m in space.masks.items()}
        assert SubspaceMask.of(space).derive(scores) == space.derive(scores)
        edges = {c.name: c.options[1::2] for c in space.choices[::2]}
        mask = SubspaceMask.of(space, edges)
        found = mask.derive(scores)
        assert found in mask
        low = {g: s.copy() for g, s in scores.items()}
        for group, choices in space.groups.items():
            for row, choice in enumerate(choices):
                for column, option in enumerate(choice.options):
                    if option not in mask.allowed[choice.name]:
                        low[group][row, column] = -1.0
        assert found == space.derive(low)  # as if all that is left out scored least


def test_connected_cells_of_nasbench201_are_those_of_the_four_paths():
    """gm-nas 7.11: edges (1<-0, 2<-0, 2<-1, 3<-0, 3<-1, 3<-2), over all 5^6 cells."""
    order = ["edge_0_1", "edge_0_2", "edge_1_2", "edge_0_3", "edge_1_3", "edge_2_3"]
    paths = [{3}, {1, 5}, {0, 4}, {0, 2, 5}]
    count = 0
    for arch in NB201.enumerate():
        open_edges = {i for i, name in enumerate(order) if arch.one(name) != "none"}
        expected = any(path <= open_edges for path in paths)
        assert NB201.connected(arch) == expected
        count += expected
    # By inclusion and exclusion over which edges are open (4 of 5 operations each).
    subsets = product((0, 1), repeat=6)
    total = sum(4 ** sum(s) for s in subsets if any(all(s[e] for e in path) for path in paths))
    assert count == total
