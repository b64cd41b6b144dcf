"""A folder of images with one sub-folder per class, optionally under `train/` and `test/`.

Images may lie deeper in a class folder. Hidden files and folders (a name that begins with a dot:
what editors, macOS and version control leave behind) are passed over.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import torch

from morphogen.core.errors import DataError
from morphogen.tasks.images import PARTS, Images, Source, stacked
from morphogen.tasks.names import few
from morphogen.tasks.readers.decode import SUFFIXES, decode
from morphogen.tasks.readers.listing import ending, images_in, unread
from morphogen.tasks.readers.pixels import Changes, said

PART_NAMES = (*PARTS, "training", "testing", "val", "valid", "validation")
"""Names of parts in use, in lower case: folders all called so are no classes."""


def find(path: Path) -> Source | None:
    """A folder with class folders in it, or in its `train` and `test` folders."""
    if not path.is_dir():
        return None
    if (path / "train").is_dir() and _classes(path / "train"):
        roots = {part: path / part for part in PARTS if (path / part).is_dir()}
    elif classes := _classes(path):
        if all(p.name.lower() in PART_NAMES for p in classes):
            raise DataError(
                f"folder {str(path)!r} holds {few(p.name for p in classes)}, which are names of "
                "parts and not of classes; accepted: train, and test if there is one, each with "
                "one folder of images per class"
            )
        roots = {"train": path}
    else:
        return None
    return Source(str(path), tuple(roots), partial(_read, roots))


def _classes(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _read(roots: dict[str, Path], part: str, size: int | None) -> Images:
    root = roots[part]
    files: list[Path] = []
    labels: list[int] = []
    classes = _classes(root)
    passed: Counter[str] = Counter()
    for label, folder in enumerate(classes):
        here: Counter[str] = Counter()
        inside = images_in(folder, here)
        if not inside:
            others = few(f"{count:,} {what}" for what, count in here.most_common())
            raise DataError(
                f"class folder {str(folder)!r} holds no images{others and f' but {others}'}; "
                f"accepted: files ending in {', '.join(SUFFIXES)}; fill or remove the folder"
            )
        passed += here
        files += inside
        labels += [label] * len(inside)
    if not files:
        raise DataError(f"folder {str(root)!r} has no class folders; accepted: one per class")
    for path in root.iterdir():
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith("."):
            passed[f"{ending(path)} beside the class folders"] += 1
    changes = Changes()
    named = ((f"file {str(file)!r}", file) for file in files)
    pixels = stacked(((w, decode(file, w, changes)) for w, file in named), size, len(files))
    where = f"the {part} part of {str(root)!r}"
    notes = (*unread(passed, where), *said(changes, len(files), where))
    names = tuple(folder.name for folder in classes)
    return Images(pixels, torch.tensor(labels), names, notes=notes)
