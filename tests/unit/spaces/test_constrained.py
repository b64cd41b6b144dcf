"""A constrained space proposes only what is accepted, and is its space in all else."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
from scipy.stats import chi2

from morphogen import benchmarks, spaces, supernets
from morphogen.core import Choice, SpaceError
from morphogen.spaces import Constrained, Differentiable, SearchSpace, capabilities

SPACE = spaces.make("nasbench201")
MACRO = spaces.make("nasbench-macro")


def few_blocks(arch) -> bool:
    """At most 5 of 8 layers with the large block."""
    return sum(arch.one(f"layer_{i}") == "MB6_K5" for i in range(1, 9)) <= 2


def no_none(arch) -> bool:
    return all(arch.one(c.name) != "none" for c in SPACE.choices)


def only(arch) -> bool:
    return all(arch.one(c.name) == "skip_connect" for c in SPACE.choices)


def nothing(arch) -> bool:
    return False


def test_every_proposal_is_accepted_and_a_proposal_of_the_space():
    space = Constrained(MACRO, few_blocks, "large blocks <= 2")
    rng = np.random.default_rng(0)
    arch = other = space.sample(rng)
    for _ in range(300):
        arch = space.mutate(arch, rng)
        other = space.crossover(arch, space.sample(rng), rng)
        assert few_blocks(arch)
        assert few_blocks(other)
        assert arch == MACRO.check(arch)
    near = space.neighbours(arch)
    assert near == [n for n in MACRO.neighbours(arch) if few_blocks(n)]
    assert 0 < len(near) < len(MACRO.neighbours(arch)) or all(map(few_blocks, near))
    assert space.enumerate() == [a for a in MACRO.enumerate() if few_blocks(a)]


def test_samples_are_uniform_over_what_is_accepted():
    small = SearchSpace("small", [Choice("a", tuple("123")), Choice("b", tuple("123"))])
    space = Constrained(small, lambda a: a.one("a") != a.one("b"), "a != b")
    rng = np.random.default_rng(0)
    counts = Counter(space.sample(rng) for _ in range(6000))
    assert len(counts) == 6
    assert sum((n - 1000) ** 2 / 1000 for n in counts.values()) < chi2.ppf(0.999, 5)


def test_it_has_the_class_capabilities_notation_and_benchmark_of_its_space():
    space = Constrained(SPACE, no_none, "no none")
    assert isinstance(space, type(SPACE))
    assert isinstance(space, Differentiable)
    assert capabilities(space) == capabilities(SPACE)
    assert benchmarks.of(space) is benchmarks.of(SPACE)
    arch = space.sample(np.random.default_rng(0))
    assert space.parse(space.format(arch)) == arch
    assert np.array_equal(space.encode(arch, "path"), SPACE.encode(arch, "path"))
    assert space.size() == SPACE.size()
    assert space.choices == SPACE.choices


def test_networks_and_supernets_are_those_of_its_space():
    space = Constrained(SPACE, no_none, "no none")
    spec = supernets.NetworkSpec(channels=2, depth=1, classes=3)
    arch = space.sample(np.random.default_rng(0))
    one, two = (supernets.network(s, arch, spec) for s in (space, SPACE))
    assert [tuple(p.shape) for p in one.parameters()] == [tuple(p.shape) for p in two.parameters()]
    assert type(supernets.build(space, spec)) is type(supernets.build(SPACE, spec))


def test_an_isolated_architecture_mutates_to_one_further_away():
    """Of all-skip and all-pool, six edges apart, neither has an accepted neighbour."""
    ends = {"skip_connect", "avg_pool_3x3"}

    def two_ends(arch) -> bool:
        kept = {arch.one(c.name) for c in small.choices}
        return len(kept) == 1 and kept <= ends

    small = SPACE.restrict({c.name: list(ends) for c in SPACE.choices[:3]})
    small = small.restrict({c.name: ["skip_connect"] for c in SPACE.choices[3:]})

    def odd_out(arch) -> bool:
        return sum(arch.one(c.name) == "avg_pool_3x3" for c in SPACE.choices[:3]) in (0, 2)

    space = Constrained(small, odd_out, "none or two pools")
    rng = np.random.default_rng(0)
    start = next(a for a in space.enumerate() if only(a))
    assert space.neighbours(start) == []
    child = space.mutate(start, rng)
    assert child != start
    assert odd_out(child)


def test_a_limit_that_nothing_keeps_is_one_sentence_with_its_words():
    space = Constrained(SPACE, nothing, "params <= 3")
    rng = np.random.default_rng(0)
    arch = SPACE.sample(rng)
    for ask in (lambda: space.sample(rng), lambda: space.mutate(arch, rng)):
        with pytest.raises(SpaceError, match=r"satisfies params <= 3; accepted: ") as caught:
            ask()
        assert "\n" not in str(caught.value)
    assert space.crossover(arch, arch, rng) == arch  # a parent is always a child


def test_what_breaks_the_limit_is_said_and_allowed_is_asked():
    space = Constrained(SPACE, no_none, "no none")
    good = SPACE.restrict({c.name: ["nor_conv_1x1"] for c in SPACE.choices}).enumerate()[0]
    bad = good.replace(edge_0_1="none")
    assert space.allows(good)
    assert not space.allows(bad)
    assert space.remarks(good) == ()
    assert "it breaks the limit no none" in space.remarks(bad)


def test_two_limits_and_a_restriction_hold_together():
    twice = Constrained(Constrained(MACRO, few_blocks, "few"), no_identity_first, "first")
    rng = np.random.default_rng(0)
    assert all(few_blocks(a) and no_identity_first(a) for a in (twice.sample(rng),))
    assert len(twice.enumerate()) == sum(
        few_blocks(a) and no_identity_first(a) for a in MACRO.enumerate()
    )
    sub = twice.restrict({"layer_2": ["identity"]})
    assert isinstance(sub, Constrained)
    assert sub.sample(rng).one("layer_2") == "identity"
    assert not twice.allows(MACRO.parse("02222222"))
    assert not twice.allows(MACRO.parse("12222222"))


def no_identity_first(arch) -> bool:
    return arch.one("layer_1") != "identity"


def test_it_travels_to_another_process_and_is_equal_there():
    space = Constrained(SPACE, no_none, "no none")
    again = pickle.loads(pickle.dumps(space))
    assert again == space
    assert hash(again) == hash(space)
    assert type(again) is type(space)
    assert again != Constrained(SPACE, only, "no none")
    assert space != SPACE
    assert space != SPACE


WIDE = SearchSpace("wide", [Choice(f"c{i}", tuple("abcd")) for i in range(12)])


def missing(arch) -> float:
    return sum(arch.one(c.name) != "d" for c in WIDE.choices)


def test_what_cannot_be_drawn_is_found_by_mutations_that_do_not_lead_away():
    """One of 16.8 million is accepted, and two: no thousand draws find them."""
    for most in (0, 1):
        space = Constrained(
            WIDE, lambda a, most=most: missing(a) <= most, "d everywhere", missing, tries=20
        )
        one, two = (space.sample(np.random.default_rng(0)) for _ in range(2))
        assert one == two
        assert missing(one) <= most
    with pytest.raises(SpaceError, match="none of 20 random architectures satisfies"):
        Constrained(WIDE, nothing, "nothing", missing, tries=20).sample(np.random.default_rng(0))


def test_what_can_be_drawn_is_drawn_as_without_a_direction():
    plain = Constrained(WIDE, lambda a: missing(a) <= 9, "few")
    led = Constrained(WIDE, lambda a: missing(a) <= 9, "few", missing)
    draws = [[s.sample(rng) for _ in range(50)] for s, rng in _seeded(plain, led)]
    assert draws[0] == draws[1]


def _seeded(*those):
    return [(space, np.random.default_rng(3)) for space in those]
