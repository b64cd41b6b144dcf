"""The parts of a data set, and the names under which they are in use."""

from __future__ import annotations

import re
from collections.abc import Iterable

PARTS: tuple[str, ...] = ("train", "valid", "test")
"""The parts a data set may come in. Without `valid`, search validation is cut from `train`."""

WORDS = {
    "train": "train(?:ing)?|trn",
    "valid": "val|valid|validation|dev|development|eval|evaluation",
    "test": "test(?:ing)?|tst|holdout",
}
"""What each part is called, as regular expressions of letters alone."""
_BESIDE = "the|my|seg|set|data|dataset|images?|imgs?|pics|pictures|photos|files|samples|split|part"
_NAMES = {
    part: re.compile(rf"(?:{_BESIDE}|folder)*(?:{words})(?:{_BESIDE}|folder)*")
    for part, words in WORDS.items()
}


def part_of(name: str) -> str | None:
    """The part that goes by this name, as `train`, `Testing`, `seg_test`, `val2017`; else None."""
    letters = "".join(c for c in name.casefold() if c.isalpha())
    return next((part for part, names in _NAMES.items() if names.fullmatch(letters)), None)


def family(names: Iterable[str]) -> dict[str, str]:
    """Names that differ in nothing but the word of the part, `faces_train` and `faces_test`.

    Returns:
        The part of each; empty unless one is a train part and another is not.
    """
    groups: dict[str, dict[str, str]] = {}
    for name in names:
        words = re.findall(r"[^\W\d_]+|\d+|[\W_]+", name.casefold())
        for place, word in enumerate(words):
            part = next((p for p, w in WORDS.items() if re.fullmatch(w, word)), None)
            if part:
                rest = "\0".join([*words[:place], "", *words[place + 1 :]])
                groups.setdefault(rest, {})[name] = part
    for found in groups.values():
        if "train" in found.values() and len(set(found.values())) > 1:
            return found
    return {}
