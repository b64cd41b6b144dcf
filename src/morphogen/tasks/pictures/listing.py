"""Which files of a folder are images, and which are passed over: every file is one or the other.

Nothing is left out in silence. What lies there and cannot be read is an error; what is no image by
its ending is counted, to be said; only what no user put there on purpose (hidden files, thumbnail
databases) goes without a word.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from morphogen.core.errors import DataError
from morphogen.core.reading import trouble
from morphogen.tasks.labelled.names import few
from morphogen.tasks.pictures.decode import SUFFIXES

_SYSTEM = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")
"""What Windows and macOS leave in folders, in lower case; macOS' other files are hidden."""

_LOOP = "that link to a folder above"
_ENDING = re.compile(r"\.[a-z0-9_-]{1,12}", re.ASCII)


Refuse = Callable[[Path, DataError], None]
"""Called with what cannot be read, and why; raises, or lets the listing go on."""


def _raise(path: Path, error: DataError) -> None:
    raise error


def images_in(folder: Path, passed: Counter[str], refuse: Refuse = _raise) -> list[Path]:
    """The image files of a folder and the folders within it, in a fixed order.

    Links are followed. Hidden files and folders are passed over.

    Args:
        folder: of one class.
        passed: files that are not read are counted here by their ending.
        refuse: called if a folder may not be entered, or what is called an image is no file.

    Raises:
        DataError: that is so, unless `refuse` lets it pass.
    """
    found = []
    for path in _files(folder, passed, refuse):
        if path.suffix.lower() in SUFFIXES:
            wrong = trouble(path)
            if wrong:
                text = f"file {str(path)!r} cannot be read ({wrong}); accepted: image files"
                refuse(path, DataError(f"{text}; restore or remove it"))
                continue
            found.append(path)
        elif path.name.lower() not in _SYSTEM:
            passed[ending(path)] += 1
    return sorted(found)


def ending(path: Path) -> str:
    """The ending of a file's name if it is one that can be printed."""
    suffix = path.suffix.lower()
    if _ENDING.fullmatch(suffix):
        return suffix
    return "other" if suffix else "without an ending"


def unread(passed: Counter[str], where: str) -> tuple[str, ...]:
    """Sentences on what was passed over, without their full stops; none if nothing was."""
    kinds = passed.copy()
    loops = kinds.pop(_LOOP, 0)
    said = []
    if kinds:
        total = sum(kinds.values())
        said.append(f"files of {where} that are not read: {total:,} ({listed(kinds)})")
    if loops:
        said.append(f"links of {where} to a folder above them, which are not followed: {loops:,}")
    return tuple(said)


def listed(kinds: Counter[str]) -> str:
    """The numbers of files of each kind, the commonest first."""
    order = sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0]))
    return few(f"{count:,} {kind}" for kind, count in order)


def _files(top: Path, passed: Counter[str], refuse: Refuse) -> Iterator[Path]:
    """Files in `top` and deeper that are not hidden."""
    parents = {*top.absolute().parents, *top.resolve().parents}
    waiting = [(top, frozenset(_identity(parent) for parent in parents))]
    while waiting:
        folder, above = waiting.pop()
        try:
            here = _identity(folder)
            entries = list(os.scandir(folder))
        except OSError as error:
            text = f"folder {str(folder)!r} cannot be read ({error.strerror}); accepted: folders"
            refuse(
                folder,
                DataError(f"{text} that may be entered; give the right to read it, or remove it"),
            )
            continue
        if here in above:  # a link back: what is there is read already, or is of other classes
            passed[_LOOP] += 1
            continue
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith("."):
                continue
            if os.path.isdir(path):
                waiting.append((path, above | {here}))
                continue
            try:
                require_no_broken_link(path)
            except DataError as error:
                refuse(path, error)
            else:
                yield path


def require_no_broken_link(path: Path) -> None:
    """Refuse a link that leads nowhere: what the user put there is missing.

    Raises:
        DataError: `path` is one.
    """
    if not os.path.exists(path):
        raise DataError(
            f"{str(path)!r} cannot be read ({trouble(path)}); accepted: files and folders; restore "
            "or remove it"
        )


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
