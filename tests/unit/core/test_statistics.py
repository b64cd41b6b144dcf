"""Intervals against a printed table of Student's t."""

import pytest

from morphogen.core.statistics import interval


def test_interval_by_the_printed_table() -> None:
    # t of 0.975 with two degrees of freedom is 4.303 in every textbook; the error is 1 / sqrt(3).
    found = interval([1.0, 2.0, 3.0])
    assert found["mean"] == 2
    assert found["high"] - 2 == pytest.approx(4.3027 / 3**0.5, abs=1e-4)
    assert 2 - found["low"] == pytest.approx(found["high"] - 2)
    assert found["n"] == 3


def test_one_value_has_no_interval() -> None:
    assert interval([7.0]) == {"mean": 7.0, "n": 1}
