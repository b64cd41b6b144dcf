"""The share of a space that keeps a limit, against counting every network by itself."""

from __future__ import annotations

import numpy as np
import pytest

import tiny
from morphogen import spaces
from morphogen.core import ConfigError
from morphogen.evaluators.limits import limits_of
from morphogen.evaluators.objectives import Costs
from morphogen.evaluators.share import share_of, smallest
from morphogen.supernets import NetworkSpec, network, space_of

SPEC = NetworkSpec(channels=2, depth=1, classes=4, in_channels=1)
OPTIONS = ["skip_connect", "nor_conv_1x1", "nor_conv_3x3"]
CELLS = spaces.make("nasbench201")
SMALL = CELLS.restrict({c.name: OPTIONS for c in CELLS.choices})


def costs(space) -> Costs:
    return Costs(space, None, SPEC, (1, 8, 8))


def asked(space, limit: str):
    return share_of(space, limits_of(limit), costs(space), np.random.default_rng(0))


def params(space, arch) -> int:
    return sum(p.numel() for p in network(space, arch, SPEC).parameters())


@pytest.fixture(scope="module")
def counted():
    """The parameters of all 18 networks of a module of one's own."""
    space = space_of(tiny.own())
    return space, sorted(params(space, arch) for arch in space.enumerate())


def test_of_a_few_architectures_each_is_counted(counted):
    space, every = counted
    middle = every[7]
    found = asked(space, f"params<={middle}")
    keep = sum(value <= middle for value in every)
    assert (found.kept, found.of, found.exact) == (keep, 18, True)
    assert f"{keep} of the 18 architectures keep the limit params<={middle} (" in found.sentence


def test_a_limit_that_nothing_keeps_is_refused_with_the_smallest_value(counted):
    space, every = counted
    with pytest.raises(ConfigError, match=f"no architecture of .* keeps: .* {every[0]:,} para"):
        asked(space, f"params<={every[0] - 1}")
    assert asked(space, f"params<={every[0]}").kept == every.count(every[0])


def test_limits_that_exclude_one_another_are_refused_together(counted):
    """A separable convolution has fewer parameters than a plain one, and more memory traffic."""
    space = counted[0].restrict(
        {"block1": ["conv3", "separable"], "block2": ["skip"], "pool": ["max"]}
    )
    known = costs(space)
    few, many = sorted(space.enumerate(), key=lambda a: known(a, "params"))
    assert known(few, "memory") > known(many, "memory")
    limit = f"params<={known(few, 'params'):.0f}, memory<={known(many, 'memory'):.0f}"
    with pytest.raises(ConfigError, match=r"keeps together: the nearest has .* alone can be kept"):
        asked(space, limit)


@pytest.mark.slow
def test_where_counts_are_sums_a_space_of_thousands_is_listed():
    """729 cells; a sample of networks counted one by one agrees with every sum."""
    known = costs(SMALL)
    found = share_of(SMALL, limits_of("params<=1300"), known, np.random.default_rng(0))
    assert found.exact
    assert found.of == 729
    every = SMALL.enumerate()
    assert found.kept == sum(known(arch, "params") <= 1300 for arch in every)
    for arch in every[::60]:
        assert known(arch, "params") == params(SMALL, arch)
    least, proven = smallest(SMALL, "params", known, every[-1], np.random.default_rng(0))
    assert proven
    assert known(least, "params") == min(known(arch, "params") for arch in every)


@pytest.mark.slow
def test_else_some_are_drawn_and_the_smallest_that_was_found_is_called_so():
    """In NAS-Bench-1Shot1 a count is no sum: its share has an interval, its least no proof."""
    space = spaces.make("nasbench1shot1-s3")
    known = costs(space)
    drawn = [space.sample(np.random.default_rng(i)) for i in range(60)]
    middle = int(np.median([known(arch, "params") for arch in drawn]))
    found = asked(space, f"params<={middle}")
    assert (found.of, found.exact) == (80, False)
    assert "95 % interval" in found.sentence
    assert 20 < found.kept < 60
    with pytest.raises(ConfigError, match="no architecture of nasbench1shot1-s3 that was found"):
        asked(space, "params<=10")
