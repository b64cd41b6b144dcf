"""Genotypes: the record in which the authors of DARTS and their successors publish cells.

Liu, Simonyan and Yang, ICLR 2019, arXiv 1806.09055 (cnn/genotypes.py of their code).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from morphogen.core import ArchitectureError
from morphogen.core.names import brief
from morphogen.spaces.printed import WRONG, call, value

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

SNAS_MILD = _genotype("30 31 i0 d1 i0 i1 i0 31", "m0 m1 m1 i2 m1 i2 m0 D2")
"""Found by SNAS with a mild cost on CIFAR-10: 2.98 % test error in the paper."""

SNAS_MODERATE = _genotype("D0 i1 30 i1 i0 i1 30 D1", "m0 m1 50 D1 50 51 50 51")
"""Found by SNAS with a moderate cost on CIFAR-10: 2.85 % test error in the paper."""

PUBLISHED = {
    "DARTS_V1": DARTS_V1,
    "DARTS_V2": DARTS_V2,
    "GDAS_V1": GDAS_V1,
    "SNAS_MILD": SNAS_MILD,
    "SNAS_MODERATE": SNAS_MODERATE,
}
"""Cells that `DARTS.parse` knows by name."""


_CONCAT = [2, 3, 4, 5]
"""What the output concatenates where a text leaves it out."""


def read_genotype(text: str) -> Genotype | None:
    """The record in a text that holds `Genotype(...)`, as genotypes.py and logs do.

    A name, a time or a logger may stand before it. The same as a dictionary (JSON) is read too. In
    both, GDAS' way to group the pairs by node is one of the ways to list them. Nothing in the text
    is executed.

    Returns:
        None if the text holds nothing of the kind.

    Raises:
        ArchitectureError: it cannot be read.
    """
    try:
        found = call(text, "Genotype")
        if found is None:
            if not text.lstrip().startswith("{"):
                return None
            found = [], value(text)
        by_place, by_name = found
        fields = {**dict(zip(Genotype._fields, by_place, strict=False)), **by_name}
        if len(by_place) > len(Genotype._fields):
            raise ValueError
        for cell in ("normal", "reduce"):
            fields[cell] = _ungrouped(fields[cell])
            fields.setdefault(f"{cell}_concat", _CONCAT)
        return Genotype(**fields)
    except (*WRONG, KeyError) as error:
        raise ArchitectureError(
            f"cannot read genotype {brief(text)}; accepted: one Genotype(normal=[('op', source), "
            "...], normal_concat=range(2, 6), reduce=[...], reduce_concat=range(2, 6)), with "
            "anything before it"
        ) from error


def _ungrouped(pairs: list[Any]) -> list[Any]:
    """Pairs that are grouped by node, in one list."""
    if all(isinstance(node, list) and all(isinstance(p, list) for p in node) for node in pairs):
        return [pair for node in pairs for pair in node]
    return pairs
