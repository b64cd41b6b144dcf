"""Which ids of the masks are classes, and which are void."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from morphogen.core.errors import ConfigError, DataError
from morphogen.core.names import brief
from morphogen.tasks.labelled.names import few, require_names, spelled
from morphogen.tasks.segmentation.scenes import VOID, Scenes

IDS = 256
_UNKNOWN = 254
"""In the table of a legend: an id that the training data have not. So there are 254 classes."""


@dataclass(frozen=True)
class Legend:
    """The classes of a task by their ids."""

    ids: tuple[int, ...]
    """Of each class."""
    void: frozenset[int]
    classes: tuple[str, ...]
    """Names; an id where it has none."""

    def counted(self, scenes: Scenes, where: str) -> Scenes:
        """The same scenes with masks of indexes of classes, and `VOID`.

        Raises:
            DataError: a mask has an id that is neither a class nor void.
        """
        table = torch.full((IDS,), _UNKNOWN, dtype=torch.uint8)
        table[torch.tensor(self.ids)] = torch.arange(len(self.ids), dtype=torch.uint8)
        table[torch.tensor(sorted(self.void), dtype=torch.int64)] = VOID
        masks = torch.stack([table[mask.long()] for mask in scenes.masks])
        strange = torch.unique(scenes.masks[masks == _UNKNOWN]).tolist()
        if strange:
            raise DataError(
                f"{where} has masks with the id{'s'[: len(strange) != 1]} "
                f"{few(map(str, strange))}, which the training data have not; accepted: "
                f"{few(map(str, self.ids))}, or the option void with {few(map(str, strange))}"
            )
        names = dict(enumerate(self.classes))
        return replace(scenes, masks=masks, names=names)


def legend(scenes: Scenes, void: str, where: str) -> Legend:
    """The classes of the data that a task trains on.

    With names every id that has one is a class, else every id that is there.

    Args:
        scenes: both search parts, ids as the data have them.
        void: ids or names of what counts for nothing, separated by commas; or `none`.
        where: what they are called in messages.

    Raises:
        ConfigError: `void` names what is not there.
        DataError: fewer than two classes are left, or an id has no name where others have.
    """
    present = torch.bincount(scenes.masks.flatten().int(), minlength=IDS).nonzero()[:, 0].tolist()
    nothing = _ids(void, scenes.names)
    known = [*scenes.names] if scenes.names else present
    ids = tuple(i for i in sorted(known) if i not in nothing)
    unnamed = [i for i in present if i not in known and i not in nothing]
    if unnamed:
        raise DataError(
            f"{where} has masks with the ids {few(map(str, unnamed))}, for which there are no "
            f"names; accepted: {few(map(str, known))}, or the option void with these ids"
        )
    if len(ids) < 2 or len(ids) > _UNKNOWN:
        beside = f" beside void ({few(map(str, sorted(nothing)))})" if nothing else ""
        raise DataError(
            f"{where} has masks with the ids {few(map(str, ids)) or 'none'}{beside}; accepted: 2 "
            f"to {_UNKNOWN} classes, of masks of 0 and 255 with the option void=none"
        )
    classes = tuple(scenes.names.get(i, str(i)) for i in ids)
    require_names(classes, where)
    return Legend(ids, frozenset(nothing), classes)


def _ids(void: str, names: Mapping[int, str]) -> set[int]:
    """The ids that are asked for."""
    if void.strip() in ("", "none"):
        return set()
    by_name = {spelled(name): i for i, name in names.items()}
    found = set()
    for word in map(str.strip, void.split(",")):
        if spelled(word) in by_name:
            found.add(by_name[spelled(word)])
        elif word.isascii() and word.isdecimal() and int(word) < IDS:
            found.add(int(word))
        else:
            named = f", or names, of {few(names.values())}" if names else ""
            raise ConfigError(
                f"void is {brief(void)}; accepted: none, or ids from 0 to 255 with commas between "
                f"them, as '0, 255'{named}"
            )
    return found


def pixels_of(masks: Tensor, classes: int) -> Tensor:
    """Pixels of each class, int64 `[classes]`, of masks of indexes; void is left out."""
    counts = torch.zeros(IDS, dtype=torch.int64)
    for mask in masks:
        counts += torch.bincount(mask.flatten().int(), minlength=IDS)
    return counts[:classes]
