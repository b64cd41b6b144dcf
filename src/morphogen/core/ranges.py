"""How large a number may be, whoever gives it: flags, YAML, Python. Pure Python.

Every number has two ends. The upper ones lie beyond any sensible use, and below what would crash a
library, overflow a clock or make a list that no memory holds; whether a request fits this machine
is another question (`engine.memory`).
"""

from __future__ import annotations

from typing import NamedTuple


class Range(NamedTuple):
    """The numbers from `least` to `most`, both included."""

    least: int
    most: int

    @property
    def or_zero(self) -> Range:
        """The same and 0, where it stands for a default, for all or for none."""
        return Range(0, self.most)


SEED = Range(0, 2**63 - 1)
COUNT = Range(1, 10**6)
"""Epochs, evaluations, members of a population."""
NATURAL = COUNT.or_zero
BATCH = Range(2, COUNT.most)
"""Images on which batch norms need two at least."""
IMAGES = Range(1, 10**9)
"""Images of a data set; the largest public ones have some 10^8."""
FEW = Range(1, 1000)
"""Steps of which the batches or the graph are held at once."""
WIDTH = Range(1, 10_000)
"""Channels of a layer."""
DEPTH = Range(1, 1000)
"""Cells of a network."""
SIDE = Range(0, 10_000)
"""Pixels along one side of an image; 0: as it is."""
LENGTH = Range(1, 10**7)
"""Points of time of a signal."""
CLASSES = Range(1, 10**6)
THREADS = Range(0, 512)
"""Of one machine, processes and devices likewise: at thousands OpenMP runtimes end the process."""
SEEDS = Range(1, 10_000)
"""Repetitions with other seeds."""
RESAMPLES = Range(0, 10_000)
"""Draws of a bootstrap, which are held at once."""
ROUNDS = Range(1, 10**6)
"""Measured passes of a network."""
SECONDS = 1e6
"""Twelve days: beyond three weeks the operating system's timers overflow."""
