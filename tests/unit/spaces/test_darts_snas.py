"""The DARTS cells with every edge free: counts, rule, notation, published cells, networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from morphogen import cost
from morphogen.core import MorphogenError
from morphogen.spaces import make
from morphogen.spaces.darts_cells import CELLS, EDGES, NODES, OPERATIONS
from morphogen.spaces.darts_snas import FreeDARTS
from morphogen.supernets import Gates, NetworkSpec, build, network
from morphogen.supernets.darts_network import cell_places

SPACE = FreeDARTS()
HOLLOW = "normal: | skip_connect~0 | | sep_conv_3x3~2 ; reduce: | | | dil_conv_3x3~0"
"""Nodes without inputs, and a normal cell whose one convolution reads such a node."""


def test_edges_are_independent_and_none_is_one_of_eight():
    assert SPACE.size() == 8 ** (2 * len(EDGES))
    arch = SPACE.sample(np.random.default_rng(0))
    assert len(SPACE.neighbours(arch)) == 2 * len(EDGES) * 7
    assert SPACE.edge_selections() == ()


def test_the_best_option_of_every_edge_is_derived_none_among_them():
    rng = np.random.default_rng(1)
    scores = {c: rng.random((len(EDGES), len(OPERATIONS))) for c in CELLS}
    scores["normal"][::3, 0] = 1.0
    arch = SPACE.derive(scores)
    for cell in CELLS:
        best = [OPERATIONS[i] for i in scores[cell].argmax(axis=1)]
        assert [arch.one(c.name) for c in SPACE.groups[cell]] == best
    listed = {(cell, t): SPACE.kept(arch, cell, t) for cell in CELLS for t in NODES}
    assert 0 < sum(map(len, listed.values())) < 2 * len(EDGES)
    assert sum(map(len, listed.values())) == sum(v != ("none",) for v in arch.values())


def test_notation_lists_what_is_kept_and_reads_it_back():
    rng = np.random.default_rng(2)
    for arch in [SPACE.sample(rng) for _ in range(50)]:
        text = SPACE.format(arch)
        assert SPACE.parse(text) == arch
        assert "none" not in text
    arch = SPACE.parse(HOLLOW)
    assert sum(v != ("none",) for v in arch.values()) == 3
    with pytest.raises(MorphogenError, match="of choice 'normal_2_0'"):
        SPACE.without(["none"]).parse(HOLLOW)


@pytest.mark.parametrize(
    ("name", "params", "skips"),
    [
        # SNAS card 4 and 3.4: with affine norms after pools; the paper's table has 2.9 M for mild.
        ("SNAS_MILD", 2_663_542, 4),
        ("SNAS_MODERATE", 2_848_222, 4),
        ("SNAS_AGGRESSIVE", 2_313_622, 5),
    ],
)
def test_published_cells_have_the_parameters_of_the_card(name, params, skips):
    arch, spec = SPACE.parse(name), NetworkSpec(channels=36, depth=20)
    pools = sum(
        2 * place.channels
        for place in cell_places(SPACE, spec)
        for target in NODES
        for operation, _ in SPACE.kept(arch, place.kind, target)
        if "pool" in operation
    )
    assert cost.of(SPACE, arch, spec).params + pools == params
    kept = [p for target in NODES for p in SPACE.kept(arch, "normal", target)]
    assert len(kept) == 8
    assert sum(operation == "skip_connect" for operation, _ in kept) == skips


def test_two_edges_per_node_are_the_same_network_in_the_darts_space():
    darts, spec = make("darts"), NetworkSpec(channels=4, depth=3)
    made = []
    for space in (darts, SPACE):
        torch.manual_seed(0)
        made.append(network(space, space.parse("SNAS_MILD"), spec).eval())
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(made[0](x), made[1](x))


@pytest.mark.parametrize("execution", ["plain", "fused"])
def test_a_node_without_inputs_is_zero_in_networks_and_supernets(execution):
    arch, spec = SPACE.parse(HOLLOW), NetworkSpec(channels=4, depth=3, execution=execution)
    x = torch.randn(2, 3, 16, 16)
    for net in (network(SPACE, arch, spec), build(SPACE, spec)):
        seen = []
        net.cells[0].register_forward_hook(lambda *a, s=seen: s.append(a[2]))
        given = (x,) if net.__class__.__name__ == "DARTSNetwork" else (x, Gates.of(SPACE, arch))
        assert net(*given).shape == (2, 10)
        first, second, third, _ = seen[0].chunk(4, dim=1)
        assert not first.any()
        assert not third.any()
        assert second.any()
    assert [r for r in SPACE.remarks(arch) if "no input" in r] == [
        f"node {node} of the {cell} cell has no input and is zero"
        for cell, nodes in (("normal", (2, 4)), ("reduce", (2, 3, 4)))
        for node in nodes
    ]
