"""Populations: the best so far, and the queue of aging evolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from morphogen.core import Architecture, ConfigError


@dataclass
class Best:
    """The best-scored architecture so far, the first of equal ones; a failed one never."""

    architecture: Architecture | None = None
    score: float = -np.inf

    def tell(self, archs: Sequence[Architecture], scores: NDArray[np.float64]) -> None:
        """Read scores [n], higher is better."""
        for arch, score in zip(archs, scores, strict=True):
            if score > self.score:
                self.architecture, self.score = arch, float(score)

    def get(self) -> Architecture:
        """The architecture; a `ConfigError` if none has a finite score."""
        if self.architecture is None:
            raise ConfigError(
                "no architecture has a score yet; accepted: a budget of at least 1, and an "
                "evaluation that does not fail"
            )
        return self.architecture


@dataclass
class AgingQueue:
    """A population of fixed size in which a newcomer takes the place of the oldest member."""

    size: int
    members: list[Architecture] = field(default_factory=list)
    """In no order of age; `scores` is in the same order."""
    scores: list[float] = field(default_factory=list)
    oldest: int = 0
    """Position of the member that goes next."""

    def __len__(self) -> int:
        return len(self.members)

    @property
    def full(self) -> bool:
        """Whether the next newcomer pushes one out."""
        return len(self.members) == self.size

    def push(self, arch: Architecture, score: float) -> Architecture | None:
        """Add the youngest; returns the oldest, which left, or None while there was room."""
        if not self.full:
            self.members.append(arch)
            self.scores.append(score)
            return None
        gone = self.members[self.oldest]
        self.members[self.oldest], self.scores[self.oldest] = arch, score
        self.oldest = (self.oldest + 1) % self.size
        return gone
