"""A folder of images with one sub-folder per class, optionally under `train/` and `test/`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from morphogen.core.errors import DataError
from morphogen.tasks.images import PARTS, Images, Source, stacked
from morphogen.tasks.readers.decode import SUFFIXES, decode


def find(path: Path) -> Source | None:
    """A folder with class folders in it, or in its `train` and `test` folders."""
    if not path.is_dir():
        return None
    if (path / "train").is_dir() and _classes(path / "train"):
        roots = {part: path / part for part in PARTS if (path / part).is_dir()}
    elif _classes(path):
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
    for label, folder in enumerate(classes):
        inside = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        if not inside:
            raise DataError(
                f"class folder {str(folder)!r} holds no images; accepted: files ending in "
                f"{', '.join(SUFFIXES)}; fill or remove the folder"
            )
        files += inside
        labels += [label] * len(inside)
    if not files:
        raise DataError(f"folder {str(root)!r} has no class folders; accepted: one per class")
    pixels = stacked(((f"file {str(f)!r}", decode(f, f"file {str(f)!r}")) for f in files), size)
    return Images(pixels, torch.tensor(labels), tuple(folder.name for folder in classes))
