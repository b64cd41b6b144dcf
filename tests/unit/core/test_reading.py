"""Files that may be anything: bounded, regular, flat; else one sentence that names the file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from morphogen.core import RunError
from morphogen.core.reading import parse_json, parse_yaml, read_bytes, read_lines, read_text
from morphogen.core.records import Count, Plain, Record, checked, read_json, read_yaml


class Inner(Record):
    rate: float


class Outer(Record, extra="allow"):
    __pydantic_extra__: dict[str, Plain]

    name: str
    count: Count
    inner: Inner
    flags: list[bool]


GOOD = {"name": "x", "count": 3, "inner": {"rate": 1}, "flags": [True], "more": [{"a": None}]}


def sentence(caught: pytest.ExceptionInfo[RunError]) -> str:
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


def test_what_is_no_regular_file_is_named_and_not_opened(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for a writer for ever
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, said in (
        ("folder", ": a folder, not a file"),
        ("pipe", ": a named pipe, not a file"),
        ("zero", ": a device, not a file"),
        ("loop", "Too many levels of symbolic links"),
        ("none", "no such file"),
        ("a\0b", "a path with a null character"),
    ):
        with pytest.raises(RunError) as caught:
            read_bytes(tmp_path / name, accepted="a good file")
        assert said in sentence(caught)
        assert "accepted: a good file" in sentence(caught)


def test_a_file_larger_than_accepted_is_not_read(tmp_path):
    with (tmp_path / "big").open("wb") as file:
        file.truncate(2**41)  # sparse: two terabytes that take no place
    for read in (read_bytes, read_text, lambda p: list(read_lines(p))):
        with pytest.raises(RunError, match=r"has 2,199,023,255,552 bytes; accepted: "):
            read(tmp_path / "big")
    (tmp_path / "small").write_bytes(b"12345")
    assert read_bytes(tmp_path / "small", most=5) == b"12345"
    with pytest.raises(RunError, match="at most 4 bytes"):
        read_bytes(tmp_path / "small", most=4)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[1]x", b'{"a": NaN}', b"[-Infinity]", b"\xff", b"9" * 6000, b"[" * 10**6]
)
def test_what_is_no_json_is_a_value_error(raw):
    with pytest.raises(ValueError, match=r"line 1 column"):
        parse_json(raw)


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "line 2: an alias"),
        ("[" * 500, "more than 100 lists"),
        ("a: [unclosed\n", "line 2: "),
        ("a: 2020-13-45\n", "month must be in"),
        ("a: !!python/object:os.system x\n", "could not determine a constructor"),
        ("a: \0\n", "unacceptable character|special characters"),
        ("? [1]\n: 2\n", "unhashable"),
    ],
)
def test_what_is_no_plain_yaml_is_a_value_error(text, said):
    with pytest.raises(ValueError, match=said):
        parse_yaml(text)


def test_yaml_is_read_as_the_library_reads_it():
    text = yaml.safe_dump(GOOD)
    assert parse_yaml(text) == yaml.safe_load(text) == GOOD


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, -0.0, 1e-300, 2.5e20, None, True, "yes", "1", "1e3", "~", ""], "b": {}},
        {"folder": "/tmp/\udcff\udc80", "other": "\u2028 \x85 \ufeff ä \U0001f600"},
        ["- a", "a: b", "# c", "'", '"', "a\n\n b \n", " ", "\t", "%", "@", "`", "!", "&a", "*a"],
        [[[[[[]]]]]],
        {7: "a", True: "b", 2.5: "c"},
    ],
)
@pytest.mark.parametrize("flow", [True, False])
def test_yaml_is_read_as_it_was_written(value, flow):
    """Names that are no UTF-8 too; in every style, against PyYAML's own reader."""
    for options in ({}, {"allow_unicode": True}, {"default_style": '"'}):
        text = yaml.safe_dump(value, default_flow_style=flow, **options)
        assert parse_yaml(text) == yaml.safe_load(text)
    assert parse_yaml(yaml.safe_dump(value, default_flow_style=flow)) == value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": 3}, "has name 3; accepted: a text"),
        ({"count": "3"}, "has count '3'; accepted: a whole number"),
        ({"count": True}, "has count True; accepted: a whole number"),
        ({"count": 0}, "has count 0; accepted: greater than or equal to 1"),
        ({"count": 10**30}, "has count 1000000000000000000000000000000; accepted: "),
        ({"inner": []}, "has inner []; accepted: a mapping of names to values"),
        ({"inner": {}}, "has no inner.rate; accepted: a record"),
        ({"inner": {"rate": float("nan")}}, "has inner.rate nan; accepted: a finite number"),
        ({"inner": {"rate": 10**400}}, "has inner.rate a number of hundreds of digits"),
        ({"flags": [True, 1]}, "has flags.1 1; accepted: true or false"),
        ({"more": [{"a": float("inf")}]}, "has more [{'a': inf}]; accepted: a finite number"),
        ({"more": 10**30}, "has more 1000000000000000000000000000000; accepted: a whole number"),
        ({"more": {3: 4}}, "has more {3: 4}; accepted: mappings with texts for names"),
        ({"more": [{1}]}, "has more [{1}]; accepted: texts, numbers, lists and mappings"),
        ({"name": None}, "has name None; accepted: a text"),
    ],
)
def test_a_field_that_is_wrong_is_named_with_what_is_accepted(change, said):
    assert checked(Outer, GOOD, "the file", accepted="a record") == GOOD
    with pytest.raises(RunError) as caught:
        checked(Outer, GOOD | change, "the file", accepted="a record")
    assert sentence(caught).startswith(f"the file {said}")


def test_a_file_is_named_with_the_field(tmp_path):
    path: Path = tmp_path / "r.json"
    path.write_text('{"name": "x", "count": 3}')
    with pytest.raises(RunError, match=r"r\.json has no inner; accepted: a record"):
        read_json(Outer, path, accepted="a record")
    path.write_text('["name"]')
    for read in (read_json, read_yaml):
        with pytest.raises(RunError, match="is no mapping of names to values; accepted: a record"):
            read(Outer, path, accepted="a record")


def test_json_of_a_path_that_is_no_utf8() -> None:
    """As Python writes it; what is no number, or too deep, is refused beside it all the same."""
    values = {"data": os.fsdecode(b"/\xe9"), "n": 1.5}
    assert parse_json(json.dumps(values)) == values
    for rest in ("NaN", "-Infinity", "[" * 100_000):
        with pytest.raises(ValueError, match=r"number|nested|depth|recursion"):
            parse_json('{"data": "\\udce9", "n": ' + rest + "}")
