"""Files that may be anything: opened only if they are regular, read within bounds.

A run directory is handed on, edited, cut short by full disks; what is read back from it is a file
of this much and no more, UTF-8, flat enough to be walked. Everything else is one sentence that
names the file. What the values must be is the other half, in `records`.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pydantic_core
import yaml

from morphogen.core.errors import MorphogenError, RunError
from morphogen.core.names import shown

MEBIBYTE = 2**20

LINE = 64 * MEBIBYTE
"""Bytes of a line that is read; the longest that we write has a hundredth of it."""

DEPTH = 100
"""Lists and mappings in one another in YAML; what we write has five."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def trouble(path: str | os.PathLike[str]) -> str | None:
    """Why there is no file to read at `path`, in a few words; `None` if there is a regular file.

    A pipe or a device would be waited for, or acted upon, if it were opened.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "a link to nothing" if os.path.islink(path) else "no such file"
    except OSError as error:  # a name too long, a folder that may not be entered, a loop of links
        return error.strerror or str(error)
    except ValueError:
        return "a path with a null character"
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no file") + ", not a file"


@contextmanager
def opened(
    path: Path, *, most: int, accepted: str = "a file", error: type[MorphogenError] = RunError
) -> Iterator[BinaryIO]:
    """A regular file of at most `most` bytes, open for reading.

    Failures to open it or to read from it are a sentence.
    """
    wrong = trouble(path)
    if wrong:
        raise error(f"cannot read {shown(path)}: {wrong}; accepted: {accepted}")
    size = path.stat().st_size
    if size > most:
        raise error(
            f"{shown(path)} has {size:,} bytes; accepted: {accepted}, at most {most:,} bytes"
        )
    try:
        with path.open("rb") as file:
            yield file
    except OSError as failure:
        reason = failure.strerror or failure
        raise error(f"cannot read {shown(path)}: {reason}; accepted: {accepted}") from failure


def read_bytes(
    path: Path,
    *,
    most: int = 256 * MEBIBYTE,
    accepted: str = "a file",
    error: type[MorphogenError] = RunError,
) -> bytes:
    """The content of a file of at most `most` bytes.

    Raises:
        MorphogenError: of the class `error`: it is missing, no regular file, or too large.
    """
    with opened(path, most=most, accepted=accepted, error=error) as file:
        # As much as there is: `read(most)` would take that much memory at once.
        return file.read(min(most, os.fstat(file.fileno()).st_size))


def read_text(
    path: Path,
    *,
    most: int = 256 * MEBIBYTE,
    accepted: str = "a file",
    error: type[MorphogenError] = RunError,
) -> str:
    """The same of a text in UTF-8."""
    content = read_bytes(path, most=most, accepted=accepted, error=error)
    try:
        return content.decode()
    except UnicodeDecodeError as failure:
        raise error(
            f"cannot read {shown(path)}: byte {failure.start} is no UTF-8; accepted: {accepted}"
        ) from failure


def read_lines(
    path: Path,
    *,
    most: int = 1024 * MEBIBYTE,
    accepted: str = "a file",
    error: type[MorphogenError] = RunError,
) -> Iterator[bytes]:
    """The lines of such a file, each with its end; one longer than `LINE` comes in pieces."""
    with opened(path, most=most, accepted=accepted, error=error) as file:
        while line := file.readline(LINE):
            yield line


def sha256(path: Path) -> str:
    """Digest of a file; a `RunError` if it cannot be read."""
    found = hashlib.sha256()
    with opened(path, most=2**40, accepted="the file as it was") as file:
        while block := file.read(MEBIBYTE):
            found.update(block)
    return found.hexdigest()


def parse_json(raw: bytes | str) -> Any:
    """JSON as plain values.

    Raises:
        ValueError: it is none, holds NaN or Infinity, or is nested too deeply (200).
    """
    try:
        return pydantic_core.from_json(raw, allow_inf_nan=False)
    except ValueError as failure:
        if "surrogate" not in str(failure):
            raise
    # The path of a file whose name is no UTF-8, as Python writes it, and only Python reads.
    try:
        return json.loads(raw, parse_constant=_no_number)
    except RecursionError as failure:
        raise ValueError("it is nested too deeply") from failure


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def parse_yaml(text: str) -> Any:
    """YAML as plain values.

    Raises:
        ValueError: it is none; has an alias, which could stand for gigabytes; or is nested too
            deeply. The message names the line if it is known.
    """
    if (held := _quickly(text)) is not None:
        return held
    try:
        return _Plain(text).get_single_data()
    except yaml.YAMLError as failure:
        mark = getattr(failure, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(failure, "problem", None) or str(failure).splitlines()[0]
        raise ValueError(where + problem) from failure
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as failure:
        # A date of month 13, a number of five thousand digits: YAML's constructors say it so.
        raise ValueError(str(failure).splitlines()[0] if str(failure) else "no YAML") from failure


def _quickly(text: str) -> Any:
    """As `parse_yaml`, by libyaml, several times quicker; None: it does not take this text.

    Names that are no UTF-8, as Python writes them, for one; and what is wrong PyYAML says better.
    """
    loader = getattr(yaml, "CSafeLoader", None)  # PyYAML may be built without libyaml
    if loader is None:
        return None
    depth = 0
    try:
        for event in yaml.parse(text, Loader=loader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth >= DEPTH or isinstance(event, yaml.AliasEvent):
                return None
        return yaml.load(text, Loader=loader)  # a safe one
    except (yaml.YAMLError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError):
        return None


class _Plain(yaml.SafeLoader):
    """Without aliases, and no deeper than `DEPTH`."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        refused = ""
        if isinstance(event, yaml.AliasEvent):
            refused = "an alias"
        elif self._depth == DEPTH:
            refused = f"more than {DEPTH} lists and mappings in one another"
        if refused:
            raise yaml.composer.ComposerError(problem=refused, problem_mark=event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node
