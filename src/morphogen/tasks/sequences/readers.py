"""Pairs of texts: two columns of parquet files, or two text files with as many lines.

pairs.parquet, or train.parquet, val.parquet, test.parquet    columns of text, say `en` and `de`
train.en, train.de, val.en, val.de, test.en, test.de          UTF-8, a text in each line
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from morphogen.core.errors import DataError
from morphogen.core.reading import trouble
from morphogen.tasks.labelled.names import few
from morphogen.tasks.parts import PARTS, part_of
from morphogen.tasks.readers import tables
from morphogen.tasks.readers.files import required
from morphogen.tasks.sequences.pairs import Pairs, PairSource

_WHOLE = "a whole parquet file; restore it"

OTHERS = ("img", "image", "label", "fine_label", "x", "signal", "signals")
"""Columns of other kinds of data: a table that has one is none of texts."""


def find(data: str | os.PathLike[str]) -> PairSource | None:
    """A data set of pairs at a path, not read; None if there is none.

    Raises:
        DataError: there is one, with files of no train part or not all of one.
        OSError: a folder may not be read.
    """
    path = Path(data)
    if path.is_dir():
        found = _lines(path) or _tables(path)
    elif path.suffix.lower() == ".parquet" and not trouble(path):
        found = _tables(path)
    else:
        found = None
    return None if found is None else replace(found, name=os.fspath(data))


# -- parquet ---------------------------------------------------------------------------------------


def _tables(path: Path) -> PairSource | None:
    if path.is_dir() and not any(path.glob("*.parquet")) and not any(path.glob("*/*.parquet")):
        return None
    found = tables.find(path)
    if found is None:
        return None
    files, notes = found
    sides = _columns(files["train"][0])
    if len(sides) < 2:
        return None
    return PairSource(str(path), tuple(files), sides, partial(_read_tables, files), notes)


def _columns(file: Path) -> tuple[str, ...]:
    """The columns of text; none where there are columns of other data."""
    import pyarrow as pa  # here: a quarter of a second that other layouts need not wait for
    import pyarrow.parquet as pq

    required(file, _WHOLE)
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowException, OSError, ValueError):
        return ()  # which is said when it is read
    if any(name in OTHERS for name in schema.names):
        return ()
    kinds = ((name, schema.field(i).type) for i, name in enumerate(schema.names))
    return tuple(n for n, t in kinds if pa.types.is_string(t) or pa.types.is_large_string(t))


def _read_tables(files: tables.Parts, part: str, source: str, target: str) -> Pairs:
    held: tuple[list[Any], list[Any]] = ([], [])
    for file in files[part]:
        for texts, column in zip(held, (source, target), strict=True):
            texts += _column(file, column)
    return _complete(*held, f"the {part} part in {str(files[part][0])!r}")


def _column(file: Path, column: str) -> list[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    required(file, _WHOLE)
    try:
        table = pq.read_table(file, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"file {str(file)!r} cannot be read as parquet ({' '.join(str(error).split())}); "
            f"accepted: {_WHOLE}"
        ) from error
    if table.column_names.count(column) != 1:
        raise DataError(
            f"file {str(file)!r} has {table.column_names.count(column)} columns {column!r}; "
            "accepted: one"
        )
    texts: list[Any] = table.column(column).to_pylist()
    return texts


# -- text ------------------------------------------------------------------------------------------


def _lines(folder: Path) -> PairSource | None:
    """Files of one name and several endings: `train.en`, `train.de`."""
    files: dict[str, dict[str, Path]] = {}
    for file in sorted(folder.iterdir()):
        part = part_of(file.stem)
        if part and file.suffix and file.is_file() and file.suffix != ".parquet":
            files.setdefault(part, {})[file.suffix[1:]] = file
    sides = tuple(files.get("train", ()))
    if len(sides) < 2 or set(sides) & {"csv", "npz", "npy", "json", "pkl"}:
        return None
    parts = {part: files[part] for part in PARTS if part in files}
    for part, held in parts.items():
        if len(set(held) & set(sides)) < 2:
            raise DataError(
                f"folder {str(folder)!r} has {few(f.name for f in held.values())} as its {part} "
                f"part; accepted: two files, with the endings {few(sides)} of the train part"
            )
    return PairSource(str(folder), tuple(parts), sides, partial(_read_lines, parts))


def _read_lines(parts: dict[str, dict[str, Path]], part: str, source: str, target: str) -> Pairs:
    held = []
    for side in (source, target):
        file = parts[part].get(side)
        if file is None:
            raise DataError(f"the {part} part has no file that ends in .{side}; accepted: one")
        required(file, "a text file in UTF-8")
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"file {str(file)!r} cannot be read ({error}); accepted: a text file in UTF-8"
            ) from error
        # Other signs that Python takes for ends of lines stand within sentences.
        held.append([line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")])
    where = f"the {part} part in {str(parts[part][source].parent)!r}"
    if len(held[0]) != len(held[1]):
        raise DataError(
            f"{where} has {len(held[0])} lines of {source} and {len(held[1])} of {target}; "
            "accepted: as many of both, each the translation of the other"
        )
    return _complete(held[0], held[1], where)


def _complete(sources: list[Any], targets: list[Any], where: str) -> Pairs:
    """The pairs that have both sides; others are left out, and it is said."""
    both = [(s, t) for s, t in zip(sources, targets, strict=True) if _text(s) and _text(t)]
    if not both:
        raise DataError(f"{where} has no pair with text on both sides; accepted: one or more")
    left = len(sources) - len(both)
    notes = (
        f"{left} of the {len(sources)} pairs of {where} have an empty side, and were left out",
    )
    return Pairs(tuple(s for s, _ in both), tuple(t for _, t in both), notes if left else ())


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
