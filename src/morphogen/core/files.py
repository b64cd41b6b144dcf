"""Files that are written whole or not at all. No torch: what only reads a run starts at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from morphogen.core.errors import RunError


def previous(path: Path) -> Path:
    """Where the checkpoint before the last one is kept."""
    return path.with_suffix(".previous")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write `path` into a `RunError` that says what is not lost."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot write {path}: {error.strerror or error}; what was written before is intact"
        ) from error


def write_whole(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file and have it on the disk; if that fails, it is gone rather than half there."""
    try:
        with path.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise


@contextmanager
def fresh(path: Path, content: bytes) -> Iterator[Path]:
    """`content` in a file beside `path`, which gets that name if the context ends well.

    Until then, and if it does not, what was at `path` before stays.

    Raises:
        RunError: it cannot be written.
    """
    beside = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        with writing(path):
            write_whole(beside, [content])
        yield beside
        with writing(path):
            beside.replace(path)
            sync_directory(path.parent)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def write_anew(path: Path, content: bytes) -> None:
    """Replace a file, or leave what was there: a `RunError` if it cannot be written."""
    with fresh(path, content):
        pass


def append_lines(path: Path, text: str) -> None:
    """Add whole lines to a text file and have them on the disk; a `RunError` if that fails.

    A line that a crash has cut short stays one by itself, for its reader to leave out.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Have the names of files in `path` on the disk, too."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
