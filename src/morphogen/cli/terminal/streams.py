"""Standard output and error that are closed, full, or whose reader has left: no work ends by it."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

UNWRITTEN = 74
"""Exit code if standard output could not be written (EX_IOERR of sysexits.h)."""


class Kept:
    """A text stream that goes silent when it cannot be written, and remembers why."""

    def __init__(self, stream: TextIO, error: OSError | None = None) -> None:
        self._stream = stream
        self.error = error

    def write(self, text: str) -> int:
        """Write, or do as if."""
        if self.error is None:
            try:
                return self._stream.write(text)
            except OSError as error:
                self._silence(error)
        return len(text)

    def flush(self) -> None:
        """Flush, or do as if."""
        if self.error is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._silence(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _silence(self, error: OSError) -> None:
        """What is still in the buffer, and what libraries and processes write, goes nowhere."""
        self.error = error
        with suppress(OSError, ValueError):  # it may be no file of the system's
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            self._stream.flush()


def opened() -> None:
    """Have 0, 1 and 2 open, so that no other file gets their numbers."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)  # it takes the lowest free number
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)


def keep() -> None:
    """Have `sys.stdout` and `sys.stderr` be `Kept`, and escape what their encoding lacks."""
    from morphogen.core.names import escape_unencodable

    escape_unencodable()
    sys.stdout, sys.stderr = (cast(TextIO, _kept(s)) for s in (sys.stdout, sys.stderr))


@contextmanager
def kept() -> Iterator[None]:
    """`keep` within the context."""
    before = sys.stdout, sys.stderr
    keep()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _kept(stream: TextIO | None) -> Kept:
    if stream is None:  # closed when Python started
        nowhere = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        return Kept(nowhere, OSError(errno.EBADF, "it is closed"))
    return stream if isinstance(stream, Kept) else Kept(stream)


def unwritten() -> OSError | None:
    """Why standard output could not be written; None also if its reader chose to leave."""
    sys.stdout.flush()
    error = getattr(sys.stdout, "error", None)
    return None if error is None or error.errno == errno.EPIPE else error
