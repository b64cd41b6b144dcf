"""Parquet files with a column of encoded images and one of encoded masks.

`image` (or `img`) and `label` (or `mask`, `annotation`, `segmentation`) hold {bytes, path} or plain
bytes; a column `group` keeps images of one sequence or patient together.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from morphogen.core.errors import DataError
from morphogen.tasks.labelled.groups import group_names
from morphogen.tasks.pictures.decode import header
from morphogen.tasks.pictures.pixels import Changes, said
from morphogen.tasks.pictures.stacking import Side
from morphogen.tasks.readers import tables
from morphogen.tasks.readers.files import required
from morphogen.tasks.readers.tables import column, encoded
from morphogen.tasks.segmentation.readers.masks import read_pairs, table_in
from morphogen.tasks.segmentation.scenes import Preview, Scenes, SceneSource

IMAGE_COLUMNS = ("image", "img")
MASK_COLUMNS = ("label", "mask", "annotation", "segmentation")
GROUP_COLUMNS = ("group", "groups", "sequence")


def find(path: Path) -> SceneSource | None:
    """The parts of a file or folder whose first train file has a column of masks; else None.

    Raises:
        DataError: files of no train part, or a file that cannot be read.
    """
    if path.is_dir() and not any(path.glob("*.parquet")) and not any(path.glob("*/*.parquet")):
        return None
    found = tables.find(path)
    if found is None or not _holds_masks(found[0]["train"][0]):
        return None
    files, notes = found
    read, preview = partial(_read, path, files), partial(_preview, files)
    return SceneSource(str(path), tuple(files), read, notes, preview)


def _holds_masks(file: Path) -> bool:
    import pyarrow as pa  # here: a quarter of a second that other layouts need not wait for
    import pyarrow.parquet as pq

    required(file, "a whole parquet file; restore it")
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowException, OSError, ValueError):
        return False  # which is said when it is read
    types = {name: schema.field(name).type for name in schema.names}
    return any(name in types for name in IMAGE_COLUMNS) and any(
        _encoded(types[name]) for name in MASK_COLUMNS if name in types
    )


def _encoded(kind: Any) -> bool:
    """Whether a column holds images, as bytes or as {bytes, path}."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _preview(files: tables.Parts, part: str) -> Preview:
    """The header of the first image; the columns are there."""
    with _opened(files[part][0]) as table:
        (where, pixels, _, _) = next(_pairs(files[part][0], table, table.schema_arrow.names))
    return where, header(pixels)


def _read(path: Path, files: tables.Parts, part: str, size: Side | None) -> Scenes:
    names = table_in((path if path.is_dir() else path.parent, files[part][0].parent))
    where = f"the {part} part of {str(path)!r}"
    changes = Changes()
    pieces, groups = [], list[Any]()
    for file in files[part]:
        with _opened(file) as table:
            columns = table.schema_arrow.names
            rows = table.metadata.num_rows
            if not rows:
                raise DataError(f"file {str(file)!r} has no rows; accepted: at least two images")
            pairs = _pairs(file, table, columns)
            pieces.append(read_pairs(pairs, names, size, rows, changes))
            own = next((name for name in GROUP_COLUMNS if name in columns), None)
            groups += [] if own is None else table.read(columns=[own]).column(0).to_pylist()
    shapes = {tuple(pixels.shape[1:]) for pixels, _ in pieces}
    if len(shapes) > 1:
        raise DataError(
            f"{where} has files with images of different shapes {sorted(shapes)}; accepted: one "
            "shape, or the options height and width"
        )
    count = sum(len(pixels) for pixels, _ in pieces)
    return Scenes(
        torch.cat([pixels for pixels, _ in pieces]),
        torch.cat([masks for _, masks in pieces]),
        names.names,
        said(changes, count, where),
        group_names(groups, count, where) if groups else None,
    )


def _pairs(file: Path, table: Any, columns: list[str]) -> Iterator[tuple[str, bytes, str, bytes]]:
    image = column(file, columns, IMAGE_COLUMNS, "image")
    mask = column(file, columns, MASK_COLUMNS, "mask")
    both = zip(encoded(file, table, image), encoded(file, table, mask), strict=True)
    return ((a, pixels, b, ids) for (a, pixels), (b, ids) in both)


def _opened(file: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    required(file, "a whole parquet file; restore it")
    try:
        return pq.ParquetFile(file, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"file {str(file)!r} cannot be read as parquet ({' '.join(str(error).split())}); "
            "accepted: a whole parquet file; restore it"
        ) from error
