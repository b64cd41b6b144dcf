"""Wilson's interval against published values."""

import pytest

from morphogen.core.statistics import proportion


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_published_examples(hits, count, low, high):
    assert proportion(hits, count) == pytest.approx((low, high), abs=5e-5)
