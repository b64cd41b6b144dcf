"""DARTSformer's space: its size, its notation, its mistakes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from morphogen import spaces
from morphogen.core import ArchitectureError, SpaceError, UnknownNameError
from morphogen.spaces.dartsformer import (
    DECODER_OPERATIONS,
    ENCODER_OPERATIONS,
    FOUND,
    DARTSformer,
)

SPACE = DARTSformer("mini")


def test_it_has_as_many_architectures_as_published() -> None:
    assert (len(ENCODER_OPERATIONS), len(DECODER_OPERATIONS)) == (13, 14)
    assert spaces.make("dartsformer").size() == 13**4 * 14**4  # "about one billion"


def test_json_says_the_same_as_the_notation() -> None:
    arch = SPACE.parse(FOUND)
    written = {
        "encoder": [["ffn", "self_attention"]] * 2,
        "decoder": [["ffn", "cross_attention"], ["self_attention", "cross_attention"]],
    }
    assert SPACE.parse(json.dumps(written)) == arch
    assert SPACE.format(arch) == FOUND
    assert SPACE.parse(FOUND.replace(",", " , ")) == arch


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ffn",
        "ffn,ffn/ffn,ffn",
        "ffn,ffn/ffn,ffn:ffn,ffn",
        "ffn,ffn,ffn/ffn,ffn:ffn,ffn/ffn,ffn",
        '{"encoder": []}',
        '{"encoder": [["ffn"]], "decoder": 3}',
        "{",
        "{" * 3000,
        '{"encoder": [[1, 2], [3, 4]], "decoder": [[1, 2], [3, 4]]}',
    ],
)
def test_another_text_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ArchitectureError, match="accepted: 2 layers of 2 operations of the enc"):
        SPACE.parse(text)


def test_cross_attention_is_of_the_decoder_alone() -> None:
    with pytest.raises(UnknownNameError, match="cross_attention"):
        SPACE.parse(FOUND.replace("ffn,self_attention", "cross_attention,ffn", 1))


def test_sides_that_do_not_look_around_are_remarked_on() -> None:
    still = SPACE.parse("ffn,glu/zero,identity:cross_attention,ffn/glu,ffn")
    assert [r.partition(" brings")[0] for r in SPACE.remarks(still)] == [
        "no operation of the encoder",
        "no operation of the decoder",
    ]
    assert SPACE.remarks(SPACE.parse(FOUND)) == ()


def test_scores_decide_each_split_with_zero_and_identity_among_them() -> None:
    scores = {g: np.zeros(m.shape) for g, m in SPACE.masks.items()}
    scores["encoder"][0, ENCODER_OPERATIONS.index("zero")] = 1
    scores["encoder"][3, ENCODER_OPERATIONS.index("glu")] = 1
    scores["decoder"][2, DECODER_OPERATIONS.index("identity")] = 1
    found = SPACE.derive(scores)
    assert SPACE.format(found) == "zero,conv_3/conv_3,glu:conv_3,conv_3/identity,conv_3"


@pytest.mark.parametrize(
    ("field", "value"),
    [("splits", 1), ("layers", 0), ("pooling", "sum"), ("heads", 0), ("embedding", -1)],
)
def test_an_impossible_size_is_refused(field: str, value: object) -> None:
    with pytest.raises(SpaceError, match=f"{field} is {value!r}; accepted"):
        DARTSformer("mini", **{field: value})
    assert DARTSformer("mini", expansion=2) != SPACE
