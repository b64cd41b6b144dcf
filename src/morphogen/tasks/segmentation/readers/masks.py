"""One mask file: an id for each pixel, as numbers, palette entries, or colours with names."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.core.reading import trouble
from morphogen.tasks.labelled.names import few
from morphogen.tasks.pictures.decode import BROKEN, FORMATS, decode
from morphogen.tasks.pictures.pixels import Changes
from morphogen.tasks.pictures.stacking import Side, sides, stacked

TABLES = ("classes.txt", "class_dict.csv", "label_colors.txt", "labels.txt", "codes.txt")
"""Files beside the masks that name their ids."""

_GREY = ("1", "L", "P")
_DEEP = ("I", "I;16", "I;16B", "I;16L")


@dataclass(frozen=True)
class Names:
    """What a data set says of its ids."""

    names: Mapping[int, str] = field(default_factory=dict)
    """Of the ids, if it names them."""
    colours: Mapping[tuple[int, int, int], int] = field(default_factory=dict)
    """Of masks in colour: the id of each."""


def table_in(folders: Iterable[Path]) -> Names:
    """The names in the first of these folders that has a table of them; none if there is none.

    Raises:
        DataError: the file is damaged.
    """
    for folder in folders:
        for name in TABLES:
            if (folder / name).is_file():
                return read_table(folder / name)
    return Names()


def read_table(path: Path) -> Names:
    """A table of classes: a name in each line, the first of id 0, or a name with its colour.

    A colour is three numbers from 0 to 255 before or after the name, with commas or blanks between
    them; the id is then the place in the table, and masks are in these colours. A head line is
    passed over.

    Raises:
        DataError: lines are of both kinds, or the file cannot be read.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"file {str(path)!r} cannot be read ({error}); accepted: a name in each line"
        ) from error
    rows = [row for line in text.splitlines() if (row := _fields(line))]
    found = [(name, colour) for name, colour in map(_row, rows) if name or colour]
    if found and found[0][1] is None and any(colour for _, colour in found):
        found = found[1:]  # a head: name,r,g,b
    coloured = [colour for _, colour in found if colour is not None]
    if coloured and len(coloured) < len(found):
        raise DataError(
            f"file {str(path)!r} has lines with a colour and lines without; accepted: a colour in "
            "each line, or in none"
        )
    names = {place: name for place, (name, _) in enumerate(found)}
    return Names(names, {colour: place for place, colour in enumerate(coloured)})


def _fields(line: str) -> list[str]:
    if "," in line:
        return [field.strip() for field in next(csv.reader([line]))]
    return line.split()


def _row(fields: list[str]) -> tuple[str, tuple[int, int, int] | None]:
    """Name and colour of a line."""
    for numbers, words in ((fields[-3:], fields[:-3]), (fields[:3], fields[3:])):
        if len(numbers) == 3 and words and all(n.isdecimal() and int(n) < 256 for n in numbers):
            red, green, blue = map(int, numbers)
            return " ".join(words), (red, green, blue)
    return " ".join(fields), None


def decode_mask(data: bytes | Path, where: str, names: Names) -> NDArray[np.uint8]:
    """The ids of a mask, uint8 `[h, w]`: its numbers as they are, of a palette its entries.

    Args:
        data: the encoded file, or its path.
        where: what messages call it.
        names: whose colours the ids of a mask in colour are known by.

    Raises:
        DataError: it is no image, a JPEG, has ids above 255, or colours that have no id.
    """
    wrong = None if isinstance(data, bytes) else trouble(data)
    if wrong:
        raise DataError(f"{where} cannot be read ({wrong}); accepted: whole PNG files")
    try:
        source = io.BytesIO(data) if isinstance(data, bytes) else data
        with Image.open(source, formats=FORMATS) as image:
            if image.format == "JPEG":
                raise DataError(
                    f"{where} is a JPEG, which does not keep ids as they are; accepted: masks as "
                    "PNG files"
                )
            image.load()
            if image.mode in _GREY:
                return np.array(image, dtype=np.uint8)
            if image.mode in _DEEP:
                return _small(np.asarray(image), where)
            colours = np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, *BROKEN) as error:
        raise DataError(
            f"{where} is no mask that can be read ({' '.join(str(error).split())}); accepted: "
            "whole PNG files"
        ) from error
    return _by_colour(colours, where, names)


def _small(ids: NDArray[np.generic], where: str) -> NDArray[np.uint8]:
    values = ids.astype(np.int64)
    if values.min() < 0 or values.max() > 255:
        raise DataError(
            f"{where} has ids from {values.min()} to {values.max()}; accepted: 0 to 255"
        )
    return values.astype(np.uint8)


def _by_colour(pixels: NDArray[np.uint8], where: str, names: Names) -> NDArray[np.uint8]:
    """Ids of colours `[h, w, 3]`."""
    if (pixels == pixels[:, :, :1]).all() and not names.colours:
        return pixels[:, :, 0].copy()  # grey, saved as red, green and blue
    if not names.colours:
        raise DataError(
            f"{where} is in colour, and nothing says which class a colour is; accepted: masks of "
            f"ids, or a table {TABLES[1]} beside them with a name and a colour in each line"
        )
    code = pixels.astype(np.int32) @ np.array([65536, 256, 1], dtype=np.int32)
    out = np.full(code.shape, -1, dtype=np.int16)
    for (red, green, blue), place in names.colours.items():
        out[code == red * 65536 + green * 256 + blue] = place
    if (out < 0).any():
        odd = pixels[out < 0][0].tolist()
        raise DataError(
            f"{where} has the colour {odd}, which the table of classes has not; accepted: "
            f"{few(str(list(colour)) for colour in names.colours)}"
        )
    return out.astype(np.uint8)


def read_pairs(
    pairs: Iterable[tuple[str, bytes | Path, str, bytes | Path]],
    names: Names,
    size: Side | None,
    count: int,
    changes: Changes,
) -> tuple[Tensor, Tensor]:
    """Pixels and masks of many images.

    Args:
        pairs: where an image is, in words; the image; and the same of its mask.
        names: of the ids.
        size: to which both are resized, masks by their nearest pixel.
        count: how many there are.
        changes: what is done to images is counted here.

    Returns:
        uint8 `[n, c, h, w]` and `[n, h, w]`.

    Raises:
        DataError: one cannot be read, or a mask is not as large as its image.
    """
    masks: list[Tensor] = []

    def images() -> Iterator[tuple[str, NDArray[np.uint8]]]:
        for where, image, beside, mask in pairs:
            pixels, ids = decode(image, where, changes), decode_mask(mask, beside, names)
            if pixels.shape[:2] != ids.shape:
                raise DataError(
                    f"{beside} is {ids.shape[1]}x{ids.shape[0]} pixels, and its image "
                    f"{pixels.shape[1]}x{pixels.shape[0]}; accepted: masks as large as the images"
                )
            masks.append(torch.from_numpy(ids if size is None else nearest(ids, *sides(size))))
            yield where, pixels

    pixels = stacked(images(), size, count, changes)
    return pixels, torch.stack(masks)


def nearest(ids: NDArray[np.uint8], high: int, wide: int) -> NDArray[np.uint8]:
    """A mask in another size: each pixel has the id that lies at its middle."""
    h, w = ids.shape
    rows, columns = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in ((high, h), (wide, w)))
    return np.ascontiguousarray(ids[rows[:, None], columns])
