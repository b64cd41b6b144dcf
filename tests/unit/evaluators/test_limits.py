"""Limits: a number, of what, and in a unit that belongs to it."""

from __future__ import annotations

import pytest

from morphogen.core import ConfigError, UnknownNameError
from morphogen.evaluators.limits import limits_of


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("params<=1.2M", [("params", 1.2e6)]),
        ("flops <= 40 M, latency<=3.5", [("flops", 4e7), ("latency", 3.5)]),
        ("latency<=50ms", [("latency", 50)]),
        ("latency <= 0.05 s", [("latency", 50)]),
        ("latency<=50us", [("latency", 0.05)]),
        ("latency<=50\u00b5s", [("latency", 0.05)]),
        ("latency<=50\u03bcs", [("latency", 0.05)]),
        ("memory<=4MiB", [("memory", 4 * 1024 * 1024)]),
        ("memory<=2.5 MB, params<=3k", [("memory", 2_500_000), ("params", 3000)]),
        ("memory<=64KiB", [("memory", 65536)]),
        ("memory<=2e6,params<=700K,flops<=1G", [("memory", 2e6), ("params", 7e5), ("flops", 1e9)]),
    ],
)
def test_limits_are_read(text, found):
    assert [(limit.name, limit.most) for limit in limits_of(text)] == found


@pytest.mark.parametrize(
    ("text", "kind", "part"),
    [
        ("params<1M", ConfigError, "limit is 'params<1M'; accepted: COST<=NUMBER"),
        ("params<=", ConfigError, "limit is 'params<='"),
        ("params<=1.2.3M", ConfigError, "limit is 'params<=1.2.3M'"),
        ("params<=1T", ConfigError, "limit is 'params<=1T'"),
        *(
            (f"{cost}<={number}", ConfigError, f"accepted for {cost}: a number above 0 of ")
            for cost, number in (
                ("latency", "50K"),
                ("latency", "2MB"),
                ("latency", "3min"),
                ("params", "50ms"),
                ("params", "4MiB"),
                ("flops", "1s"),
                ("memory", "50ms"),
                ("params", "1m"),
                ("params", "0"),
                ("latency", "0.0ms"),
                ("params", "1e999"),
                ("params", "9" * 5000),
                ("params", "."),
            )
        ),
        ("latency<=", ConfigError, "of latency is milliseconds (ms)"),
        ("params<=nan", ConfigError, "limit is 'params<=nan'"),
        ("params<=inf", ConfigError, "limit is 'params<=inf'"),
        ("params<=-1M", ConfigError, "limit is 'params<=-1M'"),
        ("params<=\u0661\u0660M", ConfigError, "limit is 'params<="),
        (",", ConfigError, "limit is ''"),
        (" ", ConfigError, "limit is ''"),
        ("params<=1M,", ConfigError, "limit is ''"),
        ("params<=1M, params<=2M", ConfigError, "one cost of it twice"),
        ("parms<=1M", UnknownNameError, "did you mean 'params'"),
        ("accuracy<=90", UnknownNameError, "unknown cost in limit 'accuracy'"),
    ],
)
def test_limits_that_cannot_be_read_are_refused(text, kind, part):
    with pytest.raises(kind) as caught:
        limits_of(text)
    assert part in str(caught.value)
    assert len(str(caught.value)) < 800
