"""Tables of text as spreadsheets and editors save them: byte order marks, separators, commas.

What the bytes and the first line say beyond doubt is taken as it is meant; what they leave open is
refused in a sentence that says what was found.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from morphogen.core.errors import DataError
from morphogen.core.names import shown
from morphogen.core.reading import read_bytes

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order mark -> encoding."""

ACCEPTED = "a .csv file in UTF-8 with a line of names, then a row a line"


class Rows(NamedTuple):
    """What is in a table of text."""

    separator: str
    """Between cells."""
    cells: list[tuple[int, list[str]]]
    """Number of the line, from 1, and its cells without space around them; the names first."""


def rows(path: Path) -> Rows:
    """Read a table; lines without any text are left out.

    Raises:
        DataError: it is no text, or a row has more or fewer cells than the first.
    """
    text = _text(path)
    head = next((line for line in text.splitlines() if line.strip()), "")
    said = head.strip().removeprefix("sep=")  # a line by which a spreadsheet says it
    if head.startswith("sep=") and said in SEPARATORS:
        separator = said
        # An empty line in its place, so that the others keep their numbers.
        text = text[: text.index(head)] + text[text.index(head) + len(head) :]
    else:
        separator = _separator(head)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    found: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                found.append((reader.line_num, [cell.strip() for cell in cells]))
    except csv.Error as error:
        raise DataError(
            f"line {reader.line_num} of {shown(path)}: {error}; accepted: {ACCEPTED}"
        ) from error
    width = len(found[0][1]) if found else 0
    for line, cells in found:
        while len(cells) > width and not cells[-1]:
            cells.pop()  # empty columns at the right, which spreadsheets leave
        if len(cells) != width:
            raise DataError(
                f"line {line} of {shown(path)} has {len(cells)} cells between "
                f"{SEPARATORS[separator]}, and its first line {width}; accepted: one for each "
                "name (a cell with a separator in it needs quotes)"
            )
    return Rows(separator, found)


class Table:
    """The rows of a .csv file by the names of its columns.

    Attributes:
        path: the file.
        names: of the columns, from its first line.
        separator: between its cells.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.separator, found = rows(path)
        self.names: Sequence[str] = found[0][1] if found else []
        self._rows = found[1:]
        for name in self.names:
            if name and list(self.names).count(name) > 1:
                raise DataError(f"{shown(path)} has two columns {name!r}; accepted: each name once")

    def __iter__(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Number of the line from 1, and cells by name."""
        for line, cells in self._rows:
            yield line, dict(zip(self.names, cells, strict=True))

    def number(self, text: str) -> float:
        """A figure as it is written: `91.4`, `91,4` where commas separate nothing, `91.4 %`.

        Raises:
            ValueError: it is none, or it could be two.
        """
        plain = text.replace("\N{NO-BREAK SPACE}", " ").removesuffix("%").rstrip()
        if "," in plain:
            if self.separator == "," or "." in plain or plain.count(",") > 1:
                raise ValueError(
                    f"{text!r} is not one number beyond doubt: it has a comma; accepted: a number "
                    "with a decimal point"
                )
            plain = plain.replace(",", ".")
        if "_" in plain:  # which Python takes, and nobody means
            raise ValueError(f"{text!r} is no number; accepted: a number with a decimal point")
        try:
            return float(plain)
        except ValueError:
            raise ValueError(
                f"{text!r} is no number; accepted: a number with a decimal point"
            ) from None


def _text(path: Path) -> str:
    """The text of the file: UTF-8, or what its byte order mark says."""
    raw = read_bytes(path, accepted=ACCEPTED, error=DataError)
    marks = [(m, name) for m, name in MARKS if raw.startswith(m)]
    mark, encoding = marks[0] if marks else (b"", "utf-8")
    try:
        text = raw[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"cannot read {shown(path)}: byte {len(mark) + error.start} is no "
            f"{encoding.upper()}; accepted: {ACCEPTED}"
        ) from error
    if "\0" in text:
        raise DataError(
            f"{shown(path)} has null bytes in it, as UTF-16 without a byte order mark has, or a "
            f"spreadsheet's own format; accepted: {ACCEPTED}"
        )
    return text


def _separator(head: str) -> str:
    """The separator of a line of names: what it has most of, outside quotes."""
    outside = "".join(part for i, part in enumerate(head.split('"')) if i % 2 == 0)
    return max(SEPARATORS, key=outside.count)
