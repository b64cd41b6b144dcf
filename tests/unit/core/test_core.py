"""Choices, architectures, errors: the values everything else speaks of."""

import os
import pickle
import subprocess
import sys

import pytest

from morphogen.core import (
    Architecture,
    ArchitectureError,
    Choice,
    ConfigError,
    MorphogenError,
    SpaceError,
    UnknownNameError,
)


def test_choice_without_group_is_a_group_of_its_own() -> None:
    assert Choice("edge", ("a", "b")).group == "edge"
    assert Choice("edge", ("a", "b"), "cell").group == "cell"


@pytest.mark.parametrize(
    ("options", "least", "most", "message"),
    [
        ((), 1, 1, "choice 'x' has no options; it needs at least one"),
        (("a", "a"), 1, 1, "choice 'x' has an option twice: a, a"),
        (
            ("a", "b"),
            1,
            3,
            "choice 'x' keeps 1 to 3 of 2 options; "
            "accepted: 0 <= least <= most <= number of options",
        ),
        (
            ("a", "b"),
            2,
            1,
            "choice 'x' keeps 2 to 1 of 2 options; "
            "accepted: 0 <= least <= most <= number of options",
        ),
    ],
)
def test_malformed_choice_is_one_sentence(
    options: tuple[str, ...], least: int, most: int, message: str
) -> None:
    with pytest.raises(SpaceError) as caught:
        Choice("x", options, least=least, most=most)
    assert str(caught.value) == message


def test_unknown_option_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        Choice("edge", ("skip_connect", "none")).index("skip_conect")
    assert str(caught.value) == (
        "unknown option of choice 'edge' 'skip_conect'; did you mean 'skip_connect'? "
        "known: none, skip_connect"
    )


def test_unknown_name_far_from_all_gives_no_hint() -> None:
    assert str(UnknownNameError("space", "qqq", ["darts"])) == "unknown space 'qqq'; known: darts"


def test_architecture_equality_and_hash_ignore_order_of_choices() -> None:
    first, second = Architecture({"a": "x", "b": ("y",)}), Architecture({"b": "y", "a": ["x"]})
    assert first == second
    assert hash(first) == hash(second)
    assert len({first, second}) == 1
    assert first != {"a": ("x",), "b": ("y",)}


def test_architecture_cannot_be_changed_and_replace_makes_a_new_one() -> None:
    given = {"a": ["x"]}
    arch = Architecture(given)
    given["a"].append("y")
    with pytest.raises(TypeError):
        arch["a"] = ("y",)  # type: ignore[index]
    other = arch.replace(a="y", self="z")
    assert (arch["a"], other["a"], other["self"]) == (("x",), ("y",), ("z",))


def test_one_refuses_a_choice_that_keeps_none_or_two() -> None:
    arch = Architecture({"a": (), "b": ("x", "y"), "c": "z"})
    assert arch.one("c") == "z"
    with pytest.raises(ArchitectureError, match=r"^choice 'a' keeps 0 options, not one$"):
        arch.one("a")
    with pytest.raises(ArchitectureError, match=r"^choice 'b' keeps 2 options, not one$"):
        arch.one("b")
    assert repr(arch) == "Architecture(a=(dropped), b=x+y, c=z)"


def test_architecture_pickled_in_another_process_is_still_found_in_a_set() -> None:
    make = (
        "import pickle, sys; from morphogen.core import Architecture; "
        "sys.stdout.buffer.write(pickle.dumps(Architecture({'a': 'x', 'b': ('y', 'z')})))"
    )
    sent = subprocess.run(
        [sys.executable, "-c", make],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "12345"},
    )
    assert pickle.loads(sent.stdout) in {Architecture({"a": "x", "b": ("y", "z")})}


def test_unknown_name_error_survives_the_way_between_processes() -> None:
    error = UnknownNameError("space", "dart", ["darts"])
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is UnknownNameError
    assert str(again) == str(error)


def test_every_error_is_in_one_tree_with_an_exit_code() -> None:
    import morphogen.core.errors as errors

    found = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert all(issubclass(e, MorphogenError) and e.exit_code in {2, 3, 4} for e in found)
    assert issubclass(UnknownNameError, ConfigError)
