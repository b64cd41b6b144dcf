"""Curves as one SVG: a name at the end of each, none over another."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest

from morphogen.reports.curves import HEIGHT, NAME, Band, spread, svg


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([10, 50, 90], [10, 50, 90]),
        ([50, 50], [45, 55]),
        ([20, 50, 52, 54], [20, 42, 52, 62]),
        ([95, 99], [90, 100]),
        ([], []),
    ],
)
def test_names_are_moved_apart_and_no_further(places: list, expected: list) -> None:
    assert spread(places, 10, 100) == pytest.approx(expected)


def test_every_curve_has_its_name_in_the_picture() -> None:
    bands = [Band(f"method-{i:02}", [10, 60, 300], [9.0, 5.0, 2 + 0.01 * i]) for i in range(20)]
    bands.append(Band("found the best", [10, 60, 300], [3.0, 1.0, 0.0]))
    root = ElementTree.fromstring(svg("Regret", "seconds", "regret", bands))
    texts = {t.text: float(t.attrib["y"]) for t in root.findall(".//{*}text") if t.text}
    at = sorted(texts[band.name] for band in bands)
    assert all(b - a >= NAME - 0.11 for a, b in pairwise(at))
    assert at[0] > 0
    assert at[-1] <= HEIGHT
    assert not root.findall(".//{*}polygon")  # no intervals were given
