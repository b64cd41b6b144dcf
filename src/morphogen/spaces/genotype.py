"""Genotypes: the record in which the authors of DARTS and their successors publish cells.

Liu, Simonyan and Yang, ICLR 2019, arXiv 1806.09055 (cnn/genotypes.py of their code).
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any, NamedTuple

from morphogen.core import ArchitectureError

Pair = tuple[str, int]
"""(operation, source), the authors' way to write one kept edge."""


class Genotype(NamedTuple):
    """The authors' record of an architecture, printed as they print it."""

    normal: list[Pair]
    """Eight (operation, source); entries 2n and 2n + 1 belong to node n + 2."""
    normal_concat: Sequence[int]
    """Nodes that the output concatenates: always 2 to 5 in this space."""
    reduce: list[Pair]
    reduce_concat: Sequence[int]


def _genotype(normal: str, reduce: str) -> Genotype:
    """Published cells in short hand: `3~1 3~0 ...` with one sign per operation."""
    sign = {
        "m": "max_pool_3x3",
        "a": "avg_pool_3x3",
        "i": "skip_connect",
        "3": "sep_conv_3x3",
        "5": "sep_conv_5x5",
        "d": "dil_conv_3x3",
        "D": "dil_conv_5x5",
    }
    lists = [[(sign[e[0]], int(e[1])) for e in cell.split()] for cell in (normal, reduce)]
    return Genotype(lists[0], range(2, 6), lists[1], range(2, 6))


DARTS_V1 = _genotype("31 30 i0 31 i0 31 30 i2", "m0 m1 i2 m0 m0 i2 i2 a0")
"""Found by first-order DARTS on CIFAR-10 (authors' cnn/genotypes.py)."""

DARTS_V2 = _genotype("30 31 30 31 31 i0 i0 d2", "m0 m1 i2 m1 m0 i2 i2 m1")
"""Found by second-order DARTS on CIFAR-10: 2.76 % test error in the paper."""

GDAS_V1 = _genotype("i0 i1 i0 52 33 i0 54 33", "50 31 52 51 D2 31 50 51")
"""Found by GDAS on CIFAR-10: 2.93 % test error in the paper."""

PUBLISHED = {"DARTS_V1": DARTS_V1, "DARTS_V2": DARTS_V2, "GDAS_V1": GDAS_V1}
"""Cells that `DARTS.parse` knows by name."""


def read_genotype(text: str) -> Genotype:
    """The record in `Genotype(...)` text; nothing in the text is executed."""
    try:
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError
        fields: dict[str, Any] = {str(k.arg): _literal(k.value) for k in call.keywords}
        return Genotype(**fields)
    except (
        SyntaxError,
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
        MemoryError,
    ) as error:
        raise ArchitectureError(
            f"cannot read genotype {text!r}; accepted: Genotype(normal=[('op', source), ...], "
            "normal_concat=range(2, 6), reduce=[...], reduce_concat=range(2, 6))"
        ) from error


NODES = 100
"""Numbers of a `range` that are listed; no cell has so many nodes."""


def _literal(node: ast.expr) -> list[Any]:
    """A literal, or `range(...)` of literals."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        numbers = range(*(int(ast.literal_eval(a)) for a in node.args))
        if len(numbers) > NODES:
            raise ValueError
        return list(numbers)
    return list(ast.literal_eval(node))
