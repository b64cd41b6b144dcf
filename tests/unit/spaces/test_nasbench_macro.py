"""The NAS-Bench-Macro space: eight digits, three blocks."""

from itertools import product

import numpy as np
import pytest

from morphogen.core import Architecture, ArchitectureError, UnknownNameError
from morphogen.spaces.nasbench_macro import OPERATIONS, NASBenchMacro

SPACE = NASBenchMacro()


def test_all_6561_strings_round_trip() -> None:
    strings = ["".join(digits) for digits in product("012", repeat=8)]
    assert [SPACE.format(SPACE.parse(s)) for s in strings] == strings
    assert len(strings) == SPACE.size() == 6_561
    assert [SPACE.format(a) for a in SPACE.enumerate()] == strings


def test_first_digit_is_the_first_layer() -> None:
    arch = SPACE.parse("20000001")
    assert arch.one("layer_1") == "MB6_K5"
    assert arch.one("layer_8") == "MB3_K3"
    assert arch.one("layer_4") == "identity"


@pytest.mark.parametrize("text", ["0000000", "000000003", "00000003", "identity", ""])
def test_malformed_string_is_one_sentence(text: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        SPACE.parse(text)
    assert str(caught.value) == (
        f"cannot read architecture {text!r}; accepted: 8 digits, one per layer: "
        "0 = identity, 1 = MB3_K3, 2 = MB6_K5"
    )


def test_sub_space_keeps_the_digits_of_the_whole() -> None:
    part = SPACE.restrict({f"layer_{i}": ["MB6_K5"] for i in range(1, 8)})
    assert [part.format(a) for a in part.enumerate()] == ["22222220", "22222221", "22222222"]
    with pytest.raises(UnknownNameError, match=r"'layer_1' 'MB3_K3'"):
        part.parse("12222222")


def test_derive_and_encoding_follow_the_rows_of_one_matrix() -> None:
    scores = np.random.default_rng(0).normal(size=(8, 3))
    arch = SPACE.derive({"layers": scores})
    assert SPACE.format(arch) == "".join(str(i) for i in scores.argmax(1))
    assert SPACE.encode(arch).reshape(8, 3).argmax(1).tolist() == scores.argmax(1).tolist()
    assert arch == Architecture(
        {f"layer_{i + 1}": OPERATIONS[k] for i, k in enumerate(scores.argmax(1))}
    )
