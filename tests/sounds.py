"""Small pairs of texts, in memory and on disk: words, and their letters from the last to the first.

Nothing here is a test.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from morphogen.tasks.sequences import Pairs, SequenceTask

LETTERS = "abcdef"


def pairs(count: int, seed: int = 0) -> Pairs:
    """Words of two to six letters; the targets are capitals with blanks between them."""
    draw = np.random.default_rng(seed)
    words = ["".join(draw.choice(list(LETTERS), draw.integers(2, 7))) for _ in range(count)]
    return Pairs(words, [" ".join(word[::-1].upper()) for word in words])


def task(count: int = 80, **options) -> SequenceTask:
    """Half of them trains weights."""
    ways = ("characters", "words")
    return SequenceTask.of(pairs(count), test=pairs(20, seed=1), ways=ways, **options)


def written(folder: Path, sizes: dict[str, int]) -> Path:
    """`train.word`, `train.sound` and so on, so many lines each."""
    folder.mkdir(parents=True)
    for seed, (part, count) in enumerate(sizes.items()):
        held = pairs(count, seed)
        (folder / f"{part}.word").write_text("\n".join(held.sources) + "\n")
        (folder / f"{part}.sound").write_text("\n".join(held.targets) + "\n")
    return folder
