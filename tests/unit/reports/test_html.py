"""Markup is escaped by construction, axes are linear with round ticks."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from morphogen.reports.html import Html, as_json, details, el, join, table
from morphogen.reports.scale import Axis, horizontal, number, vertical

EVIL = """<script>alert("x")</script>&'"""


class Collect(HTMLParser):
    """Elements, attributes and text as a browser reads them."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_text_and_attributes_are_escaped_and_come_back() -> None:
    read = Collect(el("p", {"title": EVIL, "hidden": True, "lang": None}, EVIL, el("b", {}, EVIL)))
    assert read.tags == ["p", "b"]
    assert read.attributes[0] == {"title": EVIL, "hidden": None}
    assert read.text == EVIL * 2


def test_html_in_tables_and_details_is_escaped() -> None:
    read = Collect(join([table(EVIL, [EVIL] * 2, [[EVIL] * 2], cards=True), details(EVIL, EVIL)]))
    assert "script" not in read.tags
    assert read.text.count(EVIL) == 7
    assert {"data-head": EVIL} in read.attributes


def test_json_survives_an_attribute() -> None:
    read = Collect(el("svg", {"data-hover": as_json({"t": [EVIL, 1.5]})}))
    assert read.attributes[0]["data-hover"] == '{"t":["' + EVIL.replace('"', '\\"') + '",1.5]}'


def test_only_html_is_markup() -> None:
    assert join(["<b>", Html("<i></i>")]) == "&lt;b&gt;<i></i>"


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (1.31, 2.22, [1.4, 1.6, 1.8, 2, 2.2]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert Axis(low, high, 0, 100, "").ticks(5) == pytest.approx(ticks)


def test_whole_axes_have_whole_ticks() -> None:
    assert horizontal([1, 3], "epoch", whole=True).ticks() == [1, 2, 3]


def test_an_axis_is_linear_between_its_ends() -> None:
    axis = Axis(10, 20, 300, 100, "")
    assert [axis.at(v) for v in (10, 15, 20)] == [300, 200, 100]


def test_equal_values_and_zero_have_room() -> None:
    flat = vertical([5, 5], "")
    assert flat.low < 5 < flat.high
    none = vertical([0, 0], "", zero=True)
    assert (none.low, none.high) == (0, 1)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123456, "0.1235"), (15625, "15,625"), (3.0, "3"), (1_234_567, "1.235 M"), (-0.5, "-0.5")],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text
