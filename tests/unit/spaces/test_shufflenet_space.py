"""The single-path space of SPOS: digits, sizes, and spaces of a user's own sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from morphogen import spaces
from morphogen.core import ArchitectureError, SpaceError
from morphogen.spaces.layered import Layer
from morphogen.spaces.shufflenet import OPERATIONS, ShuffleNet

SPACE = spaces.make("shufflenet")
PUBLISHED = "21012020202300003233"
"""The network that the authors' block search found."""


@pytest.mark.parametrize(
    ("name", "layers"), [("shufflenet", 20), ("shufflenet-cifar", 20), ("shufflenet-small", 10)]
)
def test_built_in_spaces_and_their_notation(name: str, layers: int) -> None:
    space = spaces.make(name)
    assert space.name == name
    assert space == spaces.make(name)
    assert hash(space) == hash(spaces.make(name))
    assert space.size() == 4**layers
    rng = np.random.default_rng(0)
    for _ in range(200):
        arch = space.sample(rng)
        assert space.parse(space.format(arch)) == arch
    digits = "".join(str(i % 4) for i in range(layers))
    assert space.format(space.parse(digits)) == digits


def test_a_digit_is_the_authors_number_of_the_operation() -> None:
    arch = SPACE.parse(PUBLISHED)
    assert [arch.one(f"layer_{i}") for i in (1, 2, 3, 12)] == [
        *("shuffle_7x7", "shuffle_5x5", "shuffle_3x3"),
        "xception_3x3",
    ]


@pytest.mark.parametrize("text", ["0123", PUBLISHED[:-1] + "4", PUBLISHED + "0", "", "x" * 20])
def test_malformed_string_is_one_sentence(text: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        SPACE.parse(text)
    assert str(caught.value) == (
        f"cannot read architecture {text!r}; accepted: 20 digits, one per layer: 0 = shuffle_3x3, "
        "1 = shuffle_5x5, 2 = shuffle_7x7, 3 = xception_3x3"
    )


def test_sub_space_keeps_digits_and_sizes() -> None:
    part = spaces.make("shufflenet-small").restrict({"layer_1": [OPERATIONS[2], OPERATIONS[3]]})
    assert part.format(part.parse("3000000000")) == "3000000000"
    assert part.layers(8) == spaces.make("shufflenet-small").layers(8)
    scores = np.zeros((10, 4))
    scores[0, 1] = 1  # the second of what is left
    assert part.format(part.derive({"layers": scores})) == "3000000000"


def test_sizes_of_the_paper() -> None:
    layers = SPACE.layers(16)
    assert [layer.stride for layer in layers] == [2, 1, 1, 1] * 2 + [2] + [1] * 7 + [2, 1, 1, 1]
    assert [layer.c_out for layer in layers] == [64] * 4 + [160] * 4 + [320] * 8 + [640] * 4
    assert [layer.c_in for layer in layers] == [16, *(layer.c_out for layer in layers[:-1])]


def test_fewer_channels_are_in_proportion_and_even() -> None:
    assert [layer.c_out for layer in SPACE.layers(4)[::4]] == [16, 40, 80, 80, 160]
    small = spaces.make("shufflenet-small")
    assert [layer.c_out for layer in small.layers(2)[::2]] == [4, 10, 20, 20, 40]
    assert small.layers(6)[2] == Layer(12, 30, 2)


@pytest.mark.parametrize("channels", [0, -2, 3])
def test_channels_that_cannot_be_halved_are_a_sentence(channels: int) -> None:
    with pytest.raises(SpaceError) as caught:
        SPACE.layers(channels)
    assert str(caught.value) == (
        f"channels is {channels}; accepted in space 'shufflenet': an even number from 2 "
        "(as published: 16)"
    )


OWN: dict[str, Any] = {"repeats": (1, 2), "widths": (8, 16), "strides": (1, 2), "stem": 4}


def test_own_sizes_make_another_space() -> None:
    space = ShuffleNet("mine", **OWN, head=32)
    assert space.layers(4) == (Layer(4, 8, 1), Layer(8, 16, 2), Layer(16, 16, 1))
    assert space.size() == 4**3
    assert space == ShuffleNet("mine", **OWN, head=32)
    wider = ShuffleNet("mine", **OWN, head=64)
    assert space != wider
    assert len({space, wider, space.restrict({})}) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"repeats": (2,)}, "repeats has 1 numbers; accepted: one per stage, as many as widths"),
        ({"repeats": (0, 2)}, "repeats has 0; accepted: a whole number from 1"),
        ({"widths": (8, 15)}, "widths has 15; accepted: an even number from 2"),
        ({"strides": (1, 3)}, "strides has 3; accepted: 1 or 2"),
        ({"stem": 3}, "stem has 3; accepted: an even number"),
        ({"stem_stride": 4}, "stem_stride has 4; accepted: 1 or 2"),
        ({"dropout": 1.0}, "dropout has 1.0; accepted: a number from 0"),
        ({"widths": (8, 8)}, "layer 2 has 8 channels and passes 8 of its input on; accepted: more"),
    ],
)
def test_impossible_sizes_are_a_sentence(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        ShuffleNet("mine", **{**OWN, **change})
    assert str(caught.value).startswith(f"space 'mine': {message}")
