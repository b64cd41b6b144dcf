"""Configurations: checked when made, frozen, exact through plain values, one sentence if wrong."""

from __future__ import annotations

import pickle
from typing import Annotated, Literal

import pytest
from pydantic import Field

from morphogen.core import ConfigError, UnknownNameError
from morphogen.core.config import config, from_mapping, to_mapping


@config
class Inner:
    """A nested one."""

    rate: Annotated[float, Field(gt=0)] = 0.1
    """a rate"""


@config
class Outer:
    """One with a field of each kind."""

    count: Annotated[int, Field(ge=1)] = 3
    """a count"""
    kind: Literal["a", "b"] = "a"
    """a word"""
    pair: tuple[float, float] = (0.5, 0.999)
    """two numbers"""
    inner: Inner = Inner()


def said(call) -> str:
    with pytest.raises(ConfigError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_fields_are_checked_when_it_is_made():
    assert said(lambda: Outer(count=0)) == (
        "Outer: count is 0; accepted: greater than or equal to 1"
    )
    assert said(lambda: Outer(kind="c")) == "Outer: kind is 'c'; accepted: 'a' or 'b'"
    assert said(lambda: Inner(rate=0)) == "Inner: rate is 0; accepted: greater than 0"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "much", None, [1]])
def test_a_number_is_finite(value):
    text = said(lambda: Inner(rate=value))
    assert text.startswith(f"Inner: rate is {value!r}; accepted: ")


def test_an_unknown_field_is_refused_with_the_nearest():
    assert said(lambda: Outer(cuont=3)) == (
        "unknown field of Outer 'cuont'; did you mean 'count'? known: count, inner, kind, pair"
    )
    with pytest.raises(UnknownNameError):
        Outer(cuont=3)


def test_errors_in_a_nested_field_name_the_way_to_it():
    assert said(lambda: from_mapping(Outer, {"inner": {"rate": -1}})) == (
        "Outer: inner.rate is -1; accepted: greater than 0"
    )
    assert said(lambda: from_mapping(Outer, {"inner": {"rat": 1}})) == (
        "unknown field of Outer.inner 'rat'; did you mean 'rate'? known: rate"
    )
    assert said(lambda: from_mapping(Outer, {"pair": [1.0, "x"]})).startswith(
        "Outer: pair.1 is 'x'; accepted: "
    )
    assert said(lambda: from_mapping(Outer, {"inner": 3})).startswith("Outer: inner is 3; ")


def test_plain_values_give_an_equal_one_back():
    made = Outer(count=7, pair=(0.1, 0.2), inner=Inner(rate=1 / 3))
    plain = to_mapping(made)
    assert plain == {"count": 7, "kind": "a", "pair": [0.1, 0.2], "inner": {"rate": 1 / 3}}
    assert from_mapping(Outer, plain) == made
    assert from_mapping(Outer, {}) == Outer()


def test_it_is_frozen_takes_keywords_only_and_can_be_sent_to_a_process():
    made = Outer(count=7)
    with pytest.raises(AttributeError):
        made.count = 8
    with pytest.raises(ConfigError):
        Outer(7)
    from morphogen.bilevel.optimisers import SGD

    assert pickle.loads(pickle.dumps(SGD(lr=0.5))) == SGD(lr=0.5)
