"""What data are by their contents: a file's name says nothing of what is in it today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from morphogen.tasks.classification.images import Images
from morphogen.tasks.digests import digest, raw


def of(pool: Images, train_rows: Tensor, valid_rows: Tensor) -> dict[str, Any]:
    """Numbers and digests of images as they were read.

    Returns:
        `images` and `classes`, how many; `shape` of an image; SHA-256 of the `names` of the
        classes, of `labels`, `pixels`, and of `split`, the rows of the two search parts.
    """
    return {
        "images": len(pool),
        "classes": len(pool.classes),
        "shape": list(pool.pixels.shape[1:]),
        "names": digest(name.encode() + b"\0" for name in pool.classes),
        "labels": digest([raw(pool.labels)]),
        "pixels": digest([raw(pool.pixels)]),
        "split": digest([raw(train_rows), b"/", raw(valid_rows)]),
    }


CHANGES = (
    ("images", "{} images then, {} now"),
    ("shape", "images {} then, {} now"),
    ("classes", "{} classes then, {} now"),
    ("names", "other names of classes"),
    ("labels", "other labels"),
    ("pixels", "other pixels"),
    ("split", "other rows in the search parts"),
)


def changed(
    before: Mapping[str, Any], now: Mapping[str, Any], *, resized: bool = False
) -> str | None:
    """What is different in words, the coarsest first; None if nothing is.

    Args:
        before: of `of`.
        now: likewise.
        resized: whether both may be read in other sizes and split otherwise: then shape and split
            do not count, and pixels only where the shape is the same.
    """
    if set(before) != set(now):
        return "data of another kind then"
    for name, words in CHANGES:
        free = name in ("shape", "split") or before["shape"] != now["shape"]
        if resized and name in ("shape", "split", "pixels") and free:
            continue
        if before[name] != now[name]:
            return words.format(before[name], now[name])
    return None
