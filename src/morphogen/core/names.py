"""Names are data: how a name, path or message of others is put into a line that a person reads.

A class, a file or a run may be called anything: with escape codes that a terminal obeys, with a
line break that forges a second sentence, with characters that turn the writing direction, with
words that a shell runs. Whatever prints goes through `shown`, a command to paste through `shell`,
and what Markdown holds through `markdown` or `code`.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import sys
from typing import Any

LONGEST = 200
"""Signs of a value that a message shows: what is longer tells nobody more."""


def shown(text: object) -> str:
    """`text` on one line, each character that is not printable as Python's `repr` writes it.

    What is printable stays as it is, so that to show twice is to show once.
    """
    line = str(text)
    return line if line.isprintable() else "".join(map(_visible, line))


def brief(value: Any) -> str:
    """A value as a message shows it: on one line, quoted where it is text, and never too long.

    It may be anything that somebody passed by mistake, so its own `repr` is not trusted.
    """
    if isinstance(value, str):
        value = value if len(value) <= LONGEST else f"{value[:LONGEST]}..."
    elif isinstance(value, int) and abs(value) >= 10**LONGEST:
        return "a number of hundreds of digits"  # Python may refuse to write it
    try:
        text = " ".join(repr(value).split())
    except Exception:  # noqa: BLE001 - of a foreign object
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 2 * LONGEST else f"{text[:LONGEST]}..."


def readable(text: object) -> str:
    """The same of a text of several lines, with tabs: what a file in UTF-8, or XML, can hold."""
    return "".join(c if c in "\n\t" else _visible(c) for c in str(text))


def encodable(name: str) -> str:
    """A name from a file system that is no Unicode, with its foreign bytes as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _visible(letter: str) -> str:
    return letter if letter.isprintable() else repr(letter)[1:-1]


def shell(*words: str | os.PathLike[str]) -> str:
    """The words as one line for a shell, printable, each read back as it is.

    A path that begins with a dash gets `./` in front, lest it be taken for an option.
    """
    return " ".join(map(_word, words))


def _word(word: str | os.PathLike[str]) -> str:
    text = os.fspath(word)
    if not isinstance(word, str) and text.startswith("-"):
        text = os.path.join(os.curdir, text)
    if text.isprintable():
        return shlex.quote(text)
    # Octal, because in hexadecimal shells disagree where a number ends.
    return "$'" + "".join(map(_escaped, text)) + "'"


def _escaped(letter: str) -> str:
    if letter.isprintable():
        return f"\\{letter}" if letter in "\\'" else letter
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(letter))


_MARKUP = re.compile(r"[\\*_\[\]#|~$@]|:(?=//)|(?<=www)\.")
"""What Markdown, or GitHub's, takes for more than text within a line."""

_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "`": "&#96;"}


def markdown(text: object) -> str:
    """`text` on one line of Markdown, as what it is: no markup, no HTML, no end of a table cell."""
    line = _MARKUP.sub(r"\\\g<0>", shown(text))
    return "".join(_HTML.get(letter, letter) for letter in line)


def code(text: object) -> str:
    """`text` as code within a line of Markdown, in a table, too."""
    line = shown(text)
    if not line or not _HTML.keys().isdisjoint(line):
        return f"<code>{markdown(line)}</code>"
    return f"`{line}`".replace("|", "\\|")


def escape_unencodable() -> None:
    """Have stdout and stderr write what their encoding lacks as escapes, rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
