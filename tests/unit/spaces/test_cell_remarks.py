"""What spaces say of bad architectures, against the weights of the networks that are built."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from morphogen import benchmarks, cost, spaces
from morphogen.core import Architecture
from morphogen.spaces import SearchSpace
from morphogen.spaces.nasbench1shot1 import cell_of
from morphogen.spaces.nasbench201 import open_paths
from morphogen.supernets import NetworkSpec, network

TINY = NetworkSpec(channels=4, depth=1)
NB201 = spaces.make("nasbench201")
NOTHING = "|{0}~0|+|{0}~0|{0}~1|+|{0}~0|{0}~1|{0}~2|"
RESNET = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"
DEAD = "|nor_conv_3x3~0|+|none~0|none~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
"""Two convolutions, of which one leads nowhere and the other comes from nowhere."""


def params(space: SearchSpace, arch: Architecture, depth: int = 1) -> int:
    return cost.of(space, arch, replace(TINY, depth=depth), (3, 16, 16)).params


def learning(arch: Architecture) -> int:
    """How many kernels of the built network the loss depends on: a norm has its own constant."""
    net = network(NB201, arch, TINY).train()
    net(torch.randn(4, 3, 16, 16)).square().sum().backward()
    kernels = [p for p in net.parameters() if p.ndim == 4]
    return sum(p.grad is not None and bool(p.grad.any()) for p in kernels)


def test_cells_of_nasbench201_that_do_not_learn_are_those_without_weights_in_use() -> None:
    torch.manual_seed(0)
    empty = NB201.parse(NOTHING.format("skip_connect"))
    bare, idle = params(NB201, empty), learning(empty)
    rng = np.random.default_rng(0)
    # Few convolutions, so that many of the cells have none in use.
    few = NB201.restrict(
        {c.name: ("none", "skip_connect", "avg_pool_3x3") for c in NB201.choices[1:]}
    )
    made = [NB201.parse(RESNET), NB201.parse(DEAD), empty, *(few.sample(rng) for _ in range(7))]
    found = set()
    for arch in made:
        said = " ".join(NB201.remarks(arch))
        if "disconnected" in said:
            continue
        assert ("no parameters" in said) is (params(NB201, arch) == bare)
        dull = "can only pass and pool" in said
        assert dull is (learning(arch) == idle)
        found.add((dull, "no parameters" in said))
    assert found == {(True, True), (True, False), (False, False)}
    assert NB201.remarks(NB201.parse(RESNET)) == ()
    assert "no convolution on a path" in NB201.remarks(NB201.parse(DEAD))[0]


def test_an_edge_counts_where_its_removal_closes_a_path() -> None:
    rng = np.random.default_rng(1)
    for arch in (NB201.sample(rng) for _ in range(300)):
        paths = open_paths(arch)
        counted = sum(
            arch[c.name] != ("skip_connect",)
            and open_paths(arch.replace(**{c.name: "none"})) != paths
            for c in NB201.choices
        )
        said = any("of the cell's 6" in sentence for sentence in NB201.remarks(arch))
        assert said is (bool(paths) and counted < 2)


def test_mostly_skips_and_none_are_the_table_s_lower_half() -> None:
    table = benchmarks.load("nasbench201")
    ranks = table.values("cifar10_test_200").argsort()[::-1].argsort()
    told = np.array([any("of the cell's 6" in s for s in NB201.remarks(a)) for a in _all(NB201)])
    assert (ranks[told] > len(table) / 2).mean() > 0.7
    macro = spaces.make("nasbench-macro")
    test = benchmarks.load("nasbench-macro")
    ranks = test.values(test.test_metrics[0]).argsort()[::-1].argsort()
    told = np.array([bool(macro.remarks(a)) for a in test.architectures])
    assert told.sum() == 577  # sum of C(8, k) 2^(8-k), k from 5 to 8
    assert (ranks[told] > len(test) / 2).all()


def _all(space: SearchSpace) -> tuple[Architecture, ...]:
    return benchmarks.load(space.name).architectures


SKIPS = " | ".join(["skip_connect~0 skip_connect~1"] * 4)
POOLS = " | ".join(["max_pool_3x3~0 avg_pool_3x3~1"] * 4)
CONVS = " | ".join(["sep_conv_3x3~0 skip_connect~1"] * 4)
FIVE = f"skip_connect~0 skip_connect~1{CONVS[CONVS.index(' |') :]}"


@pytest.mark.parametrize(
    ("normal", "learns", "collapsed"),
    [(SKIPS, False, "8"), (POOLS, False, ""), (CONVS, True, ""), (FIVE, True, "5")],
)
def test_normal_cells_of_darts(normal: str, learns: bool, collapsed: str) -> None:
    space = spaces.make("darts")
    arch, bare = (space.parse(f"normal: {n} ; reduce: {CONVS}") for n in (normal, SKIPS))
    said = space.remarks(arch)
    assert any("no convolution" in s for s in said) is not learns
    assert (params(space, arch, 3) > params(space, bare, 3)) is learns
    skips = [s for s in said if "skip connections" in s]
    assert [s.split()[0] for s in skips] == ([collapsed] if collapsed else [])


def test_a_convolution_of_noise_is_not_reached() -> None:
    space = spaces.make("darts-s4")
    noise = "noise~0 noise~1"
    cell = f"{noise} | noise~0 sep_conv_3x3~2 | {noise} | {noise}"
    conv = " | ".join(["sep_conv_3x3~0 noise~1"] * 4)
    said = space.remarks(space.parse(f"normal: {cell} ; reduce: {conv}"))
    assert said[0] == "no convolution of the normal cell is reached from its inputs"


def test_cells_of_nasbench1shot1_that_only_pool() -> None:
    space = spaces.make("nasbench1shot1-s2")
    rng, found = np.random.default_rng(1), set()
    nodes = [name for c in space.choices if (name := c.name).startswith("operation")]
    for arch in (space.sample(rng) for _ in range(60)):
        pooled = arch.replace(**dict.fromkeys(nodes[1:], "maxpool3x3"))
        for cell in (arch, pooled):
            dull = any("only pool" in s for s in space.remarks(cell))
            assert dull is (set(cell_of(cell)[1]) <= {"maxpool3x3"})
            found.add(dull)
    assert found == {True, False}
