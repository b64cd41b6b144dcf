"""A folder of images beside a folder of masks, as a whole or in folders of parts.

Four layouts are in use: `images` and `masks`; `images/train` and `masks/train`; `train/images` and
`train/masks`; `train` and `train_masks`. A mask belongs to the image of its name; after that it may
have more, as `0001_mask.png` of `0001.jpg`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from morphogen.core.errors import DataError
from morphogen.tasks.labelled.names import few
from morphogen.tasks.parts import PARTS, part_of
from morphogen.tasks.pictures.decode import header
from morphogen.tasks.pictures.listing import images_in, unread
from morphogen.tasks.pictures.pixels import Changes, said
from morphogen.tasks.pictures.stacking import Side
from morphogen.tasks.segmentation.readers.masks import read_pairs, table_in
from morphogen.tasks.segmentation.scenes import Preview, Scenes, SceneSource

IMAGES = frozenset(
    ("image", "images", "img", "imgs", "jpegimages", "pictures", "photos", "rgb", "inputs")
)
MASKS = frozenset(
    (
        *("mask", "masks", "label", "labels", "annotation", "annotations", "annot", "gt"),
        *("targets", "segmentationclass", "groundtruth", "segmentation", "segmentations"),
    )
)
"""What the two folders are called, in small letters without anything between them."""

_DEEPEST = 4
"""Folders that hold nothing but one folder are passed through so often at most."""

Pair = tuple[Path, Path]
"""The folders of images and of masks."""


def find(path: Path) -> SceneSource | None:
    """The parts in a folder; None if it holds no folder of masks beside one of images.

    Raises:
        OSError: it may not be read.
    """
    for _ in range(_DEEPEST):
        pairs = _pairs(path)
        if pairs:
            break
        inside = _folders(path)
        if len(inside) != 1:
            return None
        path = inside[0]
    else:
        return None
    found = {part: pairs[part] for part in PARTS if part in pairs}
    notes: tuple[str, ...] = ()
    if "valid" in found:
        notes = (f"read as the search-validation part: {str(found['valid'][0])!r}",)
    read, preview = partial(_read, path, found), partial(_preview, found)
    return SceneSource(str(path), tuple(found), read, notes, preview)


def _letters(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalpha())


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _beside(path: Path) -> Pair | None:
    """The folders of images and of masks in a folder."""
    inside = _folders(path)
    images = [p for p in inside if _letters(p.name) in IMAGES]
    masks = [p for p in inside if _letters(p.name) in MASKS]
    return (images[0], masks[0]) if len(images) == len(masks) == 1 else None


def _by_part(path: Path) -> dict[str, Path]:
    return {part: p for p in _folders(path) if (part := part_of(p.name))}


def _pairs(path: Path) -> dict[str, Pair]:
    """The folders of each part; empty if there are no masks."""
    parts = {part: pair for part, p in _by_part(path).items() if (pair := _beside(p))}
    if "train" in parts:  # train/images, train/masks
        return parts
    whole = _beside(path)
    if whole is not None:
        images, masks = map(_by_part, whole)
        if "train" in images and "train" in masks:  # images/train, masks/train
            return {part: (images[part], masks[part]) for part in images if part in masks}
        return {"train": whole}
    named = {_letters(p.name): p for p in _folders(path)}  # train, train_masks
    found = {}
    for part, folder in _by_part(path).items():
        own = [named[n] for m in sorted(MASKS) if (n := _letters(folder.name) + m) in named]
        if len(own) == 1:
            found[part] = folder, own[0]
    return found if "train" in found else {}


def _preview(pairs: dict[str, Pair], part: str) -> Preview:
    """The header of the first image; every image has its mask, by their names."""
    images, masks = pairs[part]
    passed: Counter[str] = Counter()
    files, _ = matched(images_in(images, passed), images, images_in(masks, passed), masks)
    return f"file {str(files[0][0])!r}", header(files[0][0])


def _read(root: Path, pairs: dict[str, Pair], part: str, size: Side | None) -> Scenes:
    images, masks = pairs[part]
    passed: Counter[str] = Counter()
    files, over = matched(images_in(images, passed), images, images_in(masks, passed), masks)
    names = table_in(dict.fromkeys((masks, masks.parent, root)))
    changes = Changes()
    named = ((f"file {str(a)!r}", a, f"mask {str(b)!r}", b) for a, b in files)
    pixels, ids = read_pairs(named, names, size, len(files), changes)
    where = f"the {part} part of {str(root)!r}"
    passed = Counter({kind: n for kind, n in passed.items() if kind not in (".txt", ".csv")})
    notes = [*unread(passed, where), *said(changes, len(files), where)]
    if over:
        notes.append(f"masks of {where} without an image, not read: {over:,}")
    return Scenes(pixels, ids, names.names, tuple(notes))


def matched(
    images: list[Path], root: Path, masks: list[Path], beside: Path
) -> tuple[list[Pair], int]:
    """Each image with its mask, and how many masks are of no image.

    Args:
        images: files.
        root: the folder that they are in, perhaps in folders within.
        masks: files.
        beside: likewise.

    Raises:
        DataError: an image has no mask or several, or there are none.
    """
    if not images:
        raise DataError(f"folder {str(root)!r} holds no images; accepted: images and their masks")
    keys = [_key(mask, beside) for mask in masks]
    exact: dict[str, list[Path]] = {}
    longer: dict[str, list[Path]] = {}
    for key, mask in zip(keys, masks, strict=True):
        exact.setdefault(key, []).append(mask)
        for short in _beginnings(key):
            longer.setdefault(short, []).append(mask)
    found: list[Pair] = []
    for image in images:
        key = _key(image, root)
        own = exact.get(key) or longer.get(key) or []
        if len(own) != 1:
            what = f"has the masks {few(m.name for m in own)}" if own else "has no mask"
            raise DataError(
                f"file {str(image)!r} {what} in {str(beside)!r}; accepted: one mask for each "
                f"image, as {image.stem}.png or {image.stem}_mask.png"
            )
        found.append((image, own[0]))
    return found, len(masks) - len({mask for _, mask in found})


def _key(file: Path, root: Path) -> str:
    return str(file.relative_to(root).with_suffix(""))


def _beginnings(key: str) -> Iterable[str]:
    """What comes before each sign that parts words: `a/1` of `a/1_mask`."""
    start = key.rfind("/") + 1
    return (key[:i] for i in range(start + 1, len(key)) if key[i] in "_-.")
