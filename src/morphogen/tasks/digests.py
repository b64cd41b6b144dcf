"""Digests of tensors: a file's name says nothing of what is in it today."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def digest(parts: Iterable[bytes | memoryview]) -> str:
    """SHA-256 of the parts in a row."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def raw(tensor: Tensor) -> memoryview:
    """The bytes of a tensor."""
    plain = tensor.detach().cpu().contiguous().reshape(-1)
    if plain.stride(0) != 1:  # of one element or none, any stride is contiguous
        plain = plain.clone(memory_format=torch.contiguous_format)
    return plain.view(torch.uint8).numpy().data
