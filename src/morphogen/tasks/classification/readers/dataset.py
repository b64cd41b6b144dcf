"""Images from any map-style torch data set, torchvision's included (which is not needed here)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from morphogen.core.errors import DataError
from morphogen.tasks.classification.images import Images, checked
from morphogen.tasks.labelled.labels import labelled
from morphogen.tasks.pictures.pixels import Changes, pixels_of, said, sizes
from morphogen.tasks.pictures.stacking import stacked


@runtime_checkable
class MapDataset(Protocol):
    """What a map-style data set can do; `torch.utils.data.Dataset` need not be its base."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def from_dataset(
    dataset: MapDataset, *, classes: tuple[str, ...] | None = None, size: int | None = None
) -> Images:
    """Every item of a data set, decoded once; its random transforms must be off.

    Args:
        dataset: items are (image, label): a Pillow image, an array `[h, w]` or `[h, w, c]`, or a
            tensor `[h, w]` or `[c, h, w]`, uint8 or floats from 0 to 1; and a class,
            its index or its name.
        classes: their names; else `dataset.classes`, if there are any.
        size: resize to `size` x `size` pixels.

    Raises:
        DataError: an item is something else (it is named), or the images do not agree.
    """
    if isinstance(dataset, type | Mapping) or not isinstance(dataset, MapDataset):
        raise DataError(
            f"data is a {type(dataset).__name__}; accepted: a map-style data set, "
            "with len() and items (image, label)"
        )
    labels: list[int | float | str] = []
    changes = Changes()

    def decoded() -> Iterator[tuple[str, NDArray[np.uint8]]]:
        for index in range(len(dataset)):
            where = f"item {index} of the {type(dataset).__name__}"
            item = dataset[index]
            if not isinstance(item, tuple | list) or len(item) != 2:
                raise DataError(f"{where} is a {type(item).__name__}; accepted: (image, label)")
            labels.append(_label(item[1], where))
            yield where, _pixels(item[0], where, changes)

    pixels = stacked(decoded(), size, len(dataset), changes)
    where = f"the {type(dataset).__name__}"
    named = classes or tuple(str(name) for name in getattr(dataset, "classes", ())) or None
    notes = said(changes, len(labels), where)
    return checked(
        Images(pixels, *labelled(labels, where, named), notes, was=sizes(changes)), where
    )


def _label(value: Any, where: str) -> int | float | str:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.generic | np.ndarray) and value.size == 1:
        value = value.item()
    if not isinstance(value, int | float | str):
        raise DataError(
            f"{where} has label {value!r}; accepted: an integer class index, or a class name"
        )
    return value


def _pixels(image: Any, where: str, changes: Changes) -> NDArray[np.uint8]:
    """uint8 `[h, w, c]` of an item's image."""
    if isinstance(image, Image.Image):
        return pixels_of(image, where, changes)
    if isinstance(image, torch.Tensor):
        array = image.detach().cpu().numpy()
        array = array.transpose(1, 2, 0) if array.ndim == 3 else array
    elif isinstance(image, np.ndarray):
        array = image
    else:
        raise DataError(
            f"{where} has an image of type {type(image).__name__}; accepted: a Pillow image, "
            "a numpy array [h, w, c] or a tensor [c, h, w]"
        )
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.size == 0:
        raise DataError(f"{where} has an image of shape {list(image.shape)}; accepted: 2 or 3 axes")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "biuf":
        raise DataError(f"{where} has {array.dtype} pixels; accepted: uint8, or floats from 0 to 1")
    if array.dtype.kind == "f" and array.min() >= 0 and array.max() <= 1:
        return np.floor(array * 255 + 0.5).astype(np.uint8)
    raise DataError(
        f"{where} has {array.dtype} pixels from {array.min()} to {array.max()}; accepted: uint8, "
        "or floats from 0 to 1 (take the normalisation out of its transform: the task does it)"
    )
