"""The encodings of many architectures at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from morphogen.core import Architecture
from morphogen.spaces import SearchSpace

Encoding = Literal["onehot", "adjacency", "path"]
"""Which encoding of the space; every space has `onehot`, cell spaces add the others."""


def encode_all(
    space: SearchSpace, archs: Sequence[Architecture], kind: Encoding = "onehot"
) -> NDArray[np.float32]:
    """Row i is `space.encode(archs[i], kind)`; float32 [architectures, entries].

    `onehot` is the same for all spaces, and is filled in for all rows together; the other
    encodings are the space's own, one architecture at a time.
    """
    if not archs:
        return np.zeros((0, len(space.encode(_any(space), kind))), np.float32)
    if kind != "onehot":
        return np.stack([space.encode(arch, kind) for arch in archs])
    columns: dict[str, dict[str, int]] = {c.name: {} for c in space.choices}
    place = 0
    for members in space.groups.values():
        for choice in members:
            for option in choice.options:
                columns[choice.name][option] = place
                place += 1
    out = np.zeros((len(archs), place), np.float32)
    for name, column in columns.items():
        kept = [arch[name] for arch in archs]
        rows = np.repeat(np.arange(len(archs)), [len(k) for k in kept])
        out[rows, [column[option] for option in chain.from_iterable(kept)]] = 1.0
    return out


def _any(space: SearchSpace) -> Architecture:
    return space.sample(np.random.default_rng(0))
