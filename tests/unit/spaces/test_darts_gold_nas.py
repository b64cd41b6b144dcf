"""The space of GOLD-NAS: its size, its notation, its networks (specs/gold-nas.md, section 4)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from morphogen import spaces
from morphogen.core import ArchitectureError, SpaceError
from morphogen.spaces.darts_gold_nas import IndependentDARTS
from morphogen.supernets import Gates, NetworkSpec, build, network

SMALL = IndependentDARTS(cells=3)
SPEC = NetworkSpec(channels=4, classes=4, in_channels=1)


@pytest.mark.parametrize(("cells", "size"), [(1, 246_517_425.0), (14, 3.1e117), (20, 6.9e167)])
def test_size_is_that_of_the_card(cells, size):
    assert math.isclose(IndependentDARTS(cells=cells).size(), size, rel_tol=0.02)


def test_every_set_of_operations_but_the_empty_one_is_listed():
    space = IndependentDARTS(cells=1).restrict(
        {c.name: ["skip_connect"] for c in IndependentDARTS(cells=1).choices}
    )
    assert space.size() == 3 * 7 * 15 * 31
    listed = space.enumerate()
    assert len(set(listed)) == len(listed) == space.size()


def test_each_cell_keeps_its_own_operations_and_a_node_keeps_one():
    text = " ; ".join(
        f"cell{i}: skip_connect~0 sep_conv_3x3~0 | {op}~2 | {op}~0 | {op}~1"
        for i, op in enumerate(("skip_connect", "sep_conv_3x3", "skip_connect"))
    )
    arch = SMALL.parse(text)
    assert SMALL.format(arch) == text
    assert arch["cell0_2_0"] == ("skip_connect", "sep_conv_3x3")
    assert (arch["cell0_3_2"], arch["cell1_3_2"]) == (("skip_connect",), ("sep_conv_3x3",))
    with pytest.raises(ArchitectureError, match="node 3 of cell1 keeps nothing"):
        SMALL.parse(text.replace("| sep_conv_3x3~2 |", "| |"))
    with pytest.raises(ArchitectureError, match="accepted: cell0"):
        SMALL.parse("DARTS_V1")
    with pytest.raises(SpaceError, match="'none'"):
        IndependentDARTS(operations=("none", "skip_connect"))
    with pytest.raises(SpaceError, match="0 cells"):
        IndependentDARTS(cells=0)


@pytest.mark.parametrize("execution", ["plain", "fused"])
def test_a_skip_of_stride_1_is_a_batch_norm_and_its_network_agrees(execution):
    """Card 4: at stride 1 BN(affine=False) alone, at stride 2 a factorised reduce."""
    arch = SMALL.sample(np.random.default_rng(0))
    net = build(SMALL, NetworkSpec(channels=4, classes=4, in_channels=1, execution=execution))
    skip = net.options("cell0_3_2", "skip_connect")
    assert [(type(m).__mro__[1].__name__, m.weight) for m in skip] == [("BatchNorm2d", None)]
    assert len(net.cells) == 3  # whatever the depth of the specification
    alone = network(SMALL, arch, SPEC)
    x = torch.randn(4, 1, 16, 16)
    plain = build(SMALL, NetworkSpec(channels=4, classes=4, in_channels=1, execution="plain"))
    plain.load_state_dict(net.state_dict())
    gates = Gates.of(SMALL, arch)
    torch.testing.assert_close(net(x, gates), plain(x, gates), rtol=1e-4, atol=1e-4)
    assert sum(isinstance(m, nn.Conv2d) for m in alone.modules()) > 0
    assert alone(x).shape == (4, 4)


def test_it_is_registered_with_the_size_of_its_search():
    made = spaces.make("darts-gold-nas")
    assert (len(made.cells), len(made.choices)) == (14, 196)
    assert sum(len(c.options) for c in made.choices) == 392
