"""What lies at a path, asked before it is opened: a named pipe would be waited for without end."""

from __future__ import annotations

from pathlib import Path

from morphogen.core.errors import DataError
from morphogen.core.reading import trouble as trouble


def required(path: Path, accepted: str) -> int:
    """The length in bytes of the regular file at `path`.

    Raises:
        DataError: there is none; it says why, and what is `accepted`.
    """
    wrong = trouble(path)
    if wrong:
        raise DataError(f"file {str(path)!r} cannot be read ({wrong}); accepted: {accepted}")
    return path.stat().st_size
