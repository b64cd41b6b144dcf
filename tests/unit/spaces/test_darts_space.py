"""The DARTS cell space and S1-S4: counts, rules, notation."""

from __future__ import annotations

import math
from itertools import combinations, product

import numpy as np
import pytest

from morphogen.core import Architecture, ArchitectureError, MorphogenError, SpaceError
from morphogen.spaces import make
from morphogen.spaces.darts import DARTS, gdas
from morphogen.spaces.darts_cells import EDGES, NODES, OPERATIONS, edge_name
from morphogen.spaces.genotype import DARTS_V1, DARTS_V2, GDAS_V1, PUBLISHED
from morphogen.spaces.robustdarts import s1, s2, s3, s4

PER_CELL = 1 * 3 * 6 * 10
ALL = [DARTS, gdas, s1, s2, s3, s4]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def small(distinct: bool = True) -> DARTS:
    """A sub-space small enough to list: sources 0 and 1 only, mostly one operation."""
    space = DARTS() if distinct else gdas()
    allowed = {c.name: ("none",) for c in space.choices}
    for target in NODES:
        for source in (0, 1):
            allowed[edge_name("normal", source, target)] = ("skip_connect",)
            allowed[edge_name("reduce", source, target)] = ("skip_connect",)
    allowed[edge_name("normal", 0, 3)] = ("none", "skip_connect", "sep_conv_3x3")
    allowed[edge_name("normal", 2, 3)] = ("max_pool_3x3",)
    allowed[edge_name("reduce", 4, 5)] = ("max_pool_3x3", "none", "avg_pool_3x3")
    return space.restrict(allowed)


def test_sizes_of_the_published_spaces():
    assert DARTS().size() == (PER_CELL * 7**8) ** 2
    assert s2().size() == s3().size() == s4().size() == (PER_CELL * 2**8) ** 2
    assert s1().size() == (PER_CELL * 2**8) ** 2
    assert gdas().size() == math.prod(math.comb(7 * n, 2) for n in NODES) ** 2


@pytest.mark.parametrize(
    "space", [small(), small(distinct=False), s1(), s3(), s4()], ids=lambda s: s.name
)
def test_size_is_what_check_lets_pass_node_by_node(space, rng):
    # The nodes are independent, so the product of the counts per node is the size. Per node every
    # combination of values that its edges could have by themselves is tried.
    total = 1
    arch = space.sample(rng)
    for cell in ("normal", "reduce"):
        for target in NODES:
            edges = space.node(cell, target)
            values = [
                [v for k in range(c.least, c.most + 1) for v in combinations(c.options, k)]
                for c in edges
            ]
            passing = 0
            for value in product(*values):
                candidate = arch.replace(**{c.name: v for c, v in zip(edges, value, strict=True)})
                try:
                    passing += space.check(candidate) == candidate
                except ArchitectureError:
                    continue
            total *= passing
    assert total == space.size()


@pytest.mark.parametrize("distinct", [True, False])
def test_enumerate_lists_each_architecture_once(distinct):
    space = small(distinct)
    listed = space.enumerate()
    assert len(listed) == len(set(listed)) == space.size()
    assert all(space.check(a) == a for a in listed)


def test_listing_a_huge_space_is_refused():
    with pytest.raises(SpaceError, match="restrict the space"):
        DARTS().enumerate()


def test_names_and_order_of_the_choices():
    space = DARTS()
    assert [c.name for c in space.groups["normal"]][:5] == [
        "normal_2_0",
        "normal_2_1",
        "normal_3_0",
        "normal_3_1",
        "normal_3_2",
    ]
    assert len(EDGES) == 14
    assert all(space.masks[g].shape == (14, 8) for g in ("normal", "reduce"))
    assert all((c.least, c.most) == (0, 1) for c in space.choices)
    assert space.choices[0].options == OPERATIONS


def test_make_knows_all_of_them():
    for name in ("darts", "darts-s1", "darts-s2", "darts-s3", "darts-s4"):
        assert make(name).name == name


def test_s1_has_two_operations_on_each_edge_of_the_published_list():
    space = s1()
    assert [len(space.groups[g]) for g in ("normal", "reduce")] == [14, 14]
    assert all(len(c.options) == 2 for c in space.choices)
    normal = [c.options for c in space.groups["normal"]]
    assert normal[0] == ("skip_connect", "dil_conv_3x3")
    assert normal[5] == ("max_pool_3x3", "skip_connect")
    assert normal[13] == ("dil_conv_3x3", "dil_conv_5x5")
    reduce = [c.options for c in space.groups["reduce"]]
    assert reduce[0] == ("max_pool_3x3", "avg_pool_3x3")
    assert reduce[6] == ("max_pool_3x3", "sep_conv_3x3")
    assert reduce[13] == ("skip_connect", "dil_conv_5x5")


def test_s2_and_s3_are_restrictions_of_the_darts_space():
    for sub in (s2(), s3()):
        options = {c.name: c.options for c in sub.choices}
        assert DARTS().restrict(options).choices == sub.choices
    assert s4().choices[0].options == ("noise", "sep_conv_3x3")


@pytest.mark.parametrize("make_space", ALL)
def test_samples_neighbours_and_children_are_valid(make_space, rng):
    space = make_space()
    a, b = space.sample(rng), space.sample(rng)
    near = space.neighbours(a)
    assert len(near) == len(set(near))
    assert a not in near
    for arch in (a, b, *near[::7], space.mutate(a, rng), space.crossover(a, b, rng)):
        assert space.check(arch) == arch
        assert space.parse(space.format(arch)) == arch
        assert space.from_genotype(space.genotype(arch)) == arch
        assert space.parse(repr(space.genotype(arch))) == arch


def test_neighbours_of_the_full_space():
    space = DARTS()
    arch = space.parse("DARTS_V2")
    # 16 kept edges with 6 other operations; node t can move either edge to t - 2 other sources.
    assert len(space.neighbours(arch)) == 16 * 6 + 2 * 2 * sum(t - 2 for t in NODES)


def test_neighbours_connect_the_whole_small_space():
    space = small()
    seen = {space.enumerate()[0]}
    frontier = list(seen)
    while frontier:
        frontier = [n for a in frontier for n in space.neighbours(a) if n not in seen]
        seen.update(frontier)
    assert seen == set(space.enumerate())


def test_sampling_is_uniform(rng):
    space = small()
    counts = dict.fromkeys(space.enumerate(), 0)
    draws = 300 * len(counts)
    for _ in range(draws):
        counts[space.sample(rng)] += 1
    chi2 = sum((c - 300) ** 2 / 300 for c in counts.values())
    assert chi2 < 2 * len(counts) + 20


def test_crossover_takes_whole_nodes(rng):
    space = DARTS()
    a, b = space.sample(rng), space.sample(rng)
    child = space.crossover(a, b, rng)
    for cell in ("normal", "reduce"):
        for target in NODES:
            node = [child[c.name] for c in space.node(cell, target)]
            parents = [[p[c.name] for c in space.node(cell, target)] for p in (a, b)]
            assert node in parents


def test_published_cells_in_text_and_genotype_form():
    space = DARTS()
    arch = space.parse("DARTS_V1")
    assert space.format(arch).startswith(
        "normal: sep_conv_3x3~0 sep_conv_3x3~1 | skip_connect~0 sep_conv_3x3~1 | "
    )
    assert DARTS_V1.normal[0] == ("sep_conv_3x3", 1)
    assert DARTS_V1.reduce[-1] == ("avg_pool_3x3", 0)
    assert DARTS_V2.normal[-1] == ("dil_conv_3x3", 2)
    assert GDAS_V1.reduce[4] == ("dil_conv_5x5", 2)
    assert repr(DARTS_V2).startswith(
        "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0)"
    )
    assert "normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0)" in repr(DARTS_V2)
    for name, genotype in PUBLISHED.items():
        assert space.parse(repr(genotype)) == space.parse(name)
    listed = repr(DARTS_V1).replace("range(2, 6)", "[2, 3, 4, 5]")
    assert space.parse(listed) == arch


def test_the_order_of_edges_within_a_node_is_free():
    space = s2()
    node = "skip_connect~{} sep_conv_3x3~{}"
    straight = " | ".join([node.format(0, 1)] * 4)
    turned = " | ".join(["sep_conv_3x3~1 skip_connect~0"] * 4)
    a = space.parse(f"normal: {straight} ; reduce: {straight}")
    assert a == space.parse(f" reduce:{turned};normal:{turned} ")


GOOD = "skip_connect~0 skip_connect~1"


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ("skip_connect~0", "node 2 of the normal cell keeps skip_connect~0; accepted: 2"),
        ("skip_connect~0 none~1", "node 2 of the normal cell keeps"),
        ("skip_connect~0 skip_connect~2", "no source 2"),
        ("skip_connect~0 sep_conv_3x3~0", "normal_2_0"),
        ("skip_connect~0 sep_conv_3x3", "cannot read 'sep_conv_3x3'"),
        ("skip_connect~0 sep_con_3x3~1", "did you mean 'sep_conv_3x3'"),
    ],
)
def test_malformed_text_is_named(node, message):
    text = f"normal: {node} | {GOOD} | {GOOD} | {GOOD} ; reduce: " + " | ".join([GOOD] * 4)
    with pytest.raises(MorphogenError, match=message.replace("|", r"\|")):
        DARTS().parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "normal: " + GOOD,
        f"normal: {GOOD} ; reduce: {GOOD}",
        "Genotype(normal=__import__('os'))",
        "Genotype(normal=[], normal_concat=range(2, 6), reduce=[], reduce_concat=range(2, 6))",
        "Genotype(normal=[1], normal_concat=range(2, 6), reduce=[], reduce_concat=range(2, 6))",
        repr(DARTS_V1).replace("range(2, 6)", "[2, 3]", 1),
        "Genotype(",
        "DARTS_V3",
    ],
)
def test_unreadable_text_is_refused(text):
    with pytest.raises(ArchitectureError):
        DARTS().parse(text)


def test_an_operation_outside_the_sub_space_is_refused():
    with pytest.raises(MorphogenError, match="dil_conv_3x3"):
        s2().parse("DARTS_V2")


def uniform(space: DARTS) -> dict[str, np.ndarray]:
    return {g: np.full(m.shape, 1.0 / m.shape[1]) for g, m in space.masks.items()}


def test_derive_never_keeps_none_and_breaks_ties_low():
    space = DARTS()
    scores = uniform(space)
    for matrix in scores.values():
        matrix[:, 0] = 0.9  # none is largest everywhere
    arch = space.derive(scores)
    node = "max_pool_3x3~0 max_pool_3x3~1"
    cell = " | ".join([node] * 4)
    assert space.format(arch) == f"normal: {cell} ; reduce: {cell}"


def test_derive_takes_the_two_best_edges_by_their_best_operation():
    space = DARTS()
    scores = uniform(space)
    normal = scores["normal"]
    normal[:] = 0.01
    row = {edge: i for i, edge in enumerate(EDGES)}
    normal[row[3, 5], 4] = 0.5
    normal[row[1, 5], 7] = 0.4
    normal[row[3, 5], 5] = 0.45  # second of the best edge: loses to another edge
    normal[row[0, 5], 0] = 0.99  # mass on none makes no edge better
    normal[row[2, 4], [5, 6]] = 0.3  # equal operations: the first
    normal[row[1, 4], 3] = 0.2
    normal[row[3, 4], 3] = 0.2  # equal edges: the lower source
    arch = space.derive(scores)
    cell = space.format(arch).split(" ; ")[0].split(" | ")
    assert cell[3] == "dil_conv_5x5~1 sep_conv_3x3~3"
    assert cell[2] == "skip_connect~1 sep_conv_5x5~2"


def test_gdas_may_keep_two_operations_of_one_edge():
    space = gdas()
    scores = uniform(space)
    scores["normal"][:] = 0.01
    row = EDGES.index((3, 5))
    scores["normal"][row, 4], scores["normal"][row, 5] = 0.5, 0.45
    scores["normal"][EDGES.index((1, 5)), 7] = 0.4
    arch = space.derive(scores)
    assert arch[edge_name("normal", 3, 5)] == ("sep_conv_3x3", "sep_conv_5x5")
    assert space.parse(space.format(arch)) == arch
    assert space.from_genotype(GDAS_V1) == DARTS().from_genotype(GDAS_V1)


def test_derive_on_one_hot_scores_gives_the_architecture_back(rng):
    for make_space in ALL:
        space = make_space()
        arch = space.sample(rng)
        assert space.derive(space.one_hot(arch)) == arch


def test_restrict_keeps_the_kind_and_derive_ignores_removed_options():
    space = DARTS().restrict(
        {"normal_2_0": ["sep_conv_5x5"], "normal_3_0": ["none"], "reduce_5_4": ["none"]}
    )
    assert isinstance(space, DARTS)
    scores = {g: np.zeros(m.shape) for g, m in space.masks.items()}
    scores["normal"][2, :] = 9.0  # the edge that offers only none
    scores["normal"][0, 3] = 9.0  # padding of a row with one option
    arch = space.derive(scores)
    assert arch["normal_2_0"] == ("sep_conv_5x5",)
    assert arch["normal_3_0"] == ()
    assert space.size() < DARTS().size()
    # Caches of the parent must not leak into the sub-space.
    again = space.restrict({"normal_2_1": ["skip_connect"]})
    assert again.size() * 7 == space.size()


def test_restrict_refuses_a_node_without_two_operations():
    with pytest.raises(SpaceError, match="node 2 of the normal cell"):
        DARTS().restrict({"normal_2_0": ["none"]})
    with pytest.raises(SpaceError, match="accepted: 14"):
        DARTS("broken", {"normal": [("skip_connect",)] * 3, "reduce": [("skip_connect",)] * 14})


def test_encodings(rng):
    space = DARTS()
    archs = [space.sample(rng) for _ in range(20)]
    for kind, length, ones in (("onehot", 224, 16), ("adjacency", 222, None)):
        codes = [space.encode(a, kind) for a in archs]
        assert all(c.shape == (length,) for c in codes)
        assert len({c.tobytes() for c in codes}) == len(set(archs))
        if ones:
            assert all(c.sum() == ones for c in codes)
    with pytest.raises(MorphogenError, match="encoding"):
        space.encode(archs[0], "path")


def test_adjacency_of_a_known_cell():
    space = DARTS()
    cell = " | ".join(["skip_connect~0 skip_connect~1"] * 3 + ["sep_conv_3x3~2 skip_connect~4"])
    code = space.encode(space.parse(f"normal: {cell} ; reduce: {cell}"), "adjacency")
    matrix = np.zeros((11, 11))
    matrix[np.triu_indices(11, 1)] = code[:55]
    assert list(np.flatnonzero(matrix[0])) == [2, 4, 6]  # input 0 feeds one operation of each node
    assert list(np.flatnonzero(matrix[2])) == [8, 10]  # node 2 feeds sep_conv~2, and the output
    assert list(np.flatnonzero(matrix[7])) == [9, 10]  # node 4 feeds skip~4, and the output
    assert matrix[:, 10].sum() == 8


def test_remarks():
    space = s4()
    noise = " | ".join(["noise~0 noise~1"] * 4)
    conv = " | ".join(["sep_conv_3x3~0 noise~1"] * 4)
    remarks = space.remarks(space.parse(f"normal: {noise} ; reduce: {conv}"))
    assert len(remarks) == 2
    assert "no convolution" in remarks[0]
    assert "the normal cell is disconnected" in remarks[1]
    for name in PUBLISHED:
        assert DARTS().remarks(DARTS().parse(name)) == ()


def test_check_refuses_missing_choices():
    with pytest.raises(ArchitectureError, match="no value"):
        DARTS().check(Architecture({"normal_2_0": "skip_connect"}))
