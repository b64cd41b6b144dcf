"""Data sets of Hugging Face's `datasets` library: saved to disk, or named on the Hub.

`hf:PATH` is a folder that `save_to_disk` wrote, `hf:NAME` or `hf:NAME:CONFIGURATION` a data set of
the Hub, which the library downloads once and keeps.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import ConfigError, DataError, MorphogenError
from morphogen.core.reading import trouble
from morphogen.tasks.classification.images import Images, Preview, Source
from morphogen.tasks.classification.readers.parquet import IMAGE_COLUMNS, LABEL_COLUMNS
from morphogen.tasks.labelled.labels import Labels, labelled
from morphogen.tasks.labelled.names import few
from morphogen.tasks.parts import PARTS, part_of
from morphogen.tasks.pictures.decode import decode, header
from morphogen.tasks.pictures.pixels import Changes, said, sizes
from morphogen.tasks.pictures.stacking import stacked

PREFIX = "hf:"


def find(text: str) -> Source | None:
    """The data set that `text`, which begins with `hf:`, names; None if it does not.

    Raises:
        ConfigError: the library is not installed.
        DataError: there is no such data set, or it has no `train` part.
    """
    if not text.startswith(PREFIX):
        return None
    name = text.removeprefix(PREFIX)
    if not name:
        raise DataError(
            "data 'hf:' names nothing; accepted: hf:NAME or hf:NAME:CONFIGURATION of the Hub, or "
            "hf:PATH of a folder written by save_to_disk"
        )
    opened = _opened(name)
    parts = _parts(opened, text)
    read, preview = partial(_read, name), partial(_preview, name)
    return Source(text, tuple(parts), read, _notes(opened, parts), preview)


def _opened(name: str) -> Any:
    """A `Dataset`, or a dictionary of them."""
    try:
        import datasets
    except ImportError as error:
        raise ConfigError(
            f"data 'hf:{name}' needs the library datasets, which is not installed; accepted after: "
            "pip install 'morphogen[datasets]'"
        ) from error
    with _reported(name):
        if os.path.isdir(name):
            _require_files(name)
            return datasets.load_from_disk(name)
        repository, _, configuration = name.partition(":")
        return datasets.load_dataset(repository, configuration or None)


@contextmanager
def _reported(name: str) -> Iterator[None]:
    """Within the context, a failure of the library is a sentence."""
    try:
        yield
    except MorphogenError:
        raise
    # Missing, offline, an unknown configuration; and what the library does not foresee in files
    # that were edited or damaged.
    except (
        *(OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError),
        *(ArithmeticError, MemoryError),
    ) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"data 'hf:{name}' cannot be loaded ({reason}); accepted: hf:NAME or "
            "hf:NAME:CONFIGURATION of a data set that the Hub or its local cache has, or hf:PATH "
            "of a folder written by save_to_disk"
        ) from error


def _require_files(folder: str) -> None:
    """Refuse what the library would wait for: named pipes among the files of a saved data set."""
    top = Path(folder)
    for place in (top, *(inside for inside in sorted(top.iterdir()) if inside.is_dir())):
        for file in sorted(place.iterdir()):
            wrong = None if file.is_dir() else trouble(file)
            if wrong:
                raise DataError(
                    f"file {str(file)!r} cannot be read ({wrong}); accepted: a folder as "
                    "save_to_disk writes it"
                )


def _parts(opened: Any, text: str) -> dict[str, Any]:
    """Its parts by name; a data set without parts is the train part."""
    if not isinstance(opened, dict):
        return {"train": opened}
    named: dict[str, list[str]] = {}
    for split in opened:
        named.setdefault(part_of(split) or "", []).append(split)
    for part in PARTS:
        if len(named.get(part, ())) > 1:
            raise DataError(
                f"data {text!r} has the parts {few(named[part])}, all named like a {part} part; "
                "accepted: one of each"
            )
    if "train" not in named:
        raise DataError(
            f"data {text!r} has the parts {few(opened)}; accepted: train, and validation and test "
            "if there are any"
        )
    return {part: opened[named[part][0]] for part in PARTS if part in named}


def _notes(opened: Any, parts: dict[str, Any]) -> tuple[str, ...]:
    if not isinstance(opened, dict):
        return ()
    notes = []
    rest = [split for split in opened if not part_of(split)]
    if "valid" in parts:
        used = next(split for split in opened if part_of(split) == "valid")
        notes.append(f"read as the search-validation part: {used!r}")
    if rest:
        notes.append(f"parts that are not read: {few(rest)}")
    return tuple(notes)


@dataclass(frozen=True)
class _Rows:
    """One part: its images as they are stored, its labels."""

    encoded: Any
    image: str
    labels: Labels
    where: str


def _rows(name: str, part: str) -> _Rows:
    import datasets

    text = PREFIX + name
    rows = _parts(_opened(name), text)[part]
    where = f"the {part} part of {text!r}"
    with _reported(name):
        rows.data.validate(full=True)  # Arrow follows the offsets of a damaged file anywhere
        kinds = rows.features
        image = _column(where, kinds, IMAGE_COLUMNS, datasets.Image, "image")
        label = _column(where, kinds, LABEL_COLUMNS, datasets.ClassLabel, "label")
        encoded = rows.select_columns([image]).cast_column(image, datasets.Image(decode=False))
        names = [str(name) for name in getattr(kinds[label], "names", None) or ()]
        values = list(rows[label])
    return _Rows(encoded, image, labelled(values, where, names or None), where)


def _read(name: str, part: str, size: int | None) -> Images:
    rows = _rows(name, part)
    count, changes = len(rows.encoded), Changes()
    with _reported(name):
        pixels = stacked(
            _decoded(rows.encoded, rows.image, rows.where, changes), size, count, changes
        )
    return Images(pixels, *rows.labels, said(changes, count, rows.where), was=sizes(changes))


def _preview(name: str, part: str, open: bool) -> Preview | None:
    """Labels, and the header of the first image."""
    if not open:
        return None
    rows = _rows(name, part)
    with _reported(name):
        shape = header((rows.encoded[0][rows.image] or {}).get("bytes") or b"")
    return Preview(rows.labels, ((f"row 0 of {rows.where}", shape),) if shape else ())


def _column(where: str, kinds: Any, usual: tuple[str, ...], kind: type[Any], what: str) -> str:
    """The column of a usual name, or else the only one of the kind."""
    named = [name for name in usual if name in kinds]
    found = named or [name for name, held in kinds.items() if isinstance(held, kind)]
    if named or len(found) == 1:
        return str(found[0])
    raise DataError(
        f"{where} has {len(found) or 'no'} {what} columns among {few(kinds)}; accepted: one of "
        f"type {kind.__name__}, or one named {' or '.join(usual)}"
    )


def _decoded(
    rows: Any, column: str, where: str, changes: Changes
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for index, row in enumerate(rows):
        value, at = row[column], f"row {index} of {where}"
        data = (value or {}).get("bytes")
        if data is None and (value or {}).get("path"):
            raise DataError(
                f"{at} holds the path of an image and not the image; accepted: a data set saved "
                "with its images, as save_to_disk and the Hub do"
            )
        if data is None:
            raise DataError(f"{at} holds no image; accepted: an encoded image in every row")
        yield at, decode(data, at, changes)
