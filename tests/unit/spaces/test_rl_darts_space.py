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


SMALL = RLDARTS("small", ("conv_3x3", "relu", "tanh", "none"), nodes=3)


def pairs(space, arch):
    """(cell, node) -> what it keeps, as a set."""
    cells = ("normal", "reduce")
    return {(c, t): frozenset(space.kept(arch, c, t)) for c in cells for t in space.nodes}


def test_neighbours_differ_in_one_kept_edge():
    """Against all values of each node: those that share all but one pair with the present one."""
    arch = SMALL.sample(np.random.default_rng(5))
    now = pairs(SMALL, arch)
    found = SMALL.neighbours(arch)
    assert len(set(found)) == len(found)
    options = ("conv_3x3", "relu", "tanh")
    expected = set()
    for (cell, target), kept in now.items():
        every = [(o, s) for s in range(target) for o in options]
        values = [{a} for a in every] if target == 1 else [
            {a, b} for a in every for b in every if a[1] < b[1]
        ]  # fmt: skip
        for value in values:
            (gone, come) = kept - value, value - kept
            if len(come) != 1:
                continue
            ((old, source),), ((new, other),) = gone, come
            # The edge stays and has another operation, or moves and takes its operation along.
            if source == other or old == new:
                expected.add((cell, target, frozenset(value)))
    changed = set()
    for neighbour in found:
        after = pairs(SMALL, neighbour)
        ((node, value),) = [(n, v) for n, v in after.items() if v != now[n]]
        changed.add((*node, value))
    assert changed == expected


def test_a_child_has_every_node_of_either_parent():
    rng = np.random.default_rng(2)
    one, other = SMALL.sample(rng), SMALL.sample(rng)
    sides = set()
    for _ in range(20):
        child = pairs(SMALL, SMALL.crossover(one, other, rng))
        for node, value in child.items():
            parents = pairs(SMALL, one)[node], pairs(SMALL, other)[node]
            assert value in parents
            if parents[0] != parents[1]:
                sides.add((node, parents.index(value)))
    assert len(sides) == 2 * len({node for node, _ in sides})


def test_its_graph_is_that_of_its_operations():
    """One input, five operations, the output: 21 entries of a triangle, and rows of operations."""
    cell = "conv_3x3~0 | relu~0 tanh~1 | conv_3x3~1 relu~2"
    arch = SMALL.parse(f"normal: {cell} ; reduce: {cell}")
    vector = SMALL.encode(arch, "adjacency")
    assert len(vector) == 2 * (21 + 5 * 3)
    matrix = np.zeros((7, 7))
    matrix[np.triu_indices(7, 1)] = vector[:21]
    edges = {(int(a), int(b)) for a, b in np.argwhere(matrix)}
    reads = {(0, 1), (0, 2), (1, 3), (1, 4), (2, 5), (3, 5)}  # 1: conv; 2, 3: node 2; 4, 5: node 3
    assert edges == reads | {(i, 6) for i in range(1, 6)}
    labels = vector[21:36].reshape(5, 3).argmax(1)
    assert [SMALL.operations[i] for i in labels] == ["conv_3x3", "relu", "tanh", "conv_3x3", "relu"]


def test_nodes_with_more_edges_than_they_keep_select():
    chosen = {selection.choices: selection.keep for selection in SMALL.edge_selections()}
    assert chosen == {
        tuple(f"{cell}_3_{source}" for source in range(3)): 2 for cell in ("normal", "reduce")
    }
    assert SMALL.summed()[:2] == (("normal_1_0",), ("normal_2_0", "normal_2_1"))


def test_a_record_of_another_space_is_refused():
    record = "Genotype(normal=[('relu', 0)], normal_concat=[1, 2, 3], reduce=[], reduce_concat=[])"
    with pytest.raises(ArchitectureError, match="genotype has 1 edges in the normal cell"):
        SMALL.parse(record)
    with pytest.raises(ArchitectureError, match=r"concatenates nodes \[2, 3\].*accepted: 1 to 3"):
        SMALL.parse(record.replace("[1, 2, 3]", "[2, 3]"))
    with pytest.raises(ArchitectureError, match="node 2 of the normal cell has no source 2"):
        SMALL.parse("normal: relu~0 | relu~0 relu~2 | relu~0 relu~1 ; reduce: relu~0 | a~0 | b~0")


def test_a_cell_of_nonlinearities_alone_is_no_matter_and_skips_are():
    cell = "relu~0 | relu~0 tanh~1 | relu~0 relu~1"
    assert SMALL.remarks(SMALL.parse(f"normal: {cell} ; reduce: {cell}")) == ()
    space = spaces.make("rl-darts-minatar")
    skips = "skip_connect~0 | skip_connect~0 skip_connect~1 | skip_connect~0 relu~1"
    said = space.remarks(space.parse(f"normal: {skips} ; reduce: {cell}"))
    assert len(said) == 1
    assert said[0].startswith("4 of 5 operations of the normal cell are skip connections")
