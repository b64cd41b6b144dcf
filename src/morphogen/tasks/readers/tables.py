"""Parquet files of encoded images: which files are which part, and their cells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from morphogen.core.errors import DataError
from morphogen.tasks.labelled.names import few
from morphogen.tasks.parts import PARTS, part_of

_BATCH = 256
_BATCH_BYTES = 1 << 28
"""Encoded images that are in memory at a time: so many rows, and about so many bytes."""
_SHARD = re.compile(r"-\d+-of-(\d+)$")


Parts = dict[str, tuple[Path, ...]]
"""Files of each part, in order."""


def find(path: Path) -> tuple[Parts, tuple[str, ...]] | None:
    """The parts of a parquet file (it is the train part), or of a folder of parquet files.

    Returns:
        Files by part, and sentences on what was found without full stops; None: it is neither.

    Raises:
        DataError: files of no train part, or not all of one.
    """
    if path.is_file():
        if path.suffix.lower() != ".parquet":
            return None
        return {"train": (path,)}, ()
    # Hugging Face repositories keep them in a sub-folder named data or after the configuration.
    held = [path, *sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))]
    for folder in held:
        parts, rest = _parts(folder)
        if "train" in parts:
            rest += [f for other in held for f in other.glob("*.parquet") if other != folder]
            return parts, _notes(path, parts, rest)
    loose = sorted(path.glob("*.parquet"))
    if loose:
        raise DataError(
            f"data {str(path)!r} has parquet files of no train part "
            f"({few(f.name for f in loose)}); accepted: train.parquet or train-*.parquet, "
            "and the same of validation and test, if there are any"
        )
    return None


def _parts(folder: Path) -> tuple[dict[str, tuple[Path, ...]], list[Path]]:
    """The files of each part in order of their shards, and those of no part."""
    found: dict[str, list[Path]] = {}
    rest = []
    for file in sorted(folder.glob("*.parquet")):
        # Shards are train-00000-of-00002, and sometimes a hash comes after.
        part = part_of(file.stem) or part_of(file.stem.partition("-")[0])
        if part:
            found.setdefault(part, []).append(file)
        else:
            rest.append(file)
    for part, files in found.items():
        words = {_SHARD.sub("", f.stem).partition("-")[0] for f in files}
        if len(words) > 1:
            raise DataError(
                f"folder {str(folder)!r} holds {few(sorted(words))}, all named like a {part} part; "
                "accepted: files of one name, with the numbers of their shards"
            )
        announced = {int(m[1]) for f in files if (m := _SHARD.search(f.stem))}
        if announced and announced != {len(files)}:
            raise DataError(
                f"folder {str(folder)!r} holds {len(files)} of the {max(announced)} shards of its "
                f"{part} part; accepted: all of them, and no others"
            )
    return {p: tuple(found[p]) for p in PARTS if p in found}, rest


def _notes(path: Path, parts: dict[str, tuple[Path, ...]], rest: list[Path]) -> tuple[str, ...]:
    notes = []
    if "valid" in parts:
        notes.append(f"read as the search-validation part: {few(f.name for f in parts['valid'])}")
    if rest:
        notes.append(f"not read beside the parts: {few(str(f.relative_to(path)) for f in rest)}")
    return tuple(notes)


def cell(value: Any) -> bytes | None:
    """The encoded image in a cell, `{bytes, path}` or bytes; None if there is none."""
    data = value.get("bytes") if isinstance(value, dict) else value
    return data if isinstance(data, bytes) else None


def column(file: Path, names: list[str], accepted: tuple[str, ...], what: str) -> str:
    """Which of the accepted names a file has a column of, or a `DataError`."""
    for name in accepted:
        if names.count(name) > 1:
            raise DataError(
                f"file {str(file)!r} has {names.count(name)} columns {name!r}; accepted: one"
            )
        if name in names:
            return name
    raise DataError(
        f"file {str(file)!r} has no {what} column, only {few(names)}; "
        f"accepted: a column named {' or '.join(accepted)}"
    )


def encoded(file: Path, table: Any, column: str) -> Iterator[tuple[str, bytes]]:
    """Each cell of a column of images: where it is, in words, and the encoded image."""
    row = 0
    for batch in table.iter_batches(batch_size=_batch(table.metadata, column), columns=[column]):
        for value in batch.column(0).to_pylist():
            where = f"row {row} of column {column!r} in {str(file)!r}"
            data = cell(value)
            if data is None:
                raise DataError(
                    f"{where} holds no image bytes; accepted: {{bytes, path}} with the encoded "
                    "image in `bytes`, or the bytes themselves"
                )
            yield where, data
            row += 1


def _batch(metadata: Any, column: str) -> int:
    """How many rows to read at a time, so that they take about `_BATCH_BYTES` at most.

    In a dictionary one large value may stand for any number of rows: a value is as large as all
    that its group of rows stores.
    """
    largest = 1
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for chunk in map(group.column, range(group.num_columns)):
            if chunk.path_in_schema.partition(".")[0] == column:
                largest = max(largest, chunk.total_uncompressed_size)
    return max(1, min(_BATCH, _BATCH_BYTES // largest))
