"""The NAS-Bench-201 space: notation, counts, encodings."""

from itertools import product

import numpy as np
import pytest

from morphogen.core import Architecture, ArchitectureError, UnknownNameError
from morphogen.spaces.nasbench201 import EDGES, NASBench201, edge_name, open_paths

SPACE = NASBench201()
EVERY = SPACE.enumerate()
WORDS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def test_all_strings_round_trip_and_are_written_as_the_benchmark_does() -> None:
    # The strings are made here, not by the space.
    strings = [
        f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"
        for a, b, c, d, e, f in product(WORDS, repeat=6)
    ]
    parsed = [SPACE.parse(s) for s in strings]
    assert [SPACE.format(a) for a in parsed] == strings
    assert len(set(parsed)) == SPACE.size() == 15_625
    assert set(parsed) == set(EVERY)


def test_edge_e2_is_the_one_from_node_1_to_node_2() -> None:
    arch = SPACE.parse("|none~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|skip_connect~2|")
    assert arch.one("edge_1_2") == "nor_conv_3x3"
    assert arch.one("edge_2_3") == "skip_connect"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "|none~0|",
            "architecture '|none~0|' has 1 node(s); accepted: 3, as "
            "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|",
        ),
        (
            "|none~0|+none~0|none~1|+|none~0|none~1|none~2|",
            "cannot read node 'none~0|none~1|' of architecture "
            "'|none~0|+none~0|none~1|+|none~0|none~1|none~2|'; accepted: "
            "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|",
        ),
        (
            "|none~0|+|none~1|none~0|+|none~0|none~1|none~2|",
            "node '|none~1|none~0|' must name the sources 0 to 1 in order, as in "
            "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|",
        ),
    ],
)
def test_malformed_string_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        SPACE.parse(text)
    assert str(caught.value) == message


def test_unknown_operation_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"'edge_0_1' 'nor_conv_3'; did you mean 'nor_conv_"):
        SPACE.parse("|nor_conv_3~0|+|none~0|none~1|+|none~0|none~1|none~2|")


def test_derive_is_the_argmax_over_all_five_operations() -> None:
    scores = np.random.default_rng(0).normal(size=(6, 5))
    arch = SPACE.derive({"cell": scores})
    for (source, target), row in zip(EDGES, scores, strict=True):
        assert arch.one(edge_name(source, target)) == WORDS[int(row.argmax())]
    scores[:, 0] = 9.0  # none may win, unlike in the DARTS space
    assert set(SPACE.derive({"cell": scores}).values()) == {("none",)}


# -- counts of the published analysis ----------------------------------------------------------


def _written_out(arch: Architecture, *, zeros: str, flat: bool) -> str:
    """The cell's output as a sum of terms of its input, e.g. `((x)@conv)@pool+(x)@conv`.

    Args:
        arch: a cell.
        zeros: what becomes of a term that passes a `none`: it is an operation like any other, a
            symbol that stays in the sum, or dropped from it.
        flat: whether a sum that is passed on by a skip dissolves in the next one; the benchmark's
            authors keep it as one term, so that their count tells some equal cells apart.
    """
    nodes: list[list[str]] = [["x"]]
    for target in range(1, 4):
        terms: list[str] = []
        for source in range(target):
            operation = arch.one(edge_name(source, target))
            incoming = "+".join(nodes[source])
            if zeros != "operation" and (operation == "none" or incoming in {"#", ""}):
                terms.append("#")
            elif operation == "skip_connect":
                terms += nodes[source] if flat else [incoming]
            else:
                terms.append(f"({incoming})@{operation}")
        nodes.append(sorted(t for t in terms if t != "#" or zeros != "dropped"))
    return "+".join(nodes[-1])


@pytest.mark.parametrize(
    ("zeros", "flat", "different"),
    [("operation", False, 12_751), ("symbol", False, 6_466), ("dropped", True, 4_930)],
)
def test_published_counts_of_different_cells(zeros: str, flat: bool, different: int) -> None:
    assert len({_written_out(a, zeros=zeros, flat=flat) for a in EVERY}) == different


def test_341_cells_are_disconnected_by_remark_and_by_brute_force() -> None:
    paths = [((0, 3),), ((0, 1), (1, 3)), ((0, 2), (2, 3)), ((0, 1), (1, 2), (2, 3))]
    brute = {
        a
        for a in EVERY
        if all(any(a.one(edge_name(*edge)) == "none" for edge in path) for path in paths)
    }
    told = {a for a in EVERY if any("disconnected" in said for said in SPACE.remarks(a))}
    assert told == brute
    assert len(told) == 341
    assert SPACE.remarks(next(iter(told))) == (
        "the cell is disconnected: every path from its input to its output passes a none",
    )
    assert told == {a for a in EVERY if not open_paths(a)}


# -- encodings ---------------------------------------------------------------------------------


def test_encodings_have_their_lengths_and_tell_cells_apart() -> None:
    some = EVERY[::25]
    for kind, length in (("onehot", 30), ("adjacency", 58), ("path", 155)):
        rows = np.array([SPACE.encode(a, kind) for a in some])  # type: ignore[arg-type]
        assert rows.shape == (len(some), length)
        assert set(np.unique(rows)) == {0.0, 1.0}
    assert len({SPACE.encode(a, "adjacency").tobytes() for a in some}) == len(some)


def test_path_encoding_marks_the_open_paths() -> None:
    arch = SPACE.parse(
        "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
    )
    bits = SPACE.encode(arch, "path")
    # One direct path (avg_pool: word 4 of the first 5), one of three operations.
    three = 5 + 25 + (3 * 25 + 1 * 5 + 2)
    assert np.flatnonzero(bits).tolist() == [4, three]
    nothing = SPACE.parse("|none~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|none~2|")
    assert not SPACE.encode(nothing, "path").any()
