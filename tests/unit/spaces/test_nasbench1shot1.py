"""NAS-Bench-1Shot1: counts of the card, mapping to NAS-Bench-101, isomorphism."""

from itertools import permutations, product
from math import comb, prod

import numpy as np
import pytest

from morphogen import spaces
from morphogen.core import Architecture, ArchitectureError, UnknownNameError
from morphogen.spaces.nasbench1shot1 import (
    OPERATIONS,
    PARENTS,
    NASBench1Shot1,
    cell_of,
    to_nasbench101,
    topologies,
)
from morphogen.spaces.nasbench101 import Cell, graph_hash, graph_keys, prune

S1, S2, S3 = ALL = tuple(spaces.make(name) for name in PARENTS)
SPACE = S2
DUMMY = 5
EVERY = S2.enumerate()
SOME = EVERY[::97]
TEXT = "|maxpool3x3~0|conv3x3-bn-relu~1|conv1x1-bn-relu~0,2|maxpool3x3~1,3|output~2,3,4|"

each = pytest.mark.parametrize("space", ALL, ids=list(PARENTS))


def sampled(space: NASBench1Shot1, count: int) -> list[Architecture]:
    rng = np.random.default_rng(0)
    return [space.sample(rng) for _ in range(count)]


# -- counts (card, section 3.7) ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "raw", "count"),
    [(S1, 14_580, 180), (S2, 29_160, 360), (S3, 1_312_200, 5_400)],
    ids=list(PARENTS),
)
def test_numbers_of_topologies_and_architectures(
    space: NASBench1Shot1, raw: int, count: int
) -> None:
    assert space.size() == raw
    assert len(set(topologies(space.parents))) == count
    assert prod(comb(n, k) for n, k in enumerate(space.parents, start=1)) == count
    assert sum(space.parents) == 9


def test_enumeration_lists_every_architecture_once() -> None:
    assert len(EVERY) == len(set(EVERY)) == 29_160
    assert len({tuple(a[c] for c in a if c.startswith("inputs")) for a in EVERY}) == 360
    assert len(set(S1.enumerate())) == 14_580


def cells_of(space: NASBench1Shot1) -> tuple[set[bytes], set[Cell], int]:
    """Numbered graphs, pruned cells under all operations, topologies that use every node."""
    # The first architectures of `enumerate` have the same operations and all the inputs.
    first = {g: np.zeros(m.shape) for g, m in space.masks.items()}
    base = space.derive(first)
    names = [c for c in space.choices if c.group != "operations"]
    graphs, cells, full = set(), set(), 0
    for values in product(*(c.values for c in names)):
        arch = base.replace(**dict(zip((c.name for c in names), values, strict=True)))
        graphs.add(to_nasbench101(arch)[0].tobytes())
        rows, operations = cell_of(arch)
        full += len(operations) == space.nodes
        cells |= {(rows, word) for word in product(OPERATIONS, repeat=len(operations))}
    return graphs, cells, full


@pytest.mark.parametrize(
    ("space", "graphs", "labelled", "classes", "full"),
    [
        pytest.param(S1, 66, 3_702, 2_685, 38, id="s1"),
        pytest.param(S2, 190, 12_474, 7_773, 138, id="s2", marks=pytest.mark.slow),
        pytest.param(S3, 876, 135_900, 55_854, 445, id="s3", marks=pytest.mark.slow),
    ],
)
def test_cells_after_pruning_and_up_to_isomorphism(
    space: NASBench1Shot1, graphs: int, labelled: int, classes: int, full: int
) -> None:
    found, cells, using_all = cells_of(space)
    matrices = [np.frombuffer(m, np.int8).reshape(7, 7) for m in found]
    assert len(found) == graphs
    assert sum(3 ** int(m[1:6].any(axis=1).sum()) for m in matrices) == labelled
    assert using_all == full
    # By exhaustive renumbering, and by the hash, which confuses none of them.
    one_of_each = {min(graph_keys(cell)): cell for cell in cells}
    assert len(one_of_each) == classes
    assert len({graph_hash(cell) for cell in one_of_each.values()}) == classes


# -- isomorphism -------------------------------------------------------------------------------


def test_hash_is_the_key_of_the_public_table() -> None:
    # The first record of the authors' file, as quoted in several projects that read it.
    matrix = [
        [0, 1, 0, 0, 1, 1, 0],
        [0, 0, 1, 0, 0, 0, 0],
        [0, 0, 0, 1, 0, 0, 1],
        [0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0],
    ]
    conv3, conv1, pool = "conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3"
    cell = prune(matrix, ["input", conv3, pool, conv3, conv3, conv1, "output"])
    assert graph_hash(cell) == "00005c142e6f48ac74fdcf73e3439874"


def renumbered(cell: Cell, order: tuple[int, ...]) -> Cell | None:
    """The cell with node `order[i]` as node i + 1, or None if an edge would point backwards."""
    rows = np.array(cell[0])
    every = [0, *order, len(rows) - 1]
    moved = rows[np.ix_(every, every)]
    if np.tril(moved).any():
        return None
    return tuple(map(tuple, moved.tolist())), tuple(cell[1][i - 1] for i in order)


@each
def test_key_hash_and_find_do_not_see_the_numbering_of_nodes(space: NASBench1Shot1) -> None:
    seen = 0
    for arch in sampled(space, 150):
        cell = cell_of(arch)
        same = {}
        for order in permutations(range(1, len(cell[0]) - 1)):
            other = renumbered(cell, order)
            if other is not None:
                same[other] = None
        for other in list(same)[:4]:
            seen += other != cell
            assert set(graph_keys(other)) == set(graph_keys(cell))
            assert graph_hash(other) == graph_hash(cell)
            again = space.find(other)
            assert again is not None
            assert graph_keys(cell_of(again))[0] in graph_keys(cell)
    assert seen > 20


def test_cells_that_are_not_of_the_space_are_not_found() -> None:
    one_path: Cell = (((0, 1, 0), (0, 0, 1), (0, 0, 0)), ("maxpool3x3",))
    assert [space.find(one_path) for space in ALL] == [None] * 3
    three_to_output = cell_of(S2.parse(TEXT))
    assert S1.find(three_to_output) is None
    assert S3.find(three_to_output) is None


def test_hash_tells_operations_and_edges_apart() -> None:
    signatures: dict[str, set[tuple[int, tuple[str, ...]]]] = {}
    for arch in S1.enumerate()[::3]:
        rows, operations = cell = cell_of(arch)
        signature = sum(map(sum, rows)), tuple(sorted(operations))
        signatures.setdefault(graph_hash(cell), set()).add(signature)
    assert all(len(found) == 1 for found in signatures.values())


# -- mapping to NAS-Bench-101 (card, section 3.5) ----------------------------------------------


def edges_of(arch: Architecture) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in np.argwhere(to_nasbench101(arch)[0])]


def test_worked_example_of_space_1() -> None:
    pool, conv3, conv1 = OPERATIONS
    scores = {
        "operations": np.eye(3)[[1, 0, 2, 1]],
        "inputs_3": np.array([[0.5, 0.1, 0.4]]),
        "inputs_4": np.array([[0.1, 0.4, 0.2, 0.3]]),
        "inputs_output": np.array([[0.0, 0.1, 0.2, 0.3, 0.4]]),
    }
    arch = S1.derive(scores)
    assert S1.format(arch) == (
        "|conv3x3-bn-relu~0|maxpool3x3~0,1|conv1x1-bn-relu~0,2|conv3x3-bn-relu~1,3|output~3,4|"
    )
    out = 6
    expected = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 4), (2, 3), (3, 4), (3, out), (4, out)]
    assert edges_of(arch) == expected
    assert to_nasbench101(arch)[1] == ("input", conv3, pool, conv1, conv3, conv1, "output")


def test_worked_example_of_space_2() -> None:
    arch = S2.parse(TEXT)
    expected = [(0, 1), (0, 3), (1, 2), (1, 4), (2, 3), (2, 6), (3, 4), (3, 6), (4, 6)]
    assert edges_of(arch) == expected
    assert to_nasbench101(arch)[1] == (
        "input",
        "maxpool3x3",
        "conv3x3-bn-relu",
        "conv1x1-bn-relu",
        "maxpool3x3",
        "conv1x1-bn-relu",
        "output",
    )


def test_loose_ends_have_no_edges_and_are_remarked() -> None:
    arch = SPACE.parse(TEXT.replace("2,3,4", "0,1,2"))
    assert edges_of(arch) == [(0, 1), (0, 6), (1, 2), (1, 6), (2, 6)]
    assert SPACE.remarks(arch) == ("loose ends: nodes 3 and 4 do not reach the output",)
    assert SPACE.remarks(SPACE.parse(TEXT)) == ()


@each
def test_every_matrix_is_a_cell_of_nasbench101(space: NASBench1Shot1) -> None:
    rng = np.random.default_rng(1)
    output = space.nodes + 1
    for _ in range(1_000):
        arch = space.derive({g: rng.normal(size=m.shape) for g, m in space.masks.items()})
        matrix, operations = to_nasbench101(arch)
        assert matrix.shape == (7, 7)
        assert len(operations) == 7
        assert not np.tril(matrix).any()
        assert matrix.sum() <= 9
        assert matrix[0].any()
        for dummy in range(output, 6):
            assert not matrix[dummy].any()
            assert not matrix[:, dummy].any()
        for node in range(1, output):
            assert matrix[node].any() == matrix[:, node].any()
            assert matrix[:, node].sum() in {0, space.parents[node - 1]}
        assert matrix[:, 6].sum() == space.parents[-1]
        assert cell_of(arch) == prune(matrix, operations)


@each
def test_from_nasbench101_is_an_architecture_of_the_same_cell(space: NASBench1Shot1) -> None:
    for arch in sampled(space, 200):
        matrix, operations = to_nasbench101(arch)
        again = space.from_nasbench101(matrix, operations)
        assert np.array_equal(to_nasbench101(again)[0], matrix)
        assert to_nasbench101(again)[1] == operations
        if not space.remarks(arch):
            assert again == arch


def test_cell_of_another_space_is_refused() -> None:
    matrix = np.zeros((7, 7), int)
    matrix[0, 6] = 1
    with pytest.raises(ArchitectureError) as caught:
        S2.from_nasbench101(matrix, ["input", *OPERATIONS[:1] * 5, "output"])
    assert str(caught.value) == (
        "node 5 of a NAS-Bench-101 cell has the inputs (0,); "
        "accepted in space 'nasbench1shot1-s2': 3 of 0 to 4"
    )


# -- notation, scores, encodings ---------------------------------------------------------------


def test_text_round_trip_is_exact() -> None:
    some = EVERY[::7]
    texts = [SPACE.format(a) for a in some]
    assert len(set(texts)) == len(some)
    assert [SPACE.parse(t) for t in texts] == some
    assert SPACE.format(SPACE.parse(TEXT)) == TEXT
    assert SPACE.parse(TEXT.replace("2,3,4", "4,2,3")) == SPACE.parse(TEXT)


SHAPE = "|op~0|op~a|op~a,b|op~a,b|output~a,b,c|"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("|output~2,3,4|", "|", "cannot read architecture {text!r}; accepted: " + SHAPE),
        ("output", "out", "the last part of {text!r} is 'out'; accepted: output, as in " + SHAPE),
        ("~0|", "~1|", "node 1 of {text!r} has inputs '1'; accepted: 0, as in " + SHAPE),
        (
            "~0,2|",
            "~0|",
            "choice 'inputs_3' keeps 0; accepted: 2 different of 0, 1, 2",
        ),
    ],
)
def test_malformed_text_is_one_sentence(old: str, new: str, message: str) -> None:
    text = TEXT.replace(old, new)
    with pytest.raises(ArchitectureError) as caught:
        SPACE.parse(text)
    assert str(caught.value) == message.format(text=text)


def test_unknown_input_or_operation_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"'inputs_3' '3'; known: 0, 1, 2"):
        SPACE.parse(TEXT.replace("~0,2|", "~0,3|"))
    with pytest.raises(UnknownNameError, match=r"'maxpool'; did you mean 'maxpool3x3'"):
        SPACE.parse(TEXT.replace("maxpool3x3~0", "maxpool~0"))


@each
def test_texts_of_each_space_are_read_back(space: NASBench1Shot1) -> None:
    for arch in sampled(space, 200):
        assert space.parse(space.format(arch)) == arch


def test_a_node_without_a_choice_has_all_inputs_before_it() -> None:
    text = "|maxpool3x3~0|maxpool3x3~1|maxpool3x3~0,2|maxpool3x3~1,3|output~2,3|"
    with pytest.raises(ArchitectureError) as caught:
        S1.parse(text)
    assert str(caught.value) == (
        f"node 2 of {text!r} has inputs '1'; accepted: 0,1, as in "
        "|op~0|op~0,1|op~a,b|op~a,b|output~a,b|"
    )


def test_derive_keeps_top_k_whatever_their_order_and_offset() -> None:
    stream = np.random.default_rng(0)
    for _ in range(200):
        scores = {g: stream.normal(size=m.shape) for g, m in SPACE.masks.items()}
        arch = SPACE.derive(scores)
        for node, kept in ((2, 1), (3, 2), (4, 2), (5, 3)):
            name = "inputs_output" if node == 5 else f"inputs_{node}"
            best = sorted(np.argsort(scores[name][0])[-kept:].tolist())
            assert [int(i) for i in arch[name]] == best
        for node in range(1, 5):
            best_operation = OPERATIONS[int(scores["operations"][node - 1].argmax())]
            assert arch.one(f"operation_{node}") == best_operation
        softmax = {
            g: np.exp(s + 3) / np.exp(s + 3).sum(1, keepdims=True) for g, s in scores.items()
        }
        assert SPACE.derive(softmax) == arch


def test_groups_have_the_shapes_of_the_authors_alpha() -> None:
    for space, nodes, choosing in ((S1, 4, (3, 4)), (S2, 4, (2, 3, 4)), (S3, 5, (2, 3, 4, 5))):
        shapes = {"operations": (nodes, 3)} | {f"inputs_{n}": (1, n) for n in choosing}
        assert {g: m.shape for g, m in space.masks.items()} == shapes | {
            "inputs_output": (1, nodes + 1)
        }


def test_encodings_of_the_pruned_cell_are_blind_to_loose_ends() -> None:
    arch = SPACE.parse(TEXT.replace("2,3,4", "0,1,2"))
    same = arch.replace(operation_4="conv3x3-bn-relu", inputs_4=("0", "1"))
    assert SPACE.encode(arch).shape == (12 + 2 + 3 + 4 + 5,)
    assert not np.array_equal(SPACE.encode(arch), SPACE.encode(same))
    for kind, length in (("adjacency", 27), ("path", 121)):
        bits = SPACE.encode(arch, kind)  # type: ignore[arg-type]
        assert bits.shape == (length,)
        assert np.array_equal(bits, SPACE.encode(same, kind))  # type: ignore[arg-type]
    # Paths: input-output, input-maxpool-output, input-maxpool-conv3x3-output.
    assert np.flatnonzero(SPACE.encode(arch, "path")).tolist() == [0, 1, 1 + 3 + 1]


def test_sub_space_of_inputs_keeps_the_number_of_inputs() -> None:
    part = SPACE.restrict({"inputs_output": ["2", "3", "4"], "inputs_4": ["0", "1", "3"]})
    assert part.size() == 81 * 2 * 3 * 3
    assert all(isinstance(a, Architecture) and SPACE.check(a) == a for a in part.enumerate()[::50])
