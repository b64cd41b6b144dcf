"""Which folders of an unpacked data set are its parts, and which are its classes.

A folder that is named like a part is never a class: it is read as that part, or it is said or
refused. So test images cannot come into a search as one more class.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from morphogen.core.errors import DataError
from morphogen.tasks.labelled.names import few
from morphogen.tasks.parts import PARTS, family, part_of

_LEFT_BEHIND = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")
"""Folders that systems leave, in lower case."""

_DEEPEST = 8
"""Folders that hold nothing but one folder are passed through so often at most."""


@dataclass(frozen=True)
class Layout:
    """Where the parts are.

    Attributes:
        roots: the folder of each part, which holds its class folders.
        notes: what the user should know of it, a sentence each without full stop.
    """

    roots: dict[str, Path]
    notes: tuple[str, ...]


def layout(path: Path) -> Layout | None:
    """The parts in a folder; None if there are no folders in it.

    Raises:
        DataError: it is not clear which are the parts.
    """
    path, inside = unpacked(path)
    folders = subfolders(path)
    if not folders:
        return None
    named = _parts(path, folders)
    others = [folder for folder in folders if folder not in named.values()]
    roots = {part: _root(folder, part) for part, folder in named.items()}
    empty = [part for part, root in roots.items() if not subfolders(root)]
    if "train" in empty or not (others or "train" in roots):
        raise _no_classes(path, named, others)
    notes = []
    if "train" not in roots:  # class folders, and perhaps other parts beside them
        roots["train"], others = path, []
        if inside:
            notes.append(f"the classes are the folders in {str(path)!r}")
        notes += _alike(class_folders(path)) if not named else []
    found = {part: roots[part] for part in PARTS if part in roots and part not in empty}
    for root in found.values():
        if root != path:
            _require_classes(root)
    read = {named[part].name: part for part in PARTS if part in named and part not in empty}
    if inside or "valid" in found or any(name != part for name, part in read.items()):
        listed = few(f"{name!r} as the {_SAID[part]} part" for name, part in read.items())
        notes += [f"read in {str(path)!r}: {listed}"] if read else []
    notes += [
        f"the folder {named[part].name!r} is named like a part and is not read, since it has no "
        "class folders"
        for part in empty
    ]
    if others:
        notes.append(f"not read beside the parts: {few(repr(folder.name) for folder in others)}")
    return Layout(found, tuple(notes))


_SAID = {"train": "train", "valid": "search-validation", "test": "test"}


def _alike(classes: list[Path]) -> list[str]:
    """A sentence if class folders hold the same folders, as parts do that nobody could know."""
    inside = [{folder.name for folder in subfolders(folder)} for folder in classes]
    common = set.intersection(*inside) if len(inside) > 1 else set()
    if len(common) < 2:
        return []
    return [
        f"{few(repr(folder.name) for folder in classes)} are read as classes and all hold the "
        f"folders {few(sorted(common))}: if they are parts, name them train, val and test"
    ]


def unpacked(path: Path) -> tuple[Path, bool]:
    """The folder with more than one folder in it: archives often unpack into one of their own.

    Also whether that is another than the one given.
    """
    top = path
    for _ in range(_DEEPEST):
        folders = subfolders(path)
        if len(folders) != 1 or part_of(folders[0].name) or not subfolders(folders[0]):
            break
        path = folders[0]
    return path, path != top


def subfolders(folder: Path) -> list[Path]:
    """Folders in a folder, sorted, but for hidden ones and those that systems leave behind."""
    return sorted(
        p
        for p in folder.iterdir()
        if p.is_dir() and not p.name.startswith(".") and p.name.lower() not in _LEFT_BEHIND
    )


def class_folders(root: Path) -> list[Path]:
    """The class folders of a part."""
    return [folder for folder in subfolders(root) if not part_of(folder.name)]


def require_no_part(folder: Path, files: Iterable[Path]) -> None:
    """Refuse a class folder in which images lie in a folder that is named like a part.

    Raises:
        DataError: one does.
    """
    for parent in dict.fromkeys(file.parent for file in files):
        for name in parent.relative_to(folder).parts:
            if part_of(name):
                raise DataError(
                    f"class folder {str(folder)!r} holds images in {name!r}, which is the name of "
                    "a part; accepted: folders of parts with class folders in them, and not the "
                    "reverse, or another name"
                )


def _parts(path: Path, folders: list[Path]) -> dict[str, Path]:
    """The folders that are parts, by part."""
    paired = family(folder.name for folder in folders)
    found: dict[str, Path] = {}
    for folder in folders:
        part = part_of(folder.name) or paired.get(folder.name)
        if part is None:
            continue
        if part in found:
            raise DataError(
                f"folder {str(path)!r} holds {found[part].name!r} and {folder.name!r}, both named "
                f"like a {part} part; accepted: one of them (move the other out, or give it "
                "another name)"
            )
        found[part] = folder
    return {part: found[part] for part in PARTS if part in found}


_AROUND = ("images", "image", "imgs", "img", "data", "dataset", "pictures", "photos", "jpg", "png")
"""Names of folders that are put around class folders, in lower case."""


def _root(folder: Path, part: str) -> Path:
    """The folder that holds the class folders of a part: it, or one that is put around them."""
    for _ in range(_DEEPEST):
        inside = subfolders(folder)
        if len(inside) != 1:
            break
        around = inside[0].name.lower() in _AROUND or part_of(inside[0].name) == part
        if not (around and subfolders(inside[0])):
            break
        folder = inside[0]
    return folder


def _require_classes(root: Path) -> None:
    odd = [folder.name for folder in subfolders(root) if part_of(folder.name)]
    if odd:
        raise DataError(
            f"folder {str(root)!r} holds {odd[0]!r} beside its class folders, which is the name of "
            "a part; accepted: parts beside each other, or another name if it is a class"
        )


def _no_classes(path: Path, named: dict[str, Path], others: list[Path]) -> DataError:
    names = few(folder.name for folder in named.values())
    if others:
        return DataError(
            f"folder {str(path)!r} holds {named['train'].name!r}, which is the name of a part and "
            f"has no class folders in it, beside {few(f.name for f in others)}; accepted: class "
            "folders in it, or another name if it is a class"
        )
    return DataError(
        f"folder {str(path)!r} holds {names}, which are names of parts and not of classes; "
        "accepted: train, and val and test if there are any, each with one folder of images per "
        "class"
    )
