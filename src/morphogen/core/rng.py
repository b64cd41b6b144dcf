"""Random streams: one per purpose, each seeded from the run's seed and the purpose's name.

A stream is passed to whoever draws from it, and its state is in the checkpoint; so that one more
draw for one purpose never shifts another.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np


def seed_for(seed: int, purpose: str) -> int:
    """A 63-bit seed for one purpose, the same on every machine and in every Python."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def numpy_stream(seed: int, purpose: str) -> np.random.Generator:
    """A numpy generator for one purpose."""
    return np.random.Generator(np.random.PCG64(seed_for(seed, purpose)))


def numpy_state(rng: np.random.Generator) -> str:
    """The state of `rng` as JSON text, for a checkpoint."""
    return json.dumps(rng.bit_generator.state)


def set_numpy_state(rng: np.random.Generator, state: str) -> None:
    """Put a state that `numpy_state` returned back into `rng`."""
    rng.bit_generator.state = json.loads(state)
