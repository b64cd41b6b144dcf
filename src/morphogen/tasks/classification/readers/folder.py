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
from morphogen.tasks.classification.images import Images, Preview, Source
from morphogen.tasks.classification.readers.layout import class_folders, layout, require_no_part
from morphogen.tasks.labelled.labels import labelled
from morphogen.tasks.pictures.decode import SUFFIXES, decode, header
from morphogen.tasks.pictures.listing import (
    ending,
    images_in,
    listed,
    require_no_broken_link,
    unread,
)
from morphogen.tasks.pictures.pixels import Changes, said, sizes
from morphogen.tasks.pictures.stacking import stacked


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
        (*found.notes, *_beside(path, found.roots)),
        partial(_preview, found.roots),
    )


def _beside(path: Path, roots: dict[str, Path]) -> tuple[str, ...]:
    """A sentence on images that lie beside the folders of parts, if any do."""
    above = {path, *(root.parent for root in roots.values() if root != path)} - {*roots.values()}
    loose: Counter[str] = Counter()
    for folder in above:
        loose += _loose(folder, "parts")
    return unread(loose, repr(str(path)))


def _loose(folder: Path, what: str) -> Counter[str]:
    """Images that lie in a folder of folders, by ending; a link that leads nowhere is an error."""
    found: Counter[str] = Counter()
    for file in sorted(folder.iterdir()):
        if file.name.startswith(".") or file.is_dir():
            continue
        require_no_broken_link(file)
        if file.suffix.lower() in SUFFIXES:
            found[f"{ending(file)} beside the {what}"] += 1
    return found


_FEW = 16
"""Class folders of which the first image's header is read."""


def _preview(roots: dict[str, Path], part: str, open: bool) -> Preview:
    """Names of class folders, and headers of their first images."""
    root = roots[part]
    folders = class_folders(root)
    names = [encodable(folder.name) for folder in folders]
    shapes = []
    for place, folder in enumerate(folders):
        files = _images(folder, Counter()) if open else []
        if files and place < _FEW and (shape := header(files[0])):
            shapes.append((f"file {str(files[0])!r}", shape))
    return Preview(labelled(names, f"the {part} part of {str(root)!r}"), tuple(shapes))


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
    passed += _loose(root, "class folders")
    changes = Changes()
    named = ((f"file {str(file)!r}", file) for file in files)
    decoded = ((w, decode(file, w, changes)) for w, file in named)
    pixels = stacked(decoded, size, len(files), changes)
    where = f"the {part} part of {str(root)!r}"
    notes = (*unread(passed, where), *said(changes, len(files), where))
    names = tuple(encodable(folder.name) for folder in classes)
    return Images(pixels, torch.tensor(labels), names, notes=notes, was=sizes(changes))
