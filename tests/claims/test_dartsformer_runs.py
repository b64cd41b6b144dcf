"""Small real searches by DARTSformer: letters are turned round."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

import morphogen
import tiny
from morphogen import Training, resume
from morphogen.bilevel.optimisers import Adam
from morphogen.engine.search.search import search
from morphogen.engine.search.settings import Settings
from morphogen.methods.dartsformer import DARTSformerConfig
from morphogen.spaces.dartsformer import DARTSformer
from morphogen.tasks.sequences import Pairs

SPACE = DARTSformer("mini", layers=1, heads=4, embedding=0)
LETTERS = "abcdefghijklmnop"
TASK = {
    "name": "sequences",
    "source_tokens": "characters",
    "target_tokens": "characters",
    "label_smoothing": 0.0,
    "beam": 1,
}
CONFIG = DARTSformerConfig(
    weights=Adam(lr=3e-3, warm_up=50, betas=(0.9, 0.98), weight_decay=0.0),
    alpha=Adam(lr=2e-2, betas=(0.9, 0.98), weight_decay=1e-3),
)


def pairs(count: int) -> Pairs:
    """Letters, and the same in reverse."""
    rng = np.random.default_rng(0)
    rows = [rng.integers(16, size=rng.integers(4, 9)) for _ in range(count)]
    texts = ["".join(LETTERS[i] for i in row) for row in rows]
    return Pairs(texts, [text[::-1] for text in texts])


def settings(**more: Any) -> Settings:
    return Settings(
        batch_size=64,
        task=TASK,
        hardware={"threads": 1},
        diagnostics={"images": 50},
        **{"network": {"channels": 48, "depth": 1}, **more},
    )


@pytest.mark.slow
def test_a_search_that_is_cut_off_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    data = pairs(200)
    small = settings(
        epochs=2,
        steps_per_epoch=2,
        split={"train_images": 100, "valid_images": 100},
        network={"channels": 24, "depth": 2, "dropout": 0.1},
    )
    given = {"space": SPACE, "data": data, "settings": small}
    whole = search(CONFIG, **given, run=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        search(CONFIG, **given, run=tmp_path / "broken", watcher=tiny.Stop(epochs=1))
    again = resume(tmp_path / "broken", space=SPACE, data=data)
    tiny.assert_same_run(again.run, whole.run)


@pytest.mark.slow
def test_every_family_of_methods_searches_the_space(tmp_path: Path) -> None:
    data = pairs(200)
    small = settings(
        epochs=1,
        steps_per_epoch=2,
        split={"train_images": 100, "valid_images": 100},
        network={"channels": 24, "depth": 1, "dropout": 0.1},
        evaluation={"budget": 2},
    )
    for name in ("darts", "gdas", "snas", "gold-nas", "spos", "nevonas", "random", "nsga2"):
        found = search(
            tiny.config(name), space=SPACE, data=data, settings=small, run=tmp_path / name
        )
        assert SPACE.format(SPACE.parse(found.text)) == found.text


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_is_derived_learns_the_task_and_is_above_random_networks(tmp_path: Path) -> None:
    data = pairs(5000)
    asked = settings(
        epochs=2, steps_per_epoch=45, split={"train_images": 2500, "valid_images": 2500}
    )
    found = search(CONFIG, space=SPACE, data=data, settings=asked, run=tmp_path / "search")
    first, last = found.history[0], found.history[-1]
    assert last["train_loss"] < first["train_loss"]
    assert last["entropy"] < 0.99
    rng = np.random.default_rng(1)
    archs = [found.architecture, *(SPACE.sample(rng) for _ in range(2))]
    reached = []
    for number, arch in enumerate(archs):
        training = Training(
            epochs=8,
            batch_size=64,
            optimiser="adam",
            lr=3e-3,
            warm_up=100,
            weight_decay=0.0,
            clip=1.0,
            task=TASK,
            network={"channels": 48, "depth": 1},
            hardware={"threads": 1},
        )
        trained = morphogen.train(
            arch, space=SPACE, data=data, training=training, run=tmp_path / f"train{number}"
        )
        reached.append(trained.held_out["mean"])
    assert reached[0] > 90, (found.text, reached)
    assert reached[0] >= median(reached[1:]) - 1, (found.text, reached)
