"""Which arrays of an .npz file are examples, labels, groups and class names, by their names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from morphogen.core.errors import DataError
from morphogen.tasks.labelled.groups import Groups, group_names
from morphogen.tasks.labelled.names import few
from morphogen.tasks.parts import PARTS, WORDS
from morphogen.tasks.readers import npz

IMAGES = "images?|imgs?|pixels?|pictures?"
SIGNALS = "signals?|(?:time)?series|waveforms?"
"""What arrays are called that say what they hold."""
EXAMPLES = f"x|{IMAGES}|{SIGNALS}|data|inputs?|features"
"""What arrays of examples are called."""
_KINDS = (
    EXAMPLES,
    "y|labels?|lbls?|targets?|classids?",
    "groups?",
)
_WORDS = ("images or signals", "labels", "groups")
_PARTS = {**WORDS, "train": f"{WORDS['train']}|tr", "test": f"{WORDS['test']}|te"}
_CLASSES = ("classes", "classnames", "labelnames", "targetnames")


@dataclass(frozen=True)
class Arrays:
    """The names of the arrays of one part."""

    x: str
    y: str
    groups: str | None = None


@dataclass(frozen=True)
class Archive:
    """The arrays of an .npz file by what they are."""

    path: Path
    parts: dict[str, Arrays]
    """Of each part that has examples and labels; a name without part is train."""
    classes: str | None
    """Of the names of classes."""
    notes: tuple[str, ...]
    """What a user should know of what was found."""

    def where(self, part: str) -> str:
        """What a message calls a part."""
        return f"the {part} part of {str(self.path)!r}"

    def class_names(self) -> tuple[str, ...] | None:
        """What the array of class names holds, if the file has one."""
        if self.classes is None:
            return None
        array = npz.read(self.path, self.classes)
        if array.ndim != 1:
            raise DataError(
                f"file {str(self.path)!r} has class names of shape {list(array.shape)}; accepted: "
                "one name per class"
            )
        if array.dtype.kind == "S":
            array = np.char.decode(array, "utf-8", "replace")
        return tuple(str(name) for name in array)

    def groups(self, part: str, count: int) -> Groups | None:
        """The groups of a part's rows, if the file has them."""
        name = self.parts[part].groups
        if name is None:
            return None
        return group_names(npz.read(self.path, name), count, self.where(part))


def opened(path: Path) -> Archive:
    """The arrays of an .npz file, found by their names; none of them is read.

    Raises:
        DataError: the file is damaged, has no examples with labels, or several arrays of one kind.
    """
    names = npz.names_in(path)
    found = _found(path, names)
    parts = {
        part: Arrays(found[part, 0], found[part, 1], found.get((part, 2)))
        for part in PARTS
        if (part, 0) in found and (part, 1) in found
    }
    if "train" not in parts:
        raise DataError(
            f"file {str(path)!r} holds {few(names) or 'no arrays'}; accepted: arrays x and y, or "
            "x_train, y_train, x_test and y_test; images or signals and labels, data and target "
            "do as well"
        )
    classes = [name for name in names if letters(name) in _CLASSES]
    if len(classes) > 1:
        raise DataError(
            f"file {str(path)!r} names classes in {few(classes)}; accepted: one array of names"
        )
    used = {*classes, *(name for a in parts.values() for name in (a.x, a.y, a.groups))}
    rest = [name for name in names if name not in used]
    notes = [f"arrays of {str(path)!r} that are not read: {few(rest)}"] if rest else []
    if "valid" in parts:
        pair = few((parts["valid"].x, parts["valid"].y))
        notes.insert(0, f"read as the search-validation part: {pair}")
    return Archive(path, parts, classes[0] if classes else None, tuple(notes))


def letters(name: str) -> str:
    """The letters of a name, in lower case."""
    return "".join(c for c in name.lower() if c.isalpha())


def says(name: str, called: str) -> bool:
    """Whether a name, that of a part left out, is one of `called` (`IMAGES`, `SIGNALS`)."""
    words = "|".join(_PARTS.values())
    return bool(re.fullmatch(f"(?:{words})?(?:{called})(?:{words})?", letters(name)))


def _found(path: Path, names: list[str]) -> dict[tuple[str, int], str]:
    """(part, place in `_KINDS`) -> the array that is named like it."""
    found: dict[tuple[str, int], list[str]] = {}
    for name in names:
        for key in _meant(letters(name)):
            found.setdefault(key, []).append(name)
    chosen: dict[tuple[str, int], str] = {}
    for (part, kind), several in found.items():
        # `x` and `y` go before whatever lies beside them.
        usual = [name for name in several if letters(name).startswith("xyg"[kind])]
        held = usual or several
        if len(held) > 1:
            raise DataError(
                f"file {str(path)!r} has {few(map(repr, held))}, all named like the {part} "
                f"{_WORDS[kind]}; accepted: one array of each"
            )
        chosen[part, kind] = held[0]
    return chosen


def _meant(word: str) -> Iterator[tuple[str, int]]:
    """The part, and the place in `_KINDS`, that an array is named like: one or none."""
    for kind, called in enumerate(_KINDS):
        if re.fullmatch(called, word):
            yield "train", kind
        for part, words in _PARTS.items():
            if re.fullmatch(f"(?:{called})(?:{words})|(?:{words})(?:{called})", word):
                yield part, kind
