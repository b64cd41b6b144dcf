"""The cells of RL-DARTS: edges, the rule on scores made by hand, notation, what is refused."""

import numpy as np
import pytest

from morphogen import spaces
from morphogen.core import ArchitectureError, SpaceError, UnknownNameError
from morphogen.reports.draw import draw
from morphogen.spaces.rl_darts import CLASSIC, MICRO, RLDARTS

SPACE = spaces.make("rl-darts")
NONE = MICRO.index("none")


def scores(space=SPACE, fill=0.0):
    return {group: np.full(mask.shape, fill) for group, mask in space.masks.items()}


def test_every_node_reads_from_the_input_and_from_every_node_before():
    assert [len(SPACE.node("normal", target)) for target in SPACE.nodes] == [1, 2, 3, 4]
    assert SPACE.masks["normal"].shape == SPACE.masks["reduce"].shape == (10, 5)
    assert SPACE.wiring == tuple((j, i) for i in (1, 2, 3, 4) for j in range(i))
    classic = spaces.make("rl-darts-classic")
    assert classic.choices[0].options == CLASSIC
    assert classic.masks["normal"].shape == (10, 6)


def test_its_size_counts_pairs_of_inputs_and_operations():
    """Of each cell: node 1 has 4 values, node i has C(i, 2) pairs of edges with 4 x 4."""
    cell = 4 * (1 * 16) * (3 * 16) * (6 * 16)
    assert SPACE.size() == cell**2
    small = RLDARTS("small", ("conv_3x3", "relu", "none"), nodes=3)
    assert small.size() == (2 * 4 * 12) ** 2 == len(set(small.enumerate()))


def test_none_is_never_kept_even_where_it_is_strongest():
    held = scores()
    held["normal"][:, NONE] = 9.0
    held["normal"][:, MICRO.index("tanh")] = 1.0
    arch = SPACE.derive(held)
    assert SPACE.format(arch).startswith("normal: tanh~0 | tanh~0 tanh~1 | ")
    assert "none" not in SPACE.format(arch)


def test_the_two_strongest_inputs_stay_with_their_strongest_operation():
    held = scores()
    node = SPACE.groups["reduce"].index(SPACE.choice("reduce_4_0"))
    held["reduce"][node] = [0.1, 0.2, 0.0, 0.0, 0.9]
    held["reduce"][node + 1] = [0.0, 0.0, 0.3, 0.29, 0.0]
    held["reduce"][node + 2] = [0.15, 0.0, 0.0, 0.0, 0.0]
    held["reduce"][node + 3] = [0.0, 0.0, 0.0, 0.25, 0.0]
    assert SPACE.format(SPACE.derive(held)).endswith("| tanh~1 skip_connect~3")


def test_equal_scores_keep_the_first_inputs_and_the_first_operation():
    expected = "conv_3x3~0 | conv_3x3~0 conv_3x3~1 | conv_3x3~0 conv_3x3~1 | conv_3x3~0 conv_3x3~1"
    found = SPACE.format(SPACE.derive(scores(fill=0.2)))
    assert found == f"normal: {expected} ; reduce: {expected}"


def test_random_cells_never_keep_none_and_keep_two_inputs():
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(300):
        arch = SPACE.sample(rng)
        for cell in ("normal", "reduce"):
            for target in SPACE.nodes:
                kept = SPACE.kept(arch, cell, target)
                assert len(kept) == len({source for _, source in kept}) == min(2, target)
                seen.update(operation for operation, _ in kept)
    assert seen == set(MICRO) - {"none"}


def test_texts_and_records_are_read_back_and_published_cells_are_of_another_space():
    arch = SPACE.sample(np.random.default_rng(1))
    record = SPACE.genotype(arch)
    assert list(record.normal_concat) == [1, 2, 3, 4]
    assert len(record.normal) == 7
    assert SPACE.parse(str(record)) == arch
    with pytest.raises(ArchitectureError, match="cannot read architecture 'DARTS_V1'"):
        SPACE.parse("DARTS_V1")
    text = SPACE.format(arch)
    with pytest.raises(ArchitectureError, match="node 1 of the normal cell keeps nothing"):
        SPACE.parse("normal:  |" + text.partition("|")[2])


def test_cells_are_drawn_with_their_one_input():
    cell = "conv_3x3~0 | relu~0 tanh~1 | skip_connect~0 relu~2"
    space = spaces.make("rl-darts-minatar")
    drawn = draw(space, space.parse(f"normal: {cell} ; reduce: {cell}"), width=40).splitlines()
    assert drawn[:3] == ["  normal cell", "  0", "  ├───── conv_3x3 ───────▶ 1"]
    assert "  output: nodes 1 to 3, concatenated and convolved" in drawn


def test_the_reference_is_a_network_of_another_space():
    for name, other in (
        ("rl-darts", "impala-cnn"),
        ("rl-darts-classic", "impala-cnn"),
        ("rl-darts-minatar", "impala-cnn-minatar"),
    ):
        space = spaces.make(name)
        found = spaces.reference_of(space)
        assert found is not None
        assert (found.space.name, found.space.format(found.architecture)) == (other, "blocks=2")
        assert found.space.stages == space.stages
        assert found.space.side == space.side
        assert spaces.reference_within(space) is None


def test_networks_belong_to_the_space():
    one, other = RLDARTS("a", nodes=2), RLDARTS("a", nodes=2, output="sum")
    assert one != other
    assert spaces.read(other.to_mapping()) == other
    less = spaces.make("rl-darts").without(["tanh"])
    assert spaces.read(less.to_mapping()) == less
    assert less.to_mapping() == {"name": "rl-darts", "without": ["tanh"]}


def test_what_it_cannot_be_is_refused():
    with pytest.raises(SpaceError, match="nodes is 0; accepted: 1 to 16"):
        RLDARTS(nodes=0)
    with pytest.raises(SpaceError, match="an entry of stages is 0"):
        RLDARTS(stages=(1, 0))
    with pytest.raises(UnknownNameError, match="output of space 'rl-darts'"):
        RLDARTS(output="mean")
    with pytest.raises(UnknownNameError, match="did you mean 'micro'"):
        RLDARTS(operations="mikro")
    with pytest.raises(UnknownNameError, match="operation of space 'rl-darts'"):
        RLDARTS(operations=("sep_conv_3x3", "none"))
