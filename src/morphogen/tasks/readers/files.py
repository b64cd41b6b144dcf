"""What lies at a path, asked before it is opened: a named pipe would be waited for without end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from morphogen.core.errors import DataError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def trouble(path: str | os.PathLike[str]) -> str | None:
    """Why there is no file to read at `path`, in a few words; `None` if there is a regular file."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "a link to nothing" if os.path.islink(path) else "no such file"
    except OSError as error:  # a name too long, a folder that may not be entered, a loop of links
        return error.strerror or str(error)
    except ValueError:
        return "a path with a null character"
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no file") + ", not a file"


def required(path: Path, accepted: str) -> int:
    """The length in bytes of the regular file at `path`.

    Raises:
        DataError: there is none; it says why, and what is `accepted`.
    """
    wrong = trouble(path)
    if wrong:
        raise DataError(f"file {str(path)!r} cannot be read ({wrong}); accepted: {accepted}")
    return path.stat().st_size
