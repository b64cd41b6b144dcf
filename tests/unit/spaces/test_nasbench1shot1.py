"""NAS-Bench-1Shot1, search space 2: counts of the card, mapping to NAS-Bench-101, isomorphism."""

from itertools import permutations

import numpy as np
import pytest

from morphogen.core import Architecture, ArchitectureError, UnknownNameError
from morphogen.spaces.nasbench1shot1 import (
    DUMMY,
    INPUTS,
    OPERATIONS,
    Cell,
    NASBench1Shot1S2,
    cell_of,
    from_nasbench101,
    graph_hash,
    graph_keys,
    prune,
    to_nasbench101,
)

SPACE = NASBench1Shot1S2()
EVERY = SPACE.enumerate()
SOME = EVERY[::97]
TEXT = "|maxpool3x3~0|conv3x3-bn-relu~1|conv1x1-bn-relu~0,2|maxpool3x3~1,3|output~2,3,4|"


@pytest.fixture(scope="module")
def cells() -> set[Cell]:
    return {cell_of(a) for a in EVERY}


# -- counts (card, section 3.7) ----------------------------------------------------------------


def test_360_topologies_and_29160_architectures() -> None:
    assert len(EVERY) == len(set(EVERY)) == SPACE.size() == 29_160
    inputs = {tuple(a[c] for c in a if c.startswith("inputs")) for a in EVERY}
    assert len(inputs) == 360


def test_190_graphs_and_12474_labelled_cells_after_pruning() -> None:
    # The first 360 have the same operations and all the inputs.
    topologies = {
        tuple(a[c] for c in a if c.startswith("inputs")): to_nasbench101(a)[0] for a in EVERY[:360]
    }
    assert len(topologies) == 360
    used = {m.tobytes(): int(m[1:5].any(axis=1).sum()) for m in topologies.values()}
    assert len(used) == 190
    assert sum(3**nodes for nodes in used.values()) == 12_474
    assert sum(m[1:5].any(axis=1).all() for m in topologies.values()) == 138


def test_7773_cells_up_to_isomorphism_by_key_and_by_hash(cells: set[Cell]) -> None:
    one_of_each = {min(graph_keys(cell)): cell for cell in cells}
    assert len(one_of_each) == 7_773
    # Colour refinement confuses none of them.
    assert len({graph_hash(cell) for cell in one_of_each.values()}) == 7_773


# -- isomorphism -------------------------------------------------------------------------------


def renumbered(cell: Cell, order: tuple[int, ...]) -> Cell | None:
    """The cell with node `order[i]` as node i + 1, or None if an edge would point backwards."""
    rows = np.array(cell[0])
    every = [0, *order, len(rows) - 1]
    moved = rows[np.ix_(every, every)]
    if np.tril(moved).any():
        return None
    return tuple(map(tuple, moved.tolist())), tuple(cell[1][i - 1] for i in order)


def test_key_and_hash_do_not_see_the_numbering_of_nodes() -> None:
    seen = 0
    for arch in SOME:
        cell = cell_of(arch)
        for order in permutations(range(1, len(cell[0]) - 1)):
            other = renumbered(cell, order)
            if other is not None:
                seen += other != cell
                assert set(graph_keys(other)) == set(graph_keys(cell))
                assert graph_hash(other) == graph_hash(cell)
    assert seen > 50


def test_hash_tells_operations_and_edges_apart() -> None:
    cell = cell_of(SPACE.parse(TEXT))
    assert graph_hash(cell) != graph_hash((cell[0], ("conv3x3-bn-relu",) * 4))
    assert graph_hash(cell) != graph_hash(cell_of(SPACE.parse(TEXT.replace("2,3,4", "1,3,4"))))


# -- mapping to NAS-Bench-101 (card, section 3.5) ----------------------------------------------


def test_worked_example() -> None:
    matrix, operations = to_nasbench101(SPACE.parse(TEXT))
    edges = [(int(a), int(b)) for a, b in np.argwhere(matrix)]
    assert edges == [(0, 1), (0, 3), (1, 2), (1, 4), (2, 3), (2, 6), (3, 4), (3, 6), (4, 6)]
    assert operations == (
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
    matrix, _ = to_nasbench101(arch)
    assert [(int(a), int(b)) for a, b in np.argwhere(matrix)] == [
        (0, 1),
        (0, 6),
        (1, 2),
        (1, 6),
        (2, 6),
    ]
    assert SPACE.remarks(arch) == ("loose ends: nodes 3 and 4 do not reach the output",)
    assert SPACE.remarks(SPACE.parse(TEXT)) == ()


def test_every_matrix_is_a_cell_of_nasbench101() -> None:
    for arch in SOME:
        matrix, operations = to_nasbench101(arch)
        assert matrix.shape == (7, 7)
        assert len(operations) == 7
        assert not np.tril(matrix).any()
        assert matrix.sum() <= 9
        assert not matrix[DUMMY].any()
        assert not matrix[:, DUMMY].any()
        assert matrix[0].any()
        for node in range(1, 5):
            assert matrix[node].any() == matrix[:, node].any()
            assert matrix[:, node].sum() in {0, INPUTS[node]}
        assert matrix[:, 6].sum() == 3
        assert cell_of(arch) == prune(matrix, operations)


def test_from_nasbench101_is_an_architecture_of_the_same_cell() -> None:
    for arch in SOME:
        matrix, operations = to_nasbench101(arch)
        again = from_nasbench101(matrix, operations)
        assert np.array_equal(to_nasbench101(again)[0], matrix)
        assert to_nasbench101(again)[1] == operations
        if not SPACE.remarks(arch):
            assert again == arch


def test_cell_of_another_space_is_refused() -> None:
    matrix = np.zeros((7, 7), int)
    matrix[0, 6] = 1
    with pytest.raises(ArchitectureError) as caught:
        from_nasbench101(matrix, ["input", *OPERATIONS[:1] * 5, "output"])
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
    assert {g: m.shape for g, m in SPACE.masks.items()} == {
        "operations": (4, 3),
        "inputs_2": (1, 2),
        "inputs_3": (1, 3),
        "inputs_4": (1, 4),
        "inputs_output": (1, 5),
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
