"""Parquet files in the layout of Hugging Face image data sets.

A column `img` or `image` of {bytes, path}, or of plain bytes, and a column `label` (CIFAR-100:
`fine_label`) of integers or names, and perhaps a column `group` (subject, recording); a folder
holds `train-*.parquet` and `test-*.parquet`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from morphogen.core.errors import DataError
from morphogen.tasks.classification.images import Images, Preview, Source
from morphogen.tasks.classification.readers.cache import cached
from morphogen.tasks.labelled.groups import Groups, group_names
from morphogen.tasks.labelled.labels import Labels, labelled
from morphogen.tasks.labelled.names import few
from morphogen.tasks.parts import PARTS, part_of
from morphogen.tasks.pictures.decode import decode, header
from morphogen.tasks.pictures.pixels import Changes, said
from morphogen.tasks.pictures.stacking import stacked
from morphogen.tasks.readers.files import required

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "fine_label")
GROUP_COLUMNS = ("group", "groups")
_BATCH = 256
_BATCH_BYTES = 1 << 28
"""Encoded images that are in memory at a time: so many rows, and about so many bytes."""
_SHARD = re.compile(r"-\d+-of-(\d+)$")


def find(path: Path) -> Source | None:
    """A parquet file (it is the train part), or a folder with parquet files of its parts."""
    if path.is_file():
        if path.suffix.lower() != ".parquet":
            return None
        return _source(path, {"train": (path,)}, ())
    # Hugging Face repositories keep them in a sub-folder named data or after the configuration.
    held = [path, *sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))]
    for folder in held:
        parts, rest = _parts(folder)
        if "train" in parts:
            rest += [f for other in held for f in other.glob("*.parquet") if other != folder]
            return _source(path, parts, _notes(path, parts, rest))
    loose = sorted(path.glob("*.parquet"))
    if loose:
        raise DataError(
            f"data {str(path)!r} has parquet files of no train part "
            f"({few(f.name for f in loose)}); accepted: train.parquet or train-*.parquet, "
            "and the same of validation and test, if there are any"
        )
    return None


def _source(path: Path, parts: dict[str, tuple[Path, ...]], notes: tuple[str, ...]) -> Source:
    return Source(str(path), tuple(parts), partial(_read, parts), notes, partial(_preview, parts))


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


@dataclass(frozen=True)
class _Piece:
    """What one file holds: pixels, labels and groups as stored, class names if it has them."""

    pixels: torch.Tensor
    labels: list[Any]
    groups: list[Any] | None
    classes: tuple[str, ...] | None
    changes: Changes
    first: tuple[int, int, int] | None
    """Channels, height and width of the first image, where only headers are read."""


def _read(files: dict[str, tuple[Path, ...]], part: str, size: int | None) -> Images:
    pieces = [_read_file(file, size) for file in files[part]]
    where = _where(files, part)
    labels = _labels(pieces, where)
    changes = sum((piece.changes for piece in pieces), Changes())
    notes = said(changes, len(labels.indexes), where)
    shapes = sorted({tuple(piece.pixels.shape[1:]) for piece in pieces})
    if len(shapes) > 1:
        raise DataError(
            f"{where} has files with images of different shapes {shapes}; accepted: one shape, "
            "or the option size=N to resize all to NxN"
        )
    rows = torch.cat([piece.pixels.permute(0, 2, 3, 1) for piece in pieces])
    return Images(rows.permute(0, 3, 1, 2), *labels, notes, _groups(pieces, where))


def _preview(files: dict[str, tuple[Path, ...]], part: str, open: bool) -> Preview | None:
    """Labels, and the header of the first image of each file."""
    if not open:
        return None
    pieces = [_read_file(file, None, headers=True) for file in files[part]]
    shapes = [(f"row 0 of {str(f)!r}", p.first) for f, p in zip(files[part], pieces, strict=True)]
    known = tuple((where, shape) for where, shape in shapes if shape)
    return Preview(_labels(pieces, _where(files, part)), known)


def _where(files: dict[str, tuple[Path, ...]], part: str) -> str:
    first = files[part][0]
    return f"the {part} part of {str(first if len(files[part]) == 1 else first.parent)!r}"


def _labels(pieces: list[_Piece], where: str) -> Labels:
    names = {piece.classes for piece in pieces if piece.classes}
    if len(names) > 1:
        raise DataError(
            f"the files of {where} name different classes; accepted: the same names in all"
        )
    values: list[Any] = [value for piece in pieces for value in piece.labels]
    return labelled(values, where, names.pop() if names else None)


def _groups(pieces: list[_Piece], where: str) -> Groups | None:
    """The group of each row; None where no file has any."""
    known = [piece.groups for piece in pieces if piece.groups is not None]
    if not known:
        return None
    if len(known) < len(pieces):
        raise DataError(f"some files of {where} have no column of groups; accepted: all or none")
    return group_names([group for some in known for group in some], sum(map(len, known)), where)


def _read_file(file: Path, size: int | None, *, headers: bool = False) -> _Piece:
    """What a file holds; with `headers` no image is decoded."""
    import pyarrow as pa  # here: a quarter of a second that other layouts need not wait for
    import pyarrow.parquet as pq

    required(file, "a whole parquet file; restore it")
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as table:
            schema = table.schema_arrow
            image = _column(file, schema.names, IMAGE_COLUMNS, "image")
            label = _column(file, schema.names, LABEL_COLUMNS, "label")
            rows = table.metadata.num_rows
            if rows == 0:
                raise DataError(f"file {str(file)!r} has no rows; accepted: at least two images")
            if headers:
                found = next(table.iter_batches(batch_size=1, columns=[image])).column(0)
                first, pixels, changes = header(_bytes(found[0].as_py()) or b""), _NONE, Changes()
            else:
                first = None
                pixels, changes = cached(
                    file,
                    rows,
                    f"{image}|{size}",
                    lambda changes: stacked(
                        _decoded(file, table, image, changes), size, count=rows
                    ),
                )
            labels = table.read(columns=[label]).column(0).to_pylist()  # after the memory is known
            group = next((name for name in GROUP_COLUMNS if name in schema.names), None)
            groups = None if group is None else table.read(columns=[group]).column(0).to_pylist()
            return _Piece(pixels, labels, groups, _names(schema.metadata, label), changes, first)
    # ValueError: text that is no UTF-8.
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"file {str(file)!r} cannot be read as parquet ({reason}); "
            "accepted: a whole parquet file; restore it"
        ) from error


_NONE = torch.empty(0, dtype=torch.uint8)


def _bytes(value: Any) -> bytes | None:
    """The encoded image in a cell, `{bytes, path}` or bytes; None if there is none."""
    data = value.get("bytes") if isinstance(value, dict) else value
    return data if isinstance(data, bytes) else None


def _column(file: Path, names: list[str], accepted: tuple[str, ...], what: str) -> str:
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


def _decoded(
    file: Path, table: Any, column: str, changes: Changes
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    row = 0
    for batch in table.iter_batches(batch_size=_batch(table.metadata, column), columns=[column]):
        for value in batch.column(0).to_pylist():
            where = f"row {row} of column {column!r} in {str(file)!r}"
            data = _bytes(value)
            if data is None:
                raise DataError(
                    f"{where} holds no image bytes; accepted: {{bytes, path}} with the encoded "
                    "image in `bytes`, or the bytes themselves"
                )
            yield where, decode(data, where, changes)
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


def _names(metadata: dict[bytes, bytes] | None, label: str) -> tuple[str, ...] | None:
    """Class names in the metadata that the `datasets` library writes; `None` without."""
    try:
        info = json.loads((metadata or {})[b"huggingface"])
        names = info["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None
