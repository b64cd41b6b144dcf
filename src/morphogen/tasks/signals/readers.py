"""Signals from arrays in .npz files and from columns of parquet files.

One rule says whether an array holds signals. Its name decides where it says so: `signals`,
`series` and `waveforms` are signals [n, channels, time] or [n, time], `images` and the like are
images. Under a name that says neither (`x`, `data`) signals are

- `[n, time]`, floats or integers of more than 8 bits: one channel;
- `[n, channels, time]`, likewise, unless they could be square grey pictures (equal sides, values
  from 0 to 1 or whole ones from 0 to 255), which they stay.

Under such a name more channels than points of time are refused: it may be `[n, time, channels]`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import DataError
from morphogen.tasks.labelled import archive
from morphogen.tasks.labelled.archive import Archive
from morphogen.tasks.labelled.groups import group_names
from morphogen.tasks.labelled.labels import labelled
from morphogen.tasks.labelled.names import few
from morphogen.tasks.parts import part_of
from morphogen.tasks.readers import npz
from morphogen.tasks.readers.files import required
from morphogen.tasks.signals.data import Preview, Signals, SignalSource, checked_values

COLUMNS = ("signal", "signals", "series", "waveform", "x")
"""Columns of signals in a parquet file."""
LABELS = ("label", "labels", "y", "target")
GROUPS = ("group", "groups")


def find(path: Path) -> SignalSource | None:
    """An .npz or parquet file of signals and labels; None if it holds something else.

    Raises:
        DataError: it holds signals and is damaged, or its axes are not clear.
    """
    if not path.is_file():
        return None
    if path.suffix.lower() == ".npz":
        held = archive.opened(path)
        return _of_archive(held) if _holds_signals(path, held.parts["train"].x) else None
    return _of_table(path) if path.suffix.lower() == ".parquet" else None


# --- arrays --------------------------------------------------------------------------------------


def _holds_signals(path: Path, name: str) -> bool:
    """Whether the array is one of signals, by the rule of this module."""
    if archive.says(name, archive.SIGNALS):
        return True
    shape, dtype = npz.header_of(path, name)
    if archive.says(name, archive.IMAGES) or len(shape) not in (2, 3):
        return False
    if dtype.kind not in "iuf" or dtype.itemsize == 1:
        return False
    square = len(shape) == 3 and shape[1] == shape[2]
    return not (square and _pixels(npz.read(path, name)))


def _pixels(x: NDArray[Any]) -> bool:
    """Whether these are the values of pixels."""
    if not x.size:
        return False
    low, high = x.min(), x.max()
    if x.dtype.kind == "f" and low >= 0 and high <= 1:
        return True
    return bool(low >= 0 and high <= 255 and (x == np.floor(x)).all())


def _require_clear(shape: tuple[int, ...], name: str, where: str) -> None:
    if len(shape) == 3 and shape[1] > shape[2] and not archive.says(name, archive.SIGNALS):
        raise DataError(
            f"{where} has an array {name!r} {list(shape)}, of more channels than points of time if "
            "it is [n, channels, time]; accepted: such an array under the name `signals`, which is "
            "taken as it stands, or its transpose if it is [n, time, channels]"
        )


def _of_archive(held: Archive) -> SignalSource:
    for part, names in held.parts.items():
        _require_clear(npz.header_of(held.path, names.x)[0], names.x, held.where(part))
    return SignalSource(
        str(held.path),
        tuple(held.parts),
        partial(_read_arrays, held),
        held.notes,
        partial(_preview_arrays, held),
    )


def _read_arrays(held: Archive, part: str) -> Signals:
    where, names = held.where(part), held.parts[part]
    values = checked_values(npz.read(held.path, names.x), where)
    labels = labelled(npz.read(held.path, names.y), where, held.class_names())
    _require_as_many(len(values), len(labels.indexes), where)
    return Signals(values, *labels, groups=held.groups(part, len(values)))


def _preview_arrays(held: Archive, part: str) -> Preview:
    where, names = held.where(part), held.parts[part]
    labels = labelled(npz.read(held.path, names.y), where, held.class_names())
    shape, _ = npz.header_of(held.path, names.x)
    channels = shape[1] if len(shape) == 3 else 1
    return Preview(labels, (channels, shape[-1]))


def _require_as_many(signals: int, labels: int, where: str) -> None:
    if signals != labels:
        raise DataError(
            f"{where}: {signals} signals and {labels} labels; accepted: as many labels as signals"
        )


def unlabelled(path: Path) -> NDArray[Any]:
    """The signals of an .npy file, or of the one array in an .npz file that is called signals.

    Returns:
        Numbers `[n, channels, time]` or `[n, time]`.

    Raises:
        DataError: the file is damaged, or has several such arrays or none.
    """
    if path.suffix.lower() == ".npy":
        return npz.read_single(path)
    names = npz.names_in(path)
    called = [name for name in names if archive.says(name, archive.EXAMPLES)]
    usual = [name for name in called if archive.letters(name) in ("x", "signals")]
    chosen = names if len(names) == 1 else usual or called
    if len(chosen) != 1:
        raise DataError(
            f"file {str(path)!r} holds {few(names) or 'no arrays'}; accepted: one array of "
            "signals, called x if there are others"
        )
    return npz.read(path, chosen[0])


# --- parquet -------------------------------------------------------------------------------------


def _of_table(path: Path) -> SignalSource | None:
    import pyarrow as pa  # here: a quarter of a second that other layouts need not wait for
    import pyarrow.parquet as pq

    required(path, "a whole parquet file; restore it")
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError, ValueError, OverflowError):
        return None  # which the reader of images says
    column = next((n for n in COLUMNS if n in schema.names and _lists(schema.field(n).type)), None)
    if column is None:
        return None
    label = next((n for n in LABELS if n in schema.names), None)
    if label is None:
        raise DataError(
            f"file {str(path)!r} has signals in column {column!r} and no column of labels, only "
            f"{few(schema.names)}; accepted: a column named {' or '.join(LABELS)}"
        )
    split = "split" if "split" in schema.names else None
    group = next((n for n in GROUPS if n in schema.names), None)
    columns = (column, label, group, split)
    parts = _parts(path, split)
    used = {name for name in columns if name}
    rest = [name for name in schema.names if name not in used]
    notes = (f"columns of {str(path)!r} that are not read: {few(rest)}",) if rest else ()
    return SignalSource(str(path), parts, partial(_read_table, path, columns), notes)


def _lists(kind: Any) -> bool:
    """Whether a column's type is lists of numbers, or lists of such lists."""
    import pyarrow.types as kinds

    depth = 0
    while kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind):
        kind, depth = kind.value_type, depth + 1
    return depth in (1, 2) and (kinds.is_floating(kind) or kinds.is_integer(kind))


def _parts(path: Path, split: str | None) -> tuple[str, ...]:
    if split is None:
        return ("train",)
    import pyarrow.parquet as pq

    words = set(pq.read_table(path, columns=[split]).column(0).to_pylist())
    parts = {part_of(str(word)) for word in words}
    if None in parts or "train" not in parts:
        odd = next((w for w in sorted(map(str, words)) if part_of(w) is None), "no train rows")
        raise DataError(
            f"file {str(path)!r} has {odd!r} in column {split!r}; accepted: train, valid or test "
            "in every row, train in some"
        )
    return tuple(part for part in ("train", "valid", "test") if part in parts)


def _read_table(path: Path, columns: tuple[str, str, str | None, str | None], part: str) -> Signals:
    import pyarrow as pa
    import pyarrow.parquet as pq

    column, label, group, split = columns
    where = f"the {part} part of {str(path)!r}"
    try:
        table = pq.read_table(path, columns=[name for name in columns if name])
        if split is not None:
            words = table.column(split).to_pylist()
            table = table.filter(pa.array([part_of(str(word)) == part for word in words]))
        rows = table.column(column).to_pylist()
        labels = labelled(table.column(label).to_pylist(), where)
        groups = None if group is None else table.column(group).to_pylist()
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"file {str(path)!r} cannot be read as parquet ({reason}); accepted: a whole parquet "
            "file; restore it"
        ) from error
    values = checked_values(_stacked(rows, where), where)
    named = None if groups is None else group_names(groups, len(values), where)
    return Signals(values, *labels, groups=named)


def _stacked(rows: list[Any], where: str) -> NDArray[Any]:
    """One array of the rows' lists, all of one shape."""
    missing = next((row for row, value in enumerate(rows) if value is None), None)
    if missing is not None:
        raise DataError(f"{where} has no signal in row {missing}; accepted: one in every row")
    shapes = [_shape(value) for value in rows]
    odd = next((row for row, shape in enumerate(shapes) if shape != shapes[0]), None)
    if odd is not None:
        raise DataError(
            f"{where} has a signal {list(shapes[odd])} in row {odd}, and {list(shapes[0])} in row "
            "0; accepted: one number of channels and of points of time (cut or pad them)"
        )
    array = np.array(rows)
    if array.dtype.kind == "O":
        raise DataError(f"{where} has a value that is missing; accepted: finite numbers")
    return array


def _shape(value: list[Any]) -> tuple[int, ...]:
    """Points of one channel, or channels and points; channels of several lengths are refused."""
    try:
        return np.shape(value)
    except ValueError as error:
        raise DataError(
            f"a signal has channels of {few(sorted({str(len(v)) for v in value}))} points; "
            "accepted: as many points in every channel"
        ) from error
