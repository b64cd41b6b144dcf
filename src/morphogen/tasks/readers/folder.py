"""A folder of images with one sub-folder per class, optionally in folders of parts.

Images may lie deeper in a class folder. Hidden files and folders (a name that begins with a dot:
what editors, macOS and version control leave behind) are passed over.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import torch

from morphogen.core.errors import DataError
from morphogen.core.names import encodable
from morphogen.tasks.images import Glance, Images, Source, stacked
from morphogen.tasks.labels import labelled
from morphogen.tasks.readers.decode import SUFFIXES, decode, header
from morphogen.tasks.readers.layout import class_folders, layout, require_no_part
from morphogen.tasks.readers.listing import (
    ending,
    images_in,
    listed,
    require_no_broken_link,
    unread,
)
from morphogen.tasks.readers.pixels import Changes, said


def find(path: Path) -> Source | None:
    """A folder with class folders in it, or in the folders of its parts; see `layout`."""
    if not path.is_dir():
        return None
    found = layout(path)
    if found is None:
        return None
    return Source(
        str(path),
        tuple(found.roots),
        partial(_read, found.roots),
        found.notes,
        partial(_glance, found.roots),
    )


_FEW = 16
"""Class folders of which the first image's header is read."""


def _glance(roots: dict[str, Path], part: str, open: bool) -> Glance:
    """Names of class folders, and headers of their first images."""
    root = roots[part]
    folders = class_folders(root)
    names = [encodable(folder.name) for folder in folders]
    shapes = []
    for place, folder in enumerate(folders):
        files = _images(folder, Counter()) if open else []
        if files and place < _FEW and (shape := header(files[0])):
            shapes.append((f"file {str(files[0])!r}", shape))
    return Glance(labelled(names, f"the {part} part of {str(root)!r}"), tuple(shapes))


def _images(folder: Path, passed: Counter[str]) -> list[Path]:
    """The image files of a class; what else lies there is counted in `passed`."""
    inside = images_in(folder, passed)
    if not inside:
        others = listed(passed)
        raise DataError(
            f"class folder {str(folder)!r} holds no images{others and f' but {others}'}; "
            f"accepted: files ending in {', '.join(SUFFIXES)}; fill or remove the folder"
        )
    require_no_part(folder, inside)
    return inside


def _read(roots: dict[str, Path], part: str, size: int | None) -> Images:
    root = roots[part]
    files: list[Path] = []
    labels: list[int] = []
    classes = class_folders(root)
    passed: Counter[str] = Counter()
    for label, folder in enumerate(classes):
        here: Counter[str] = Counter()
        inside = _images(folder, here)
        passed += here
        files += inside
        labels += [label] * len(inside)
    if not files:
        raise DataError(f"folder {str(root)!r} has no class folders; accepted: one per class")
    for path in sorted(root.iterdir()):
        if path.name.startswith(".") or path.is_dir():
            continue
        require_no_broken_link(path)
        if path.suffix.lower() in SUFFIXES:
            passed[f"{ending(path)} beside the class folders"] += 1
    changes = Changes()
    named = ((f"file {str(file)!r}", file) for file in files)
    pixels = stacked(((w, decode(file, w, changes)) for w, file in named), size, len(files))
    where = f"the {part} part of {str(root)!r}"
    notes = (*unread(passed, where), *said(changes, len(files), where))
    names = tuple(encodable(folder.name) for folder in classes)
    return Images(pixels, torch.tensor(labels), names, notes=notes)
