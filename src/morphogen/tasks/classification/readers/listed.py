"""A table of labels, `labels.csv`, beside a flat folder of images.

The columns are found by their names, the images by theirs, with or without ending. A table for each
part (`train.csv`, `test.csv`) or a column that says the part of each row keep the parts apart.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from morphogen.core import spreadsheet
from morphogen.core.errors import DataError
from morphogen.tasks.classification.images import Images, Preview, Source
from morphogen.tasks.classification.readers.layout import subfolders, unpacked
from morphogen.tasks.labelled.groups import Groups, group_names
from morphogen.tasks.labelled.labels import Labels, labelled
from morphogen.tasks.labelled.names import few
from morphogen.tasks.parts import PARTS, part_of
from morphogen.tasks.pictures.decode import SUFFIXES, decode, header
from morphogen.tasks.pictures.pixels import Changes, said, sizes
from morphogen.tasks.pictures.stacking import stacked

_TABLES = (".csv", ".tsv")
_IMAGE = re.compile(
    r"(image|img|file|pic|picture|photo)?(path|filename|file|name|id)|image|img|file"
)
_LABEL = ("label", "class", "target", "category", "labelname", "classname", "labels", "y")
_GROUP = ("group", "groups")
_PART = ("split", "part", "partition", "subset", "set", "usage", "phase", "fold")
_ABOUT = re.compile(r"labels?|annotations?|metadata|meta|list|info|index|data|df|gt|classes")
_NO_LABELS = re.compile("submission|solution|predict|sample")
"""Tables of competitions that look like labels and are none."""


class _Columns(NamedTuple):
    """Places of the columns of a table."""

    image: int
    labels: list[int]
    split: int | None
    group: int | None


@dataclass(frozen=True)
class _Table:
    """The rows of a part that have labels."""

    file: Path
    images: tuple[Path, ...]
    labels: Labels
    groups: Groups | None


def find(path: Path) -> Source | None:
    """A table of labels, or a folder with one and its images flat in it or in a folder of it.

    None where images lie in class folders: these say their classes.

    Raises:
        DataError: it is not clear which table or which column, or an image is missing.
    """
    if path.is_file():
        if path.suffix.lower() not in _TABLES:
            return None
        return _source(path, {"": path}, {path: _rows(path)}, ())
    folder, _ = unpacked(path)
    tables = sorted(p for p in folder.iterdir() if p.suffix.lower() in _TABLES and p.is_file())
    parts, rows_of, rest = dict[str, Path](), {}, list[str]()
    faults: list[DataError] = []
    for file in tables:
        part = part_of(_ABOUT.sub("", file.stem.casefold())) or ""
        # The table of a test part stays closed: whether it has labels is seen when it is opened.
        try:
            rows = [] if part == "test" else _labels_in(file)
        except DataError as fault:
            rows = []
            faults.append(fault)
        if part != "test" and not rows:
            rest.append(file.name)
            continue
        if part in parts:
            raise DataError(
                f"folder {str(folder)!r} holds {parts[part].name!r} and {file.name!r}, both tables "
                "of labels of images; accepted: one for each part, or the path of one of them"
            )
        parts[part], rows_of[file] = file, rows
    if "train" in parts and "" in parts:
        rest.append(parts.pop("").name)
    inside = subfolders(folder)
    several = sum(part_of(f.name) is None for f in inside) > 1
    by_class = several or any(len(subfolders(f)) > 1 for f in inside)
    if not {"train", ""} & set(parts):
        if faults and not by_class:  # nothing else says the classes
            raise faults[0]
        return None
    flat = all(_flat(folder, rows_of[f], p) for p, f in parts.items() if p != "test")
    if not flat and by_class:
        return None
    notes = [f"tables that are not read: {few(rest)}"] if rest else []
    return _source(path, parts, rows_of, notes)


def _labels_in(file: Path) -> list[list[str]]:
    """The rows of a table of labels of images; none of any other table.

    Raises:
        DataError: it cannot be read as a table.
    """
    if _NO_LABELS.search(file.stem.casefold()):
        return []
    rows = _rows(file)
    return rows if rows and _columns(rows) else []


def _source(
    path: Path, parts: dict[str, Path], rows_of: dict[Path, list[list[str]]], notes: Sequence[str]
) -> Source:
    read: dict[str, _Table | Path] = {}
    told = list(notes)
    for part, file in parts.items():
        if part == "test":
            found: dict[str, _Table | Path] = {part: file}
        else:
            found, how = _tables(file, rows_of[file], part or "train")
            told.append(how)
        for name in found.keys() & read.keys():
            raise DataError(
                f"the {name} part of {str(path)!r} is in two tables, {file.name!r} and another; "
                "accepted: one of them"
            )
        read |= found
    if "train" not in read:
        raise DataError(f"{str(path)!r} lists no images of a train part; accepted: some")
    if "valid" in read:
        told.append(f"read as the search-validation part: {parts.get('valid', path).name!r}")
    tables = {part: read[part] for part in PARTS if part in read}
    return Source(
        str(path), tuple(tables), partial(_read, tables), tuple(told), partial(_preview, tables)
    )


def _tables(file: Path, rows: list[list[str]], part: str) -> tuple[dict[str, _Table | Path], str]:
    """The parts in a table, and a sentence on its columns."""
    columns = _columns(rows)
    if columns is None:
        raise DataError(
            f"file {str(file)!r} has the columns {few(rows[0] if rows else ())}; accepted: a "
            f"column of image files (filename, image, path, id) and one of labels "
            f"({few(_LABEL[:4])})"
        )
    image, labels, split, group = columns
    _require_no_other_part(file, rows, split)
    by_part: dict[str, list[list[str]]] = {}
    for row in rows[1:]:
        own = part_of(row[split]) if split is not None else None
        by_part.setdefault(own or part, []).append(row)
    named = ", ".join(repr(rows[0][i]) for i in labels[:3]) + (", ..." if len(labels) > 3 else "")
    how = f"labels from {file.name!r}: images in column {rows[0][image]!r}, classes in {named}"
    if split is not None:
        how += f", parts in {rows[0][split]!r}"
    if group is not None:
        how += f", groups in {rows[0][group]!r}"
    made = {n: _table(file, n, rows[0], some, columns) for n, some in by_part.items()}
    return dict(made), how


# --- the table -----------------------------------------------------------------------------------


def _rows(file: Path) -> list[list[str]]:
    """The cells of a table, its heading first."""
    rows = [cells for _, cells in spreadsheet.rows(file).cells]
    if rows and any(cell.lower().endswith(SUFFIXES) for cell in rows[0]):  # it has no heading
        rows.insert(0, [f"column {i + 1}" for i in range(len(rows[0]))])
    return rows if len(rows) > 1 else []


def _columns(rows: list[list[str]]) -> _Columns | None:
    """Places of the column of images, of that or those of labels, of those of parts and groups.

    None if it is no table of labels of images.
    """
    if not rows:
        return None
    head = ["".join(c for c in cell.casefold() if c.isalpha()) for cell in rows[0]]
    split = next(
        (
            i
            for i, name in enumerate(head)
            if name in _PART and all(part_of(row[i]) for row in rows[1:])
        ),
        None,
    )
    group = next((i for i, name in enumerate(head) if name in _GROUP), None)
    ends = [
        i
        for i in range(len(head))
        if i not in (split, group) and all(row[i].lower().endswith(SUFFIXES) for row in rows[1:21])
    ]
    images = ends or [i for i, name in enumerate(head) if _IMAGE.fullmatch(name)]
    if not images:
        return None
    image = images[0]
    others = [i for i in range(len(head)) if i not in (image, split, group)]
    label = next((i for name in _LABEL for i in others if head[i] == name), None)
    if label is not None:
        return _Columns(image, [label], split, group)
    if len(others) == 1:
        return _Columns(image, others, split, group)
    if len(others) > 1 and all({row[i] for i in others} <= _BITS for row in rows[1:]):
        return _Columns(image, others, split, group)  # a column for each class
    return None


def _require_no_other_part(file: Path, rows: list[list[str]], split: int | None) -> None:
    """Refuse columns that speak of parts in another way than the one that is read."""
    for i, cell in enumerate(rows[0]):
        name = "".join(c for c in cell.casefold() if c.isalpha())
        values = {row[i] for row in rows[1:]}
        known = {value for value in values if part_of(value)}
        odd = sorted(values - known)
        flag = re.fullmatch("is(.*)", name)
        if i == split or not ((name in _PART and known) or (flag and part_of(flag[1]))):
            continue
        raise DataError(
            f"file {str(file)!r} says parts in column {cell!r}, where {odd[0] if odd else ''!r} is "
            "the name of none; accepted: a column `split` of train, val and test, or none"
        )


_BITS = {"0", "1", "0.0", "1.0"}


def _table(
    file: Path, part: str, head: list[str], rows: list[list[str]], columns: _Columns
) -> _Table:
    image, labels, _, group = columns
    where = f"the {part} part of {str(file)!r}"
    for number, row in enumerate(rows, 1):
        if not row[image] or not all(row[i] for i in labels):
            raise DataError(
                f"{where} has an empty cell in row {number}; accepted: an image and a label in "
                "every row"
            )
    if len(labels) > 1:
        bits = np.array([[float(row[i]) for i in labels] for row in rows])
        found = labelled(bits, where, [head[i] for i in labels])
    else:
        values = [row[labels[0]] for row in rows]
        names = set(values)
        numbers = all(name.isdecimal() for name in names)
        found = labelled(values, where, sorted(names, key=int) if numbers else None)
    base = _base(file.parent, rows[0][image], part)
    if base is None:
        raise DataError(
            f"{where} names the image {rows[0][image]!r}, and no such file lies beside it or in a "
            "folder beside it; accepted: file names with or without their ending, from there"
        )
    known: dict[Path, dict[str, list[Path]]] = {}
    images = [_image(base, row[image], where, known) for row in rows]
    if len(set(images)) < len(images):
        twice = Counter(images).most_common(1)[0][0]
        raise DataError(f"{where} lists {twice.name!r} twice; accepted: every image once")
    groups = None
    if group is not None:
        if not all(row[group] for row in rows):
            raise DataError(f"{where} has a row without a group; accepted: one in every row")
        groups = group_names([row[group] for row in rows], len(rows), where)
    return _Table(file, tuple(images), found, groups)


# --- the images ----------------------------------------------------------------------------------


def _flat(folder: Path, rows: list[list[str]], part: str) -> bool:
    """Whether the images of a table lie in one folder, most of them at least."""
    image = (_columns(rows) or (0,))[0]
    if len({Path(row[image]).parent for row in rows[1:]}) > 1:
        return False
    base = _base(folder, rows[1][image], part or "train")
    known: dict[Path, dict[str, list[Path]]] = {}
    found = [row for row in rows[1:] if base is not None and _named(base, row[image], known)]
    return 2 * len(found) > len(rows) - 1


def _base(folder: Path, name: str, part: str) -> Path | None:
    """The folder from which a table counts its images: its own, or one in it."""
    inside = subfolders(folder)
    inside.sort(key=lambda p: part_of(p.name) != part)  # train.csv lists the images of train
    for place in (folder, *inside, *(deeper for p in inside for deeper in subfolders(p))):
        if _named(place, name, {}):
            return place
    return None


def _image(base: Path, name: str, where: str, known: dict[Path, dict[str, list[Path]]]) -> Path:
    found = _named(base, name, known)
    if len(found) != 1:
        what = f"the files {few(p.name for p in found)}" if found else "no such file"
        raise DataError(
            f"{where} names the image {name!r}, and there is {what} in {str(base)!r}; accepted: "
            "one file for each row"
        )
    return found[0]


def _named(base: Path, name: str, known: dict[Path, dict[str, list[Path]]]) -> list[Path]:
    """Image files of that name, with or without their ending, from a folder on."""
    path = base / name
    if path.suffix.lower() in SUFFIXES and path.is_file():
        return [path]
    if path.parent not in known:
        stems: dict[str, list[Path]] = {}
        if path.parent.is_dir():
            for file in sorted(path.parent.iterdir()):
                if file.suffix.lower() in SUFFIXES and not file.name.startswith("."):
                    stems.setdefault(file.stem, []).append(file)
        known[path.parent] = stems
    return known[path.parent].get(path.name, [])


def _open(table: _Table | Path, part: str) -> _Table | None:
    """The table of a part, which is read now if it was closed; None if it has no labels."""
    if isinstance(table, _Table):
        return table
    rows = _labels_in(table)
    found = _tables(table, rows, part)[0].get(part) if rows else None
    return found if isinstance(found, _Table) else None


def _read(tables: dict[str, _Table | Path], part: str, size: int | None) -> Images:
    table, changes = _open(tables[part], part), Changes()
    if table is None:
        raise DataError(
            f"{str(tables[part])!r} has no labels of images; accepted: a table with them"
        )
    count, where = len(table.images), f"the {part} part of {str(table.file)!r}"
    named = ((f"file {str(file)!r}", file) for file in table.images)
    pixels = stacked(((w, decode(file, w, changes)) for w, file in named), size, count, changes)
    notes = [*said(changes, count, where), *_not_listed(tables, table)]
    return Images(pixels, *table.labels, tuple(notes), table.groups, sizes(changes))


def _not_listed(tables: dict[str, _Table | Path], table: _Table) -> list[str]:
    listed = {file for t in tables.values() if isinstance(t, _Table) for file in t.images}
    rest = [
        file
        for folder in dict.fromkeys(file.parent for file in table.images)
        for file in folder.iterdir()
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file not in listed
    ]
    return [f"{len(rest):,} images were not read: {table.file.name!r} has no rows of them"][
        : len(rest)
    ]


def _preview(tables: dict[str, _Table | Path], part: str, open: bool) -> Preview | None:
    """Labels, and the header of the first image."""
    if isinstance(tables[part], Path) and not open:
        return None
    table = _open(tables[part], part)
    if table is None:
        return Preview(None)
    shape = header(table.images[0]) if open else None
    return Preview(table.labels, ((f"file {str(table.images[0])!r}", shape),) if shape else ())
