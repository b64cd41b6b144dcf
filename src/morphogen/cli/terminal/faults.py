"""The last resort: what nobody foresaw becomes one sentence, and its detail goes to a file."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import tempfile
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from morphogen.core import MorphogenError, OutOfMemoryError, memory

FILE = "fault.txt"
"""In a run directory."""

LENGTH = 200
"""Letters of a message that are shown."""


class Fault(MorphogenError):
    """An exception that nobody foresaw."""

    exit_code = 70


def named(error: Exception) -> MorphogenError | None:
    """What a known exception of a library means to the user; None if it is not known."""
    if memory.ran_out(error):
        return OutOfMemoryError(
            f"{memory.said(error)}; accepted: a smaller request, or more memory"
        )
    return None


def as_error(error: Exception, run: Path | None = None) -> MorphogenError:
    """The sentence on an exception that is none of ours.

    Args:
        error: it.
        run: the run directory it happened in, where its detail goes; else to a temporary file.
    """
    if isinstance(error, MorphogenError):
        return error
    known = named(error)
    if known is not None:
        return known
    detail = "".join(traceback.format_exception(error))
    if os.environ.get("MORPHOGEN_DEBUG"):
        print(detail, file=sys.stderr)
    where = _write(detail, run)
    said = f"unexpected {type(error).__name__}: {_short(error)}"
    return Fault(
        f"{said}; that is a fault of morphogen, or of code that it was given; "
        + (f"the detail is in {where}" if where else "MORPHOGEN_DEBUG=1 shows the detail")
    )


def _short(error: Exception) -> str:
    """The line of the message that says most: the last one if it is a traceback of its own."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return "no message"
    line = lines[-1] if any(line.startswith("Traceback (") for line in lines) else lines[0]
    plain = "".join(c if c.isprintable() else " " for c in line).rstrip(".;")
    return plain if len(plain) <= LENGTH else plain[:LENGTH] + "..."


def _write(detail: str, run: Path | None) -> Path | None:
    from morphogen import __version__

    head = (
        f"{datetime.now(UTC).isoformat(timespec='seconds')} morphogen {__version__}, "
        f"Python {platform.python_version()}, {platform.platform()}\n"
        f"{shlex.join(['morphogen', *sys.argv[1:]])}\n"
    )
    with suppress(OSError):
        if run is not None and (run / "config.yaml").exists():
            with (run / FILE).open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{head}{detail}\n")
            return run / FILE
    with suppress(OSError):
        handle, name = tempfile.mkstemp(prefix="morphogen-fault-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{head}{detail}\n")
        return Path(name)
    return None
