"""A name of others is one line in a terminal, one word in a shell, and text in Markdown."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt

from morphogen.core import ConfigError, RunError
from morphogen.core.names import brief, code, escape_unencodable, markdown, shell, shown

HOSTILE = (
    "\x1b]0;title\x07\x1b[31mred",
    "two\nlines\rand\ttabs",
    "\u202egnp.exe\u2066",  # turned around
    "\x9b31m \u2028 \xa0",  # an escape code in one character, a line separator, another space
    os.fsdecode(b"latin \xe9"),  # a file name that is no UTF-8
    "<img src=x onerror=alert(1)> | ` # * _ [a](http://b) ![c](d) </code>",
    "`$(touch x)`; rm 'a' \"b\" \\ $HOME !! ~ &",
    "[bold]name[/]",
    "-rf",
    "",
)


def test_shown_is_one_printable_line() -> None:
    assert shown("\x1b[1m\n\u202e\udce9 ü 你 \\ '") == r"\x1b[1m\n\u202e\udce9 ü 你 \ '"
    for name in HOSTILE:
        assert shown(name).isprintable()
        assert shown(shown(name)) == shown(name)


@pytest.mark.slow
def test_a_shell_reads_the_words_back() -> None:
    """What bash makes of the line is what was to be said, byte for byte."""
    words = [name.replace("\0", "") for name in HOSTILE]
    line = shell("printf", r"%s\0", *words)
    assert line.isprintable()
    said = subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout
    assert said.split(b"\0")[:-1] == [os.fsencode(word) for word in words]


def test_a_path_is_no_option() -> None:
    assert shell("morphogen", "resume", Path("-x y")) == "morphogen resume './-x y'"
    assert shell("morphogen", "resume", Path("runs/a")) == "morphogen resume runs/a"
    assert shell("a\n\x1b'\\") == r"$'a\012\033\'\\'"


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_holds_a_name_as_text(name: str) -> None:
    """A Markdown reader that lets HTML through gives back a table cell with the name in it."""
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    for write in (markdown, code):
        html = reader.render(f"| | |\n|---|---|\n| Data | {write(name)} |\n")
        assert html.count("<td>") == 2
        cell = html.split("<td>")[2].split("</td>")[0]
        text = cell.removeprefix("<code>").removesuffix("</code>")
        for entity, letter in (("lt", "<"), ("gt", ">"), ("quot", '"'), ("amp", "&")):
            text = text.replace(f"&{entity};", letter)
        assert text.strip() == shown(name).strip()


def test_errors_are_one_line_whatever_they_name() -> None:
    error = RunError("\x1b[31mnone\nmorphogen: all is well holds no run")
    assert str(error) == r"\x1b[31mnone\nmorphogen: all is well holds no run"


def test_a_terminal_that_lacks_a_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    bytes_written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(bytes_written, encoding="latin-1"))
    escape_unencodable()
    print("ü 你 \udce9", flush=True)
    assert bytes_written.getvalue() == b"\xfc \\u4f60 \\udce9\n"


class Mute:
    """Its own `repr` fails."""

    def __repr__(self) -> str:
        raise ValueError


def test_a_value_is_shown_briefly_whatever_it_is():
    assert brief("a'b") == repr("a'b")
    assert brief(0.1) == "0.1"
    assert brief("x" * 10**6) == "'" + "x" * 200 + "...'"
    assert brief(10**5000) == brief(-(10**5000)) == "a number of hundreds of digits"
    assert brief(Mute()) == "<Mute>"
    assert brief(["a\nb", 1]) == "['a\\nb', 1]"
    assert "\n" not in brief(np.zeros((40, 40)))
    assert len(brief(list(range(10**5)))) < 300


def test_a_sentence_has_an_end_however_long_what_it_quotes():
    text = str(ConfigError(f"limit is {'9' * 10**6}; accepted: COST<=NUMBER"))
    assert text.startswith("limit is 999")
    assert text.endswith("; accepted: COST<=NUMBER")
    assert len(text) < 500
