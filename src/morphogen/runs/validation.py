"""A checkpoint from anywhere: what goes into `torch.load`, and what comes out, before it is used.

`weights_only=True` runs no code. What is left are archives that inflate, or that hold two
directories of which two readers see one each, and tensors that fit nothing: other shapes are
broadcast, other types rounded, strides of zero claim terabytes.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

END = struct.Struct("<4s4H2LH")
"""End of the central directory: mark, disks, entries here and in all, size, offset, comment."""

END64 = struct.Struct("<4sQ2H2L4Q")
"""The same of large archives, which torch always writes, too."""

LOCATOR = struct.Struct("<4sLQL")


def require_stored(body: bytes) -> None:
    """One directory, at the end, and entries as they are: nothing grows when it is read.

    Raises:
        ValueError: the archive is not as `torch.save` writes it.
    """
    at = len(body) - END.size
    if at < 0 or not body.startswith(b"PK\3\4"):
        raise ValueError("it is no archive")
    mark, *_, size, offset, comment = END.unpack_from(body, at)
    if mark != b"PK\5\6" or comment:
        raise ValueError("something follows its directory")
    start = at - LOCATOR.size
    if start >= END64.size and body[start : start + 4] == b"PK\6\7":
        at = LOCATOR.unpack_from(body, start)[2]
        if at != start - END64.size:
            raise ValueError("it has more than one directory")
        mark, *_, size, offset = END64.unpack_from(body, at)
        if mark != b"PK\6\6":
            raise ValueError("it has more than one directory")
    if offset + size != at:
        raise ValueError("it has more than one directory")
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        entries = archive.infolist()
    if any(e.compress_type or e.compress_size != e.file_size for e in entries):
        raise ValueError("it is compressed")
    if sum(e.file_size for e in entries) > len(body):
        raise ValueError("its entries overlap")


def require_plain(value: Any, most: int, path: str = "") -> None:
    """Tensors and plain values, none larger than the file.

    Raises:
        ValueError: a tensor is of another kind, or larger than `most` bytes.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            require_plain(inner, most, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            require_plain(inner, most, f"{path}[{index}]")
    elif isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_meta or value.is_quantized:
            raise ValueError(f"{path} is no plain tensor")
        if value.numel() * value.element_size() > most:
            raise ValueError(f"{path} claims {value.numel():,} numbers, more than the file has")
    elif value is not None and not isinstance(value, str | int | float | bytes):
        raise ValueError(f"{path} is a {type(value).__name__}")


def require_finite(value: Any, path: str = "") -> None:
    """No NaN and no infinity in the tensors.

    Raises:
        ValueError: there is one; the message begins with its place.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            require_finite(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            require_finite(inner, f"{path}[{index}]")
    elif isinstance(value, Tensor) and not bool(torch.isfinite(value).all()):
        raise ValueError(f"{path} is not finite")


def require_alike(current: Any, value: Any, path: str) -> None:
    """Tensors of the same names, shapes and types, plain values of the same kind.

    Args:
        current: what there is, as a checkpoint would hold it.
        value: what is to take its place.
        path: for the message.

    Raises:
        ValueError: they differ.
    """
    if isinstance(current, Tensor):
        found = value if isinstance(value, Tensor) else torch.empty(0)
        if not isinstance(value, Tensor) or (found.shape, found.dtype) != (
            current.shape,
            current.dtype,
        ):
            has = f"{list(found.shape)} {found.dtype}" if isinstance(value, Tensor) else value
            raise ValueError(f"{path} is {has}, not {list(current.shape)} {current.dtype}")
    elif isinstance(current, Mapping):
        if not isinstance(value, Mapping) or set(current) != set(value):
            differ = set(current) ^ set(value) if isinstance(value, Mapping) else set(current)
            raise ValueError(f"{path} has not the entries it needs: {sorted(map(str, differ))[:3]}")
        for key, inner in current.items():
            require_alike(inner, value[key], f"{path}.{key}")


def require_kind(current: Any, value: Any) -> None:
    """A plain value of the kind that there is; what is None yet may become anything.

    Raises:
        ValueError: it is of another kind.
    """
    kind = list | tuple if isinstance(current, list | tuple) else type(current)
    if isinstance(current, float) and type(value) is int:
        return
    if current is not None and (type(value) is bool) != (type(current) is bool):
        raise ValueError(f"a {type(value).__name__} instead of a {type(current).__name__}")
    if current is not None and not isinstance(value, kind):
        raise ValueError(f"a {type(value).__name__} instead of a {type(current).__name__}")
    if isinstance(value, float) and math.isnan(value):
        raise ValueError("no number")


def require_optimiser(optimiser: torch.optim.Optimizer, value: Any) -> None:
    """Moments of the shapes of the parameters; rates and factors of the same names and kinds.

    Raises:
        ValueError: they do not fit.
    """
    held = optimiser.state_dict()
    if not isinstance(value, Mapping) or set(value) != set(held):
        raise ValueError("it has not the entries of an optimiser")
    groups = value["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(held["param_groups"]):
        raise ValueError("it has other groups of parameters")
    for before, group in zip(held["param_groups"], groups, strict=True):
        if not isinstance(group, Mapping) or group["params"] != before["params"]:
            raise ValueError("it has other parameters")
        for name, old in before.items():
            require_kind(list(old) if isinstance(old, tuple) else old, group[name])
    sizes = {
        index: tensor.shape
        for before, group in zip(held["param_groups"], optimiser.param_groups, strict=True)
        for index, tensor in zip(before["params"], group["params"], strict=True)
    }
    for index, moments in value["state"].items():
        for name, moment in moments.items():
            if isinstance(moment, Tensor) and moment.shape not in (sizes[index], ()):
                raise ValueError(f"{name} is {list(moment.shape)}, not {list(sizes[index])}")
