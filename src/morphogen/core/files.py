"""Files that are written whole or not at all, and by one process at a time.

No torch: what only reads a run starts at once.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from morphogen.core.errors import RunError
from morphogen.core.names import shown
from morphogen.core.reading import trouble

_NUMBERS = itertools.count()

_FRESH = re.compile(r"^\..*\.(\d+)\.\d+\.new(\.\w+)?$")
"""Names that `fresh` gives: which process wrote it."""


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


Content = str | bytes | Iterable[bytes]
"""Of a file; text is written in UTF-8."""


@contextmanager
def fresh(path: Path, content: Content) -> Iterator[Path]:
    """`content` in a file beside `path`, which gets that name if the context ends well.

    Whoever reads `path` sees the old file or the new one, whole. Each process, and each call,
    writes to a name of its own.

    Raises:
        RunError: it cannot be written; then it is as it was.
    """
    target = Path(os.path.realpath(path))  # a link goes on being one
    name = f".{target.stem[:40]}.{os.getpid()}.{next(_NUMBERS)}.new{target.suffix}"
    beside = target.with_name(name)
    try:
        with writing(path):
            _write_new(beside, _parts(content))
        yield beside
        with writing(path):
            with suppress(OSError):  # there was none
                os.chmod(beside, stat.S_IMODE(target.stat().st_mode))
            os.replace(beside, target)
            sync_directory(target.parent)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def write_anew(path: Path, content: Content) -> None:
    """Replace a file, or leave what was there: a `RunError` if it cannot be written.

    What is there and is no file stays: a pipe would be waited for, a device would swallow it.
    """
    if path.exists():
        wrong = trouble(path)
        if wrong:
            raise RunError(
                f"cannot write {shown(path)}: {wrong}; accepted: a file, or nothing there"
            )
    with fresh(path, content):
        pass


@contextmanager
def nameable(path: Path) -> Iterator[str]:
    """A name of a file that is there, for libraries that take no name but in UTF-8."""
    name = os.fspath(path)
    try:
        name.encode()
    except UnicodeEncodeError:  # only Linux has such names
        handle = os.open(path, os.O_RDONLY)
        try:
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
    else:
        yield name


def link_anew(path: Path, source: Path) -> None:
    """Have `path` be what `source` is, which stays; where there are no links, `source` moves."""
    beside = path.with_name(f".{path.stem}.{os.getpid()}.{next(_NUMBERS)}.new{path.suffix}")
    with writing(path):
        try:
            os.link(source, beside)
        except OSError:
            os.replace(source, path)
            return
        try:
            os.replace(beside, path)
        finally:
            with suppress(OSError):  # which stays if `path` was the same file already
                beside.unlink(missing_ok=True)


def _parts(content: Content) -> Iterable[bytes]:
    if isinstance(content, str):
        return [content.encode()]
    return [content] if isinstance(content, bytes) else content


def _write_new(path: Path, parts: Iterable[bytes]) -> None:
    with path.open("xb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())


def append_lines(path: Path, text: str, *, sync: bool = True) -> None:
    """Add whole lines to a text file; a `RunError` if that fails, and then none of them is there.

    A line that a crash has cut short stays one by itself, for its reader to leave out.

    Args:
        path: made if it is not there.
        text: ends with a line break.
        sync: have them on the disk at once.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b", buffering=0) as file:
            body = text.encode()
            length = file.seek(0, os.SEEK_END)
            if length:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    body = b"\n" + body
            try:
                left = memoryview(body)
                while left:
                    left = left[file.write(left) :]
                if sync:
                    os.fsync(file.fileno())
            except BaseException:
                with suppress(OSError):
                    file.truncate(length)
                raise


def sync_directory(path: Path) -> None:
    """Have the names of files in `path` on the disk, too."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:
        return  # a folder that may be written and not read
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what processes that were killed have left of files half written."""
    with suppress(OSError):
        for name in os.listdir(folder):
            match = _FRESH.match(name)
            if match and not _alive(int(match[1])):
                with suppress(OSError):
                    os.unlink(folder / name)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def made(folder: Path) -> Iterator[list[Path]]:
    """Make a folder, and those above it; what of them is empty at the end goes again.

    So a request that is refused leaves nothing behind, and takes nothing that was there.

    Yields:
        Those that this call has made, and nobody else.

    Raises:
        RunError: it cannot be made.
    """
    new: list[Path] = []
    try:
        with writing(folder):
            _make(folder, new)
        yield new
    finally:
        for each in reversed(new):
            with suppress(OSError):  # which removes it only if nothing is in it
                each.rmdir()


def _make(folder: Path, new: list[Path]) -> None:
    for _ in range(100):  # somebody else may just remove what is empty
        missing = []
        at = folder
        while not os.path.lexists(at) and at != at.parent:
            missing.append(at)
            at = at.parent
        try:
            for each in reversed(missing):
                with suppress(FileExistsError):
                    each.mkdir()
                    new.append(each)
            break
        except FileNotFoundError:
            continue
    folder.mkdir(exist_ok=True)  # says what is wrong, if it is no folder


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep other processes that ask for the same from working on a file or a folder.

    A process that dies lets go by itself. A file that is not there is made, and removed again if
    nothing is in it at the end.

    Raises:
        RunError: another process does, or it cannot be opened.
    """
    with writing(path):
        there = path.exists()
        handle = os.open(path, os.O_RDONLY | (0 if there else os.O_CREAT))
    try:
        lock(handle, path)
        yield
    finally:
        if not there:
            with suppress(OSError):
                if not os.fstat(handle).st_size and stat.S_ISREG(os.fstat(handle).st_mode):
                    path.unlink()
        os.close(handle)


@contextmanager
def recording(record: Path | None) -> Iterator[None]:
    """`alone` with a record that is added to, in a folder that is made; nothing without one."""
    if record is None:
        yield
        return
    wrong = trouble(record) if os.path.lexists(record) else None
    if wrong:  # a named pipe would be waited for
        raise RunError(f"cannot use {shown(record)}: {wrong}; accepted: a file, or a new name")
    with made(record.parent), alone(record):
        yield


def lock(handle: int, path: Path) -> None:
    """Take the lock of an open file or folder `path`, until it is closed.

    Raises:
        RunError: another process has it.
    """
    mode = os.fstat(handle).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return  # a device is no record of anybody's
    for attempt in range(10):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if attempt == 9:
                raise RunError(
                    f"another process works on {path}; accepted: one that nobody is working on"
                ) from error
            time.sleep(0.02)  # who only looks whether somebody does, holds it for a moment
        except OSError:
            return  # a file system without locks
