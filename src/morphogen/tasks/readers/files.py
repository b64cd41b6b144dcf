"""What lies at a path, asked before it is opened: a named pipe would be waited for without end."""

from __future__ import annotations

import os
from pathlib import Path

from morphogen.core.errors import DataError
from morphogen.core.reading import trouble


def missing(path: str | os.PathLike[str]) -> str | None:
    """Why there is neither a file nor a folder to read at `path`; `None` if there is one."""
    if os.path.isdir(path):
        return None
    wrong = trouble(path)
    return "no such file or folder" if wrong == "no such file" else wrong


def required(path: Path, accepted: str) -> int:
    """The length in bytes of the regular file at `path`.

    Raises:
        DataError: there is none; it says why, and what is `accepted`.
    """
    wrong = trouble(path)
    if wrong:
        raise DataError(f"file {str(path)!r} cannot be read ({wrong}); accepted: {accepted}")
    return path.stat().st_size
