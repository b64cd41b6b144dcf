"""Folding, columns and numbers."""

from __future__ import annotations

import pytest

from morphogen.core.text import columns, count, duration, figure, fold, roughly


def test_fold_never_cuts_an_architecture():
    word = "|nor_conv_3x3~0|+" * 6
    assert word in fold(f"found {word} here", 40).split("\n")


def test_columns_align():
    assert columns(["a", "bb"], [["long", "1"]]) == "  a     bb\n  long   1"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "0.5 s"),
        (59.6, "1 min 0 s"),
        (42, "42 s"),
        (185, "3 min 5 s"),
        (7800, "2 h 10 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_numbers():
    assert count(15_625) == "15,625"
    assert count(1_100_000_000_000_000_000) == "about 1.1e18"
    assert figure(54.2967, "accuracy in %") == "54.30"
    assert figure(2_330_186.0, "parameters") == "2,330,186"
    assert figure(0.051234, "error as a fraction") == "0.05123"


@pytest.mark.parametrize(
    ("number", "text"), [(0.64, "0.6"), (8.14, "8.1"), (213.4, "213"), (4021.0, "4,021")]
)
def test_roughly(number, text):
    assert roughly(number) == text
