"""The smallest real search: 200 grey images of 8 x 8 pixels, a few steps; shared by slow-ish tests.

Nothing here is a test. All of it can be imported by other processes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from morphogen import OneOf
from morphogen.cli.options import sections
from morphogen.core import Choice
from morphogen.core.config import altered
from morphogen.engine.record.watch import Silent
from morphogen.engine.search.loop import TIMES
from morphogen.engine.search.presets import quick_config
from morphogen.engine.search.result import SearchResult
from morphogen.engine.search.search import resume, search
from morphogen.engine.search.settings import Settings
from morphogen.methods import find
from morphogen.runs import checkpoint
from morphogen.runs.directory import RunDirectory
from morphogen.spaces import SearchSpace
from morphogen.supernets.operations import Noise
from morphogen.tasks.classification import Images, ImageTask
from morphogen.tasks.problem import Clock, Problem
from own_network import OwnNetwork

CLASSES = 4

BARE = SearchSpace("bare", [Choice("only", ("a", "b"))])
"""A space with no more capabilities than any space has, and no supernet."""

SETTINGS = Settings(
    epochs=3,
    steps_per_epoch=2,
    batch_size=16,
    split={"train_images": 100, "valid_images": 100},
    task={"image_size": 8},
    network={"channels": 2, "depth": 1},
    hardware={"threads": 1},
    diagnostics={"images": 40},
    evaluation={"budget": 3},
)


def changed(held: Any, **flags: Any) -> Any:
    """Settings of a search or of a training, with other values by the names of their flags."""
    options = (o for s in sections("", held, name="held", flat=True) for o in s.options)
    paths = {o.name.replace("-", "_"): o.field.partition(".")[2] for o in options}
    return altered(held, {paths[name]: value for name, value in flags.items()})


def images(count: int = 200) -> Images:
    """Each class has a bright quarter of its own, in noise."""
    g = torch.Generator().manual_seed(5)
    labels = torch.arange(count) % CLASSES
    pixels = torch.randint(0, 120, (count, 1, 8, 8), generator=g)
    for label in range(CLASSES):
        top, left = 4 * (label // 2), 4 * (label % 2)
        pixels[labels == label, :, top : top + 4, left : left + 4] += 100
    return Images(pixels.to(torch.uint8), labels, tuple("abcd"))


def own() -> OwnNetwork:
    """A user's module with batch norms, always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return OwnNetwork(1, CLASSES, channels=4)


class Scaled(nn.Module):
    """tanh(c x) with a trainable c: an option without a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.7))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.scale * x)


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


class Drawing(nn.Module):
    """A `Smooth` whose layers draw: dropout in training, noise always.

    Args:
        activation: between the layers.
    """

    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.activation = activation
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.block = OneOf(
            {
                "conv": nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Dropout(0.2)),
                "noise": Noise(1),
                "tanh": Scaled(),
            },
            name="block",
        )
        self.head = OneOf({"one": nn.Linear(4, CLASSES), "two": nn.Linear(4, CLASSES)}, name="head")

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.dropout(self.activation(self.stem(x)), 0.2, self.training)
        x = nn.functional.avg_pool2d(self.activation(self.block(x)), 4)
        return self.head(x.mean((2, 3)))


def drawing(activation: Callable[[Tensor], Tensor] = nn.functional.relu) -> Drawing:
    """A `Drawing`, always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return Drawing(activation)


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
}
"""Numbers that make a method's own phases short."""


def config(method: str) -> Any:
    """The method's quick configuration, with short phases if it trains a supernet."""
    info = find(method)
    made = quick_config(info)
    if info.black_box:
        return made
    return replace(made, **{k: v for k, v in SMALL.items() if hasattr(made, k)})


def problem(space: Any, seed: int = 0, **spec: Any) -> Problem:
    """What a method sees, without the engine."""
    from morphogen.supernets import NetworkSpec

    task = ImageTask.of(images(), train_images=100, valid_images=100, seed=seed)
    sizes = {"channels": 2, "depth": 1, "classes": CLASSES, "in_channels": 1, **spec}
    return Problem(space, task, NetworkSpec(**sizes), batch_size=16, seed=seed)


CLOCK = Clock(epoch=0, epochs=3, step=0, steps=2)


# -- what must be equal ----------------------------------------------------------------------------


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of metrics without what differs between equal runs."""
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def metrics(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl, every line of it, or the rows of the store; without times."""
    if (run / "metrics.jsonl").exists():
        lines = (run / "metrics.jsonl").read_text().splitlines()
        return timeless([json.loads(line) for line in lines])
    return timeless(RunDirectory(run).metrics())


def state(run: Path) -> dict[str, Any]:
    """The last checkpoint's content, without times; empty for a black-box method."""
    if not (run / "checkpoint.pt").exists():
        return {}
    content = checkpoint.read(run / "checkpoint.pt")
    return {**content, "history": timeless(json.loads(content["history"]))}


def same(one: Any, two: Any) -> bool:
    """Equal to the last bit, types and keys included."""
    if isinstance(one, Tensor):
        return isinstance(two, Tensor) and one.dtype == two.dtype and torch.equal(one, two)
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[k], two[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(same(a, b) for a, b in zip(one, two, strict=True))
    return type(one) is type(two) and one == two


def assert_same_run(one: Path, two: Path) -> None:
    """Architecture, every metric but times, alpha, weights, optimisers, streams: bit for bit."""
    assert metrics(one) == metrics(two)
    results = [json.loads((run / "result.json").read_text()) for run in (one, two)]
    for result in results:
        for name in TIMES:
            del result["cost"][name]
    assert results[0] == results[1]
    first, second = state(one), state(two)
    assert list(first) == list(second)
    for part in first:
        assert same(first[part], second[part]), f"the checkpoints differ in {part}"


# -- interruptions ---------------------------------------------------------------------------------


class Stop(Silent):
    """Ctrl-C after so many calls of `stepped`, or when so many epochs are done and safe."""

    def __init__(self, *, steps: int | None = None, epochs: int | None = None) -> None:
        self.steps, self.epochs = steps, epochs
        self.finished: int | None = None

    def __call__(self) -> Stop:
        return self

    def started(self, config: Any, path: Path, finished_epochs: int) -> None:
        self.finished = finished_epochs

    def stepped(self, clock: Clock) -> None:
        if self.steps is not None:
            self.steps -= 1
            if self.steps == 0:
                raise KeyboardInterrupt

    def epoch(self, row: Any) -> None:
        if row["epoch"] == self.epochs:
            raise KeyboardInterrupt


class Told(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.finished: int | None = None

    def __call__(self) -> Told:
        return self

    def started(self, config: Any, path: Path, finished_epochs: int) -> None:
        self.finished = finished_epochs

    def notice(self, sentence: str) -> None:
        self.notices.append(sentence)


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
