"""Parquet files in the layout of Hugging Face image data sets.

A column `img` or `image` of {bytes, path}, or of plain bytes, and a column `label` (CIFAR-100:
`fine_label`) of integers or names, and perhaps a column `group` (subject, recording); a folder
holds `train-*.parquet` and `test-*.parquet`.
"""

from __future__ import annotations

import json
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
from morphogen.tasks.pictures import stacks
from morphogen.tasks.pictures.decode import decode, header
from morphogen.tasks.pictures.pixels import Changes, said, sizes
from morphogen.tasks.pictures.stacking import stacked
from morphogen.tasks.readers import tables
from morphogen.tasks.readers.files import required
from morphogen.tasks.readers.tables import cell, column, encoded

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "fine_label")
GROUP_COLUMNS = ("group", "groups")


def find(path: Path) -> Source | None:
    """A parquet file (it is the train part), or a folder with parquet files of its parts."""
    found = tables.find(path)
    return None if found is None else _source(path, *found)


def _source(path: Path, parts: dict[str, tuple[Path, ...]], notes: tuple[str, ...]) -> Source:
    return Source(str(path), tuple(parts), partial(_read, parts), notes, partial(_preview, parts))


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
    pixels = stacks.concatenated(piece.pixels for piece in pieces)
    return Images(pixels, *labels, notes, _groups(pieces, where), sizes(changes))


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
            image = column(file, schema.names, IMAGE_COLUMNS, "image")
            label = column(file, schema.names, LABEL_COLUMNS, "label")
            rows = table.metadata.num_rows
            if rows == 0:
                raise DataError(f"file {str(file)!r} has no rows; accepted: at least two images")
            if headers:
                found = next(table.iter_batches(batch_size=1, columns=[image])).column(0)
                first, pixels, changes = header(cell(found[0].as_py()) or b""), _NONE, Changes()
            else:
                first = None
                pixels, changes = cached(
                    file,
                    rows,
                    f"{image}|{size}",
                    lambda changes: stacked(
                        _decoded(file, table, image, changes), size, rows, changes
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


def _decoded(
    file: Path, table: Any, name: str, changes: Changes
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for where, data in encoded(file, table, name):
        yield where, decode(data, where, changes)


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
