"""The smallest real search, shared by slow-ish tests; most of it ships in `morphogen.testing`.

Nothing here is a test. All of it can be imported by other processes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from morphogen import OneOf
from morphogen.cli.options import sections
from morphogen.core.config import altered
from morphogen.engine.search.presets import quick_config
from morphogen.engine.search.result import SearchResult
from morphogen.engine.search.search import resume, search
from morphogen.methods import find
from morphogen.predictors import PredictorSizes
from morphogen.predictors.estimators import MLPSizes
from morphogen.tasks.problem import Clock
from morphogen.testing.runs import Interrupt as Stop
from morphogen.testing.runs import Recorder as Told
from morphogen.testing.runs import metrics, same, state, timeless
from morphogen.testing.runs import require_same_run as assert_same_run
from morphogen.testing.toys import (
    BARE,
    CLASSES,
    SETTINGS,
    OwnNetwork,
    Scaled,
    drawing,
    images,
    own,
    problem,
)

__all__ = [
    "BARE",
    "OwnNetwork",
    "Stop",
    "Told",
    "assert_same_run",
    "drawing",
    "metrics",
    "problem",
    "same",
    "state",
    "timeless",
]


def changed(held: Any, **flags: Any) -> Any:
    """Settings of a search or of a training, with other values by the names of their flags."""
    options = (o for s in sections("", held, name="held", flat=True) for o in s.options)
    paths = {o.name.replace("-", "_"): o.field.partition(".")[2] for o in options}
    return altered(held, {paths[name]: value for name, value in flags.items()})


def saved(folder: Path, train: int = 200, test: int = 40) -> str:
    """Images in a file, `x.npz`, in a training and a test part."""
    every = images(train + test)
    x, y = every.pixels.permute(0, 2, 3, 1).numpy(), every.labels.numpy()
    parts = {"x_train": x[:train], "y_train": y[:train], "x_test": x[train:], "y_test": y[train:]}
    np.savez(folder / "x.npz", **parts)
    return str(folder / "x.npz")


class Smooth(nn.Module):
    """A user's module in which no layer mixes images and nothing has a kink."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.block = OneOf(
            {"conv": nn.Conv2d(4, 4, 3, padding=1), "tanh": Scaled(), "skip": nn.Identity()},
            name="block",
        )
        self.head = OneOf({"one": nn.Linear(4, CLASSES), "two": nn.Linear(4, CLASSES)}, name="head")

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.softplus(self.stem(x))
        x = nn.functional.avg_pool2d(nn.functional.softplus(self.block(x)), 4)
        return self.head(x.mean((2, 3)))


def smooth() -> Smooth:
    """A `Smooth`, always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return Smooth()


SMALL = {
    "generations": 2,
    "population": 4,
    "parents": 2,
    "mutants": 1,
    "crossovers": 1,
    "fitness_images": 50,
    "recalibration_images": 50,
    "shift_steps": 1,
    "validation": 2,
    "selection_images": 16,
    "warm_up": 0,
    "leaf_epochs": 1,
    "candidates": 2,
    "repeats": 1,
    "splits": 1,
    "screened": 3,
    "drawn": 1,
    "steps": 2,
    "decision": 2,
    "seeds": 2,
}
"""Numbers that make a method's own phases short."""


def config(method: str) -> Any:
    """The method's quick configuration, with short phases and a small predictor if it has them."""
    info = find(method)
    made = quick_config(info)
    if info.black_box:
        small = PredictorSizes(mlp=MLPSizes(layers=1, width=8, iterations=5))
        return replace(made, sizes=small) if hasattr(made, "sizes") else made
    return replace(made, **{k: v for k, v in SMALL.items() if hasattr(made, k)})


CLOCK = Clock(epoch=0, epochs=3, step=0, steps=2)


# -- a search in another process -------------------------------------------------------------------


def go_on(run: str, method: str, epochs: int, write_delay: float = 0.0) -> SearchResult:
    """Start the run, or resume it if it was started; what a process that will be killed does."""
    if write_delay:
        _slow_writes(write_delay)
    if (Path(run) / "config.yaml").exists():
        return resume(run, space=own(), data=images())
    chosen = changed(SETTINGS, epochs=epochs, evaluations=epochs)
    return search(config(method), space=own(), data=images(), settings=chosen, run=run)


def _slow_writes(seconds: float) -> None:
    """Stretch every moment at which a file is half written or half replaced."""
    import os
    import time

    fsync, rename = os.fsync, os.replace

    def slow_fsync(handle: int) -> None:
        time.sleep(seconds)
        fsync(handle)

    def slow_replace(*args: Any, **kwargs: Any) -> None:
        time.sleep(seconds)
        rename(*args, **kwargs)
        time.sleep(seconds)

    os.fsync = slow_fsync
    os.replace = slow_replace
    Path.replace = lambda self, target: slow_replace(self, target)  # type: ignore
