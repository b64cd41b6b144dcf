"""The mobile space of ProxylessNAS: digits, sizes, and spaces of a user's own sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from morphogen import spaces
from morphogen.core import ArchitectureError, SpaceError, UnknownNameError
from morphogen.spaces.layered import Layer
from morphogen.spaces.proxylessnas import BLOCKS, OPERATIONS, ProxylessNAS, divisible

SPACE, WIDE = spaces.make("proxylessnas"), spaces.make("proxylessnas-gpu")
SMALL = spaces.make("proxylessnas-small")
ENTRIES = (1, 5, 9, 13, 17, 21)
"""Layers that change width or halve the image (card, 3.3)."""


@pytest.mark.parametrize("space", [SPACE, WIDE])
def test_entries_have_six_choices_and_the_others_seven(space: ProxylessNAS) -> None:
    counts = {i: len(c.options) for i, c in enumerate(space.choices, start=1)}
    assert counts == {i: 6 if i in ENTRIES else 7 for i in range(1, 22)}
    assert space.size() == 7**15 * 6**6 == 221_502_229_807_900_608


@pytest.mark.parametrize("name", ["proxylessnas", "proxylessnas-gpu", "proxylessnas-small"])
def test_notation_is_read_back(name: str) -> None:
    space = spaces.make(name)
    assert (space.name, space, hash(space)) == (name, spaces.make(name), hash(spaces.make(name)))
    rng = np.random.default_rng(0)
    for _ in range(300):
        arch = space.sample(rng)
        assert space.parse(space.format(arch)) == arch
        hot = space.encode(arch)
        assert hot.sum() == len(space.choices)
        assert len(hot) == sum(len(c.options) for c in space.choices)
    assert len(WIDE.encode(WIDE.parse("UNAS_GPU"))) == 141  # unas 3.6: 15 * 7 + 6 * 6


def test_published_networks_and_names_of_the_authors() -> None:
    """unas 4.2 and proxylessnas-space 3.4, layer by layer."""
    unas = WIDE.parse("UNAS_GPU")
    kept = [unas.one(c.name) for c in WIDE.choices]
    assert [kept[i - 1] for i in ENTRIES] == [
        *("5x5_MBConv3", "7x7_MBConv3", "7x7_MBConv3", "5x5_MBConv3"),
        *("7x7_MBConv6", "7x7_MBConv6"),
    ]
    assert {i for i, name in enumerate(kept, start=1) if name == "identity"} == {3, 4, 6, 7, 8}
    assert {i for i, name in enumerate(kept, start=1) if name == "3x3_MBConv3"} == {
        *(2, 10, 11, 12, 14, 15, 16)
    }
    shallow = WIDE.parse("PROXYLESSNAS_GPU")
    assert sum(value == ("identity",) for value in shallow.values()) == 8
    listed = [name if name != "identity" else "Zero" for name in kept]
    assert WIDE.parse(str(listed)) == unas
    assert WIDE.parse(" ".join(kept)) == unas


@pytest.mark.parametrize("text", ["123", "2" * 20 + "7", "2" * 22, "", "['Zero']", "MBConv3"])
def test_malformed_string_is_one_sentence(text: str) -> None:
    with pytest.raises(ArchitectureError, match="accepted: 21 digits, one per layer: 0 = identity"):
        SPACE.parse(text)


def test_an_entry_cannot_be_left_out() -> None:
    with pytest.raises(UnknownNameError, match="'layer_1' 'identity'; known: 3x3_MBConv3"):
        SPACE.parse("0" * 21)


def test_the_shallowest_network_is_remarked_on() -> None:
    shallowest = "".join("1" if i in ENTRIES else "0" for i in range(1, 22))
    assert "all 15 layers" in SPACE.remarks(SPACE.parse(shallowest))[0]
    assert SPACE.remarks(SPACE.parse("2" * 21)) == ()


def test_sizes_of_the_paper_and_of_fewer_channels() -> None:
    layers = SPACE.layers(32)
    assert [layer.stride for layer in layers] == [2, 1, 1, 1] * 3 + [1] * 4 + [2, 1, 1, 1, 1]
    assert [layer.c_out for layer in layers[::4]] == [24, 40, 80, 96, 192, 320]
    assert [layer.c_in for layer in layers] == [16, *(layer.c_out for layer in layers[:-1])]
    # A quarter, in multiples of eight: the small space has just these widths (card, 4).
    assert [layer.c_out for layer in SPACE.layers(8)[::4]] == [8, 16, 24, 24, 48, 80]
    assert [layer.c_out for layer in SMALL.layers(8)[::2]] == [8, 16, 24, 24, 48, 80]
    assert WIDE.layers(20)[0] == Layer(12, 16, 2)  # UNAS' half size


@pytest.mark.parametrize(("width", "multiple"), [(6, 8), (30, 32), (5.6, 8), (18, 24), (24, 24)])
def test_multiples_of_eight_are_not_below_nine_tenths(width: float, multiple: int) -> None:
    assert divisible(width, 8) == multiple


OWN: dict[str, Any] = {"repeats": (1, 2), "widths": (8, 15), "strides": (1, 2)}
OWN |= {"stem": 4, "first": 8}


def test_own_sizes_make_another_space() -> None:
    space = ProxylessNAS("mine", **OWN, head=32)
    assert space.layers(4) == (Layer(8, 8, 1), Layer(8, 15, 2), Layer(15, 15, 1))
    assert [len(c.options) for c in space.choices] == [7, 6, 7]
    assert space == ProxylessNAS("mine", **OWN, head=32)
    assert space != ProxylessNAS("mine", **OWN, head=64)
    part = space.restrict({"layer_1": ["identity", "7x7_MBConv6"]})
    assert part.format(part.parse("011")) == "011"
    assert OPERATIONS[1:] == tuple(BLOCKS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"repeats": (2,)}, "repeats has 1 numbers; accepted: one per stage, as many as widths"),
        ({"repeats": (0, 2)}, "repeats has 0; accepted: a whole number from 1"),
        ({"repeats": (1, 10**9)}, "repeats are (1, 1000000000); accepted: at most 1000 layers"),
        ({"widths": (8, 0)}, "widths has 0; accepted: a whole number from 1"),
        ({"strides": (1, 3)}, "strides has 3; accepted: 1 or 2"),
        ({"stem_stride": 4}, "stem_stride has 4; accepted: 1 or 2"),
        ({"divisor": 0}, "divisor has 0; accepted: a whole number from 1"),
        ({"identity_dropout": 1.0}, "identity_dropout has 1.0; accepted: a number from 0"),
    ],
)
def test_impossible_sizes_are_a_sentence(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        ProxylessNAS("mine", **{**OWN, **change})
    assert str(caught.value).startswith(f"space 'mine': {message}")
    with pytest.raises(SpaceError, match=r"^channels is 0; accepted in space 'proxylessnas': 1 or"):
        SPACE.layers(0)
