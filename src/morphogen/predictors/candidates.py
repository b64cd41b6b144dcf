"""The candidates that a predictor ranks: a whole space, or a sample of it that grows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from morphogen.core import Architecture
from morphogen.predictors.encodings import Encoding, encode_all
from morphogen.spaces import SearchSpace, fresh


@dataclass
class Candidates:
    """Different architectures with their encodings.

    Args:
        encoding: kind of encoding.
        listed: size of a space up to which all of it is candidate.
    """

    encoding: Encoding
    listed: int
    archs: list[Architecture] = field(default_factory=list)
    place: dict[Architecture, int] = field(default_factory=dict)
    """Where each architecture is in `archs`."""
    encodings: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """[candidates, entries]"""
    whole: bool = False
    """Whether these are all architectures of the space."""

    def __len__(self) -> int:
        return len(self.archs)

    def start(self, space: SearchSpace, count: int, rng: np.random.Generator) -> None:
        """The whole space in its own order if it is small enough; else `count` random ones."""
        self.whole = space.size() <= self.listed
        if self.whole:
            self._add(space, space.enumerate())
            return
        drawn: dict[Architecture, None] = {}
        while len(drawn) < count:
            arch = fresh(space, drawn, rng)
            if arch is None:
                break
            drawn[arch] = None
        self._add(space, list(drawn))

    def add_mutations(
        self, space: SearchSpace, arch: Architecture, count: int, rng: np.random.Generator
    ) -> None:
        """`count` mutations of `arch`; those that are candidates already do not count again."""
        drawn = dict.fromkeys(space.mutate(arch, rng) for _ in range(count))
        self._add(space, [a for a in drawn if a not in self.place])

    def _add(self, space: SearchSpace, archs: list[Architecture]) -> None:
        if not archs:
            return
        rows = encode_all(space, archs, self.encoding)
        self.encodings = np.concatenate([self.encodings, rows]) if len(self) else rows
        for arch in archs:
            self.place[arch] = len(self.archs)
            self.archs.append(arch)
