"""Architectures as other programs, logs and papers write them; each space still writes one way."""

from __future__ import annotations

import numpy as np
import pytest

from morphogen import benchmarks
from morphogen.cli import main
from morphogen.core import ArchitectureError, MorphogenError
from morphogen.spaces import make
from morphogen.spaces.genotype import DARTS_V2
from morphogen.spaces.nasbench1shot1 import cell_of, to_nasbench101
from morphogen.spaces.printed import WRONG, call, numbers, value

CELL = "|avg_pool_3x3~0|+|skip_connect~0|none~1|+|nor_conv_1x1~0|avg_pool_3x3~1|nor_conv_1x1~2|"


# -- printed values ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(1, [2, 'a'], -3)", [1, [2, "a"], -3]),
        ("range(2, 6)", [2, 3, 4, 5]),
        ("array([[0, 1],\n       [0, 0]], dtype=int8)", [[0, 1], [0, 0]]),
        ("[[0 1]\n [0 0]]", [[0, 1], [0, 0]]),
        ("np.int64(3)", 3),
        ("[('skip', np.int64(1)), (np.str_('a b'), 2)]", [["skip", 1], ["a b", 2]]),
        ('{"normal": [["a", 0]]}', {"normal": [["a", 0]]}),
    ],
)
def test_printed_values_are_read(text, expected):
    assert value(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "(",
        "x",
        "f(1)",
        "__import__('os')",
        "[i for i in (1,)]",
        "range(10**9)",
        "1 +",
        "a.b",
        "[1",
        "[" * 500 + "]" * 500,
        "-" * 5000 + "1",
        "-'a'",
    ],
)
def test_what_is_no_value_is_refused_and_not_run(text):
    with pytest.raises(WRONG):
        value(text)


def test_numbers_of_lists_tuples_and_arrays():
    for text in (
        "(4, 0, 3)",
        "[4 0 3]",
        "4, 0, 3",
        "4 0 3",
        "array([4, 0, 3])",
        "tensor([4., 0., 3.])",
    ):
        assert numbers(text) == (4, 0, 3), text
    for text in ("403", "[1.5]", "['a']", "[[1]]", "", "|a~0|", "[nan]"):
        assert numbers(text) is None, text


def test_a_call_is_found_wherever_it_stands():
    assert call("x", "Genotype") is None
    assert call("MyGenotype(1)", "Genotype") is None
    text = "03/01 02:51 INFO best: Genotype([(')(', 1)],\n b={'k': (2,)}) (done)"
    assert call(text, "Genotype") == ([[[")(", 1]]], {"b": {"k": [2]}})
    for wrong in ("Genotype(1) Genotype(2)", "Genotype(", "Genotype([1)", "Genotype(x)"):
        with pytest.raises(WRONG):
            call(wrong, "Genotype")


# -- DARTS -----------------------------------------------------------------------------------------


def genotype(**more) -> str:
    """DARTS_V2 as `genotypes.py` has it."""
    fields = {
        "normal": DARTS_V2.normal,
        "normal_concat": "[2, 3, 4, 5]",
        "reduce": DARTS_V2.reduce,
        "reduce_concat": "range(2, 6)",
        **more,
    }
    return f"Genotype({', '.join(f'{k}={v}' for k, v in fields.items() if v is not None)})"


GROUPED = [tuple(DARTS_V2.normal[i : i + 2]) for i in range(0, 8, 2)]


@pytest.mark.parametrize(
    "text",
    [
        genotype(),
        f"DARTS_V2 = {genotype()}",
        f"2024-01-31 02:51:20,249 genotype = {genotype()}",
        f"[INFO] epoch 49 (best): {genotype()}, top-1 97.2",
        genotype().replace(", ", ",\n  ").replace("=", " = ").replace("Genotype(", "Genotype(\n  "),
        genotype(normal=list(map(list, DARTS_V2.normal))),
        genotype(normal=tuple(DARTS_V2.normal)),
        genotype(normal=[(op, f"np.int64({s})") for op, s in DARTS_V2.normal])
        .replace("'np", "np")
        .replace(")')", "))"),
        genotype(normal_concat=None, reduce_concat=None),
        genotype(normal=GROUPED),
        f"Genotype({DARTS_V2.normal}, range(2, 6), {DARTS_V2.reduce}, range(2, 6))",
        str({"normal": GROUPED, "normal_concat": [2, 3, 4, 5], "reduce": DARTS_V2.reduce}),
        repr(DARTS_V2),
        "DARTS_V2",
    ],
)
def test_a_genotype_is_read_as_logs_and_papers_print_it(text):
    space = make("darts")
    arch = space.parse(text)
    assert arch == space.from_genotype(DARTS_V2)
    assert space.format(arch).startswith("normal: sep_conv_3x3~0 sep_conv_3x3~1 | ")


@pytest.mark.parametrize(
    "text",
    [
        "Genotype",
        "x = Genotype(",
        genotype() + genotype(),
        genotype(reduce=None),
        genotype(normal=DARTS_V2.normal[:6]),
        genotype(normal=3),
        genotype(normal=[[]]),
        genotype(normal_concat="range(3, 7)"),
        genotype(cells=8),
        "{}",
        "{'normal': 1}",
    ],
)
def test_what_is_no_genotype_is_one_sentence(text):
    with pytest.raises(MorphogenError, match="accepted"):
        make("darts").parse(text)


# -- NAS-Bench-201 ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        CELL,
        f"  {CELL}\n",
        f"Structure(4 nodes with {CELL})",
        f"[2024-01-31 02:51] arch: {CELL} accuracy=93.2",
        CELL.replace("+", " + ").replace("~1|+", "~1|\n+"),
        "(4, 0, 3, 1, 4, 3)",
        "[4, 0, 3, 1, 4, 3]",
        "[4 0 3 1 4 3]",
        "4,0,3,1,4,3",
        "array([4, 0, 3, 1, 4, 3])",
        "[(('avg_pool_3x3', 0),), (('skip_connect', 0), ('none', 1)), (('nor_conv_1x1', 0), "
        "('avg_pool_3x3', 1), ('nor_conv_1x1', 2))]",
        "[[['avg_pool_3x3', 0]], [['none', 1], ['skip_connect', 0]], [['nor_conv_1x1', 0], "
        "['avg_pool_3x3', 1], ['nor_conv_1x1', 2]]]",
    ],
)
def test_a_cell_is_read_in_every_notation_in_use(text):
    space = make("nasbench201")
    assert space.format(space.parse(text)) == CELL


def test_naslib_numbers_stand_for_its_operations_on_its_edges():
    # By hand from NASLib's conversions.py: edge i of (1,2) (1,3) (1,4) (2,3) (2,4) (3,4) alone has
    # skip_connect (0), the others none (1).
    space = make("nasbench201")
    for place, (source, target) in enumerate([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]):
        six = [1] * 6
        six[place] = 0
        arch = space.parse(str(six))
        taken = [name for name in arch if arch.one(name) == "skip_connect"]
        assert taken == [f"edge_{source}_{target}"]
    assert "|nor_conv_3x3~0|+|nor_conv_3x3~0|" in space.format(space.parse("2 2 2 2 2 2"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[4, 0, 3, 1, 4, 5]", "six numbers are read as NASLib's"),
        ("6111", "`morphogen query nasbench201 6111`"),
        ("403143", "NASLib's six operation indices"),
        ("[4, 0, 3]", "NASLib's six operation indices"),
        ("['none', 'none', 'none', 'none', 'none', 'none']", "the authors' list of nodes"),
        ("[(('none', 0),), (('none', 0),), (('none', 0),)]", "must name the sources 0 to 1"),
        ("[(('none', 0),)]", "has 1 node(s); accepted: 3"),
        (f"{CELL} {CELL}", "has 5 node(s); accepted: 3"),
    ],
)
def test_other_numbers_and_lists_are_refused_with_what_they_were_taken_for(text, said):
    with pytest.raises(ArchitectureError) as error:
        make("nasbench201").parse(text)
    assert said in str(error.value)


def test_the_index_of_the_benchmark_is_a_row_of_the_table(capsys):
    # NATS-Bench and NAS-Bench-201 v1.1 call the best of CIFAR-10 after 200 epochs (94.37 %) 6111.
    best = (
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+"
        "|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
    )
    table = benchmarks.load("nasbench201")
    assert table.space.format(table.read("6111")) == best
    assert table.query("6111")["cifar10_test_200"] == pytest.approx(94.37, abs=0.01)
    assert table.index(" 6111 ") == 6111
    assert main(["query", "nasbench201", "6111", "--metric", "cifar10_test_200"]) == 0
    assert best in capsys.readouterr().out
    for text in ("15625", "999999999"):
        with pytest.raises(ArchitectureError, match=r"has no row .* accepted: 0 to 15624"):
            table.read(text)
    # Eight digits are a network of NAS-Bench-Macro, and no row.
    macro = benchmarks.load("nasbench-macro")
    assert macro.space.format(macro.read("00000001")) == "00000001"


# -- digits, matrices ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "digits"), [("nasbench-macro", "01202112"), ("shufflenet", "21012020202300003233")]
)
def test_a_digit_per_layer_may_be_a_list(space, digits):
    known = make(space)
    for text in (digits, ", ".join(digits), str(list(map(int, digits))), f"({' '.join(digits)})"):
        assert known.format(known.parse(text)) == digits
    for wrong in (digits[:-1], str(list(map(int, digits[:-1]))), digits[:-1] + "9", "[-1]", "[10]"):
        with pytest.raises(ArchitectureError, match="digits, one per layer: 0 = "):
            known.parse(wrong)


@pytest.mark.parametrize("name", ["s1", "s2", "s3"])
def test_a_cell_of_nasbench101_is_read_as_its_authors_print_it(name):
    space = make(f"nasbench1shot1-{name}")
    rng = np.random.default_rng(3)
    for _ in range(5):
        arch = space.sample(rng)
        matrix, operations = to_nasbench101(arch)
        live = [i for i in range(7) if i in (0, 6) or matrix[i].any()]
        small = matrix[np.ix_(live, live)].tolist(), [operations[i] for i in live]
        for text in (
            f"ModelSpec(matrix={matrix.tolist()}, ops={list(operations)})",
            f"model_spec = api.ModelSpec(matrix={matrix!r},\n    ops={operations})",
            f"({matrix.tolist()}, {list(operations)})",
            f"[{matrix}, {list(operations)}]",
            str({"module_operations": operations, "module_adjacency": matrix.tolist()}),
            f"ModelSpec{small}",
        ):
            assert cell_of(space.parse(text)) == cell_of(arch)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ModelSpec(matrix=[[0, 1], [0, 0]], ops=['input', 'output'])", "is none of space"),
        ("[[[0, 0], [0, 0]], ['input', 'output']]", "is none of space"),
        ("[[[0, 1, 0], [0, 0, 1], [0, 0, 0]], ['input', 'conv', 'output']]", "unknown operation"),
        ("[[[0, 1], [1, 0]], ['input', 'output']]", "cannot read the cell"),
        ("[[[0, 1], [0, 0]], ['output', 'input']]", "cannot read the cell"),
        ("ModelSpec(matrix=[[0, 1], [0, 0]])", "cannot read the cell"),
        ("[1, 2]", "cannot read the cell"),
        ("[", "cannot read the cell"),
    ],
)
def test_what_is_no_cell_of_the_space_is_one_sentence(text, said):
    with pytest.raises(MorphogenError) as error:
        make("nasbench1shot1-s1").parse(text)
    assert said in str(error.value)
