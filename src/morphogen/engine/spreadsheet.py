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

from morphogen.core import DataError
from morphogen.core.names import shown
from morphogen.core.reading import read_bytes

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order mark -> encoding."""

ACCEPTED = "a .csv file in UTF-8 with a line of names, then a row a line"


class Table:
    """The rows of a .csv file, with their line numbers.

    Attributes:
        path: the file.
        names: of the columns, from its first line, without space around them.
        separator: between its cells.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        text = _text(path)
        head = next((line for line in text.splitlines() if line.strip()), "")
        said = head.strip().removeprefix("sep=")  # a line by which a spreadsheet says it
        if head.startswith("sep=") and said in SEPARATORS:
            self.separator = said
            text = text[text.index(head) + len(head) :]
        else:
            self.separator = _separator(head)
        self._reader = csv.reader(io.StringIO(text, newline=""), delimiter=self.separator)
        names = next((cells for _, cells in self._cells()), [])
        self.names: Sequence[str] = [name.strip() for name in names]
        for name in self.names:
            if name and list(self.names).count(name) > 1:
                raise DataError(f"{shown(path)} has two columns {name!r}; accepted: each name once")

    def __iter__(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Number of the line from 1, and cells by name; lines without any text are left out.

        Raises:
            DataError: a row has more or fewer cells than there are names.
        """
        for line, cells in self._cells():
            while len(cells) > len(self.names) and not cells[-1].strip():
                cells = cells[:-1]  # empty columns at the right, which spreadsheets leave
            if len(cells) != len(self.names):
                raise DataError(
                    f"line {line} of {shown(self.path)} has {len(cells)} cells between "
                    f"{SEPARATORS[self.separator]}, and its first line {len(self.names)}; "
                    "accepted: one for each name (a cell with a separator in it needs quotes)"
                )
            yield line, {n: c.strip() for n, c in zip(self.names, cells, strict=True)}

    def _cells(self) -> Iterator[tuple[int, list[str]]]:
        try:
            for cells in self._reader:
                if any(cell.strip() for cell in cells):
                    yield self._reader.line_num, cells
        except csv.Error as error:
            raise DataError(
                f"line {self._reader.line_num} of {shown(self.path)}: {error}; accepted: {ACCEPTED}"
            ) from error

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
    """The separator of a line of names: a comma, unless it has none and another."""
    outside = "".join(part for i, part in enumerate(head.split('"')) if i % 2 == 0)
    found = [s for s in SEPARATORS if s in outside]
    return found[0] if found else ","
