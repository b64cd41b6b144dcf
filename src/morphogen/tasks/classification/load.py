"""From what the user types to images: names, paths, `name:path`."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from morphogen.core.errors import DataError, UnknownNameError
from morphogen.core.names import brief
from morphogen.tasks.classification.images import Images, Source
from morphogen.tasks.classification.readers import (
    arrays,
    cifar,
    embedded,
    folder,
    hub,
    idx,
    listed,
    parquet,
)
from morphogen.tasks.labelled.names import numbered, spelled
from morphogen.tasks.readers.files import missing

EMBEDDED = "fashion-mnist"
"""The name of the data set that ships with the package."""

STANDARD: dict[str, tuple[int, tuple[str, ...] | None]] = {
    EMBEDDED: (10, embedded.FASHION_CLASSES),
    "cifar10": (10, cifar.CIFAR10_CLASSES),
    "cifar100": (100, None),
}
"""Data sets whose number of classes is known, and mostly their names, for `name:path`."""

_FILES = (parquet.find, arrays.find, listed.find)
# The image folder comes last: any folder with folders in it looks like one.
_FOLDERS = (cifar.find, idx.find, parquet.find, listed.find, folder.find)

_ACCEPTED = (
    "a parquet file, an .npz file, a .csv file of images and labels, or a folder with "
    "train-*.parquet and test-*.parquet, with CIFAR's or Fashion-MNIST's own files, with one "
    "folder of images per class, or with images and a .csv file; or hf:NAME"
)


def locate(spec: str | os.PathLike[str]) -> Source:
    """Find a data set without reading its images.

    Args:
        spec: `fashion-mnist` for the embedded images; a path to a parquet or .npz file or to a
            folder in any of the layouts of `readers`; or `NAME:PATH` to say that the data at a
            path are a standard set, which names their classes: `cifar10`, `cifar100`,
            `fashion-mnist`; or `hf:NAME`, see `readers.hub`.

    Raises:
        ConfigError: `hf:` without the library `datasets`.
        DataError: there is no such path, or nothing at it that can be read.
        UnknownNameError: a bare word that is neither a name nor a path.
    """
    text = os.fspath(spec)
    if text == EMBEDDED:
        return embedded.fashion()
    named = hub.find(text)
    if named is not None:
        return named
    name, colon, rest = text.partition(":")
    if colon and name in STANDARD:
        return _standard(text, name, rest)
    if text in STANDARD:
        raise DataError(
            f"data {text!r} is not shipped with morphogen; accepted: {text}:PATH with the folder "
            "or parquet file that holds it"
        )
    wrong = missing(text)
    if wrong:
        if text and not os.path.lexists(text) and not set(text) & {"/", "\\", ".", ":"}:
            known = [EMBEDDED, *(f"{n}:PATH" for n in STANDARD), "hf:NAME", "PATH"]
            raise UnknownNameError("data set (and no such path)", text, known)
        raise DataError(
            f"data {brief(text)}: {wrong}; accepted: {EMBEDDED}, or the path of {_ACCEPTED}"
        )
    return _at(text, Path(text))


def load(spec: str | os.PathLike[str], part: str = "train", size: int | None = None) -> Images:
    """Read one part of a data set.

    Args:
        spec: see `locate`.
        part: `train` or `test`.
        size: resize to `size` x `size` pixels; needed for images that are not square.

    Raises:
        DataError: the data are missing, corrupt, or no classification data.
    """
    return locate(spec).read(part, size)


def _at(text: str, path: Path) -> Source:
    # Asked here, since else a file that is only sought in it would be named.
    if path.is_dir() and not os.access(path, os.R_OK | os.X_OK):
        raise DataError(
            f"data {brief(text)} is a folder that may not be entered; accepted: a folder with the "
            "rights to read and to enter it"
        )
    try:
        for find in _FOLDERS if path.is_dir() else _FILES:
            source = find(path)
            if source is not None:
                return replace(source, name=text)
    except OSError as error:
        at = f" at {brief(os.fspath(error.filename))}" if error.filename else ""
        raise DataError(
            f"data {brief(text)} cannot be read ({error.strerror}{at}); accepted: {_ACCEPTED}"
        ) from error
    what = "a folder" if path.is_dir() else "a file"
    state = "that is empty" if path.is_dir() and not any(path.iterdir()) else "of no known layout"
    raise DataError(f"data {text!r} is {what} {state}; accepted: {_ACCEPTED}")


def _standard(text: str, name: str, path: str) -> Source:
    wrong = missing(path)
    if wrong:
        raise DataError(
            f"data {brief(text)}: {wrong} at {brief(path)}; accepted: {name}: followed by the "
            f"path of {_ACCEPTED}"
        )
    source = _at(text, Path(path))
    # A preview would see the classes as the files name them.
    return replace(source, reader=partial(_named, source, name), preview=None)


def _named(source: Source, name: str, part: str, size: int | None) -> Images:
    """The images of a standard set, with its class names where its files have numbers."""
    images = source.reader(part, size)
    count, known = STANDARD[name]
    own = images.classes
    if all(n.isdecimal() for n in own):  # indexes, or folders named by them
        found = [int(n) if int(n) < count else -1 for n in own]
    elif len(own) == count:  # as these files spell them
        return images
    else:
        keys = [spelled(n) for n in known or ()]
        found = [keys.index(spelled(n)) if spelled(n) in keys else -1 for n in own]
    strange = [own[i] for i in torch.unique(images.labels).tolist() if found[i] < 0]
    if strange:
        raise DataError(
            f"data {source.name!r} has {len(own)} classes, {strange[0]!r} among them; accepted: "
            f"the {count} classes of {name}"
        )
    classes = known or numbered(count)
    labels = torch.tensor(found)[images.labels]
    return replace(images, labels=labels, classes=classes, named=known is not None)
