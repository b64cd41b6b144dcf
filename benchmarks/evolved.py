"""Searches of NEvoNAS and pEvoNAS on reduced CIFAR-10, judged by the tables of their spaces."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import record

from morphogen import benchmarks, spaces
from morphogen.core import Architecture
from morphogen.core.ranking import kendall
from morphogen.core.rng import numpy_stream
from morphogen.engine.search.result import SearchResult
from morphogen.engine.search.search import resume, search
from morphogen.engine.search.settings import Settings
from morphogen.evaluators.supernet import SupernetEvaluator
from morphogen.runs import checkpoint
from morphogen.spaces import SearchSpace
from morphogen.supernets import Gates, NetworkSpec, Supernet
from morphogen.tasks.classification import ImageTask
from morphogen.tasks.problem import Problem

COLUMNS = {"nasbench201": "cifar10_test_200", "nasbench-macro": "test_acc"}
"""Column of the table by space: nothing of it is read by a search."""

IMAGES = 1000
"""Search-validation images on which architectures are scored and ordered."""

SETTINGS = Settings(
    steps_per_epoch=160,
    batch_size=64,
    split={"train_images": 10000, "valid_images": 5000},
    task={"image_size": 16},
    network={"channels": 8, "depth": 1},
    hardware={"threads": 1},
    diagnostics={"images": 0},
)
SMALL = {"epochs": 1, "steps_per_epoch": 2}
"""Of `--small`, which shows that everything runs."""

SPLIT = (
    "searches: 10,000 train and 5,000 search-validation images cut from CIFAR-10's training "
    "images, at 16 x 16; judged by the tables' test accuracies, which no search read"
)


def run(config: Any, path: Path, space: str, data: str, settings: Settings) -> SearchResult:
    """Start a run or go on with it."""
    if (path / "config.yaml").exists():
        return resume(path)
    return search(config, space=space, data=data, settings=settings, run=path)


def problem_of(space: str, data: str, settings: Settings) -> Problem:
    """What the search of these settings sees."""
    split, network = settings.split, settings.network
    task = ImageTask.of(
        data,
        train_images=split.train_images,
        valid_images=split.valid_images,
        size=16,
        seed=settings.seed,
    )
    spec = NetworkSpec(channels=network.channels, depth=network.depth)
    known = spaces.make(space)
    return Problem(known, task, spec, batch_size=settings.batch_size, seed=settings.seed)


def ended(path: Path) -> Mapping[str, Any]:
    """The state in which a run has ended."""
    state: Mapping[str, Any] = checkpoint.read(path / "checkpoint.pt")["state"]
    return state


def supernet_of(problem: Problem, state: Mapping[str, Any]) -> Supernet:
    """A run's supernet, as it ended."""
    net = problem.supernet()
    net.load_state_dict(state["net"])
    return net


def table_of(space: str, archs: Sequence[Architecture]) -> list[float]:
    """Test accuracies of architectures by the table."""
    values = benchmarks.load(space).scores(list(archs), COLUMNS[space])
    return [float(value) for value in values]


def some(space: SearchSpace, count: int, purpose: str) -> list[Architecture]:
    """The same architectures for all variants: random ones, or all if there are no more."""
    every = space.enumerate()
    rng = numpy_stream(0, f"benchmarks/{purpose}")
    return [every[i] for i in rng.permutation(len(every))[:count]]


def tau(
    problem: Problem,
    net: Supernet,
    archs: Sequence[Architecture],
    gates: Callable[[Architecture], Gates],
) -> float:
    """Kendall's tau of accuracies in a supernet with those of the table."""
    evaluator = SupernetEvaluator(problem, norms="batch", examples=IMAGES, batch_size=IMAGES)
    found = [evaluator.under(net, gates(arch)).key for arch in archs]
    # Few images give many equal accuracies: the loss decides between them, as in the search.
    place = {key: i for i, key in enumerate(sorted(set(found)))}
    score = np.array([place[key] for key in found], float)
    return float(kendall(np.array(table_of(problem.space.name, archs)), score))


def sized(settings: Settings, seed: int, epochs: int, small: bool) -> Settings:
    """The settings of a run."""
    found = replace(settings, seed=seed, epochs=epochs)
    return replace(found, **SMALL) if small else found


def missing(
    file: Path, keys: Sequence[Mapping[str, Any]], one: Callable[..., dict[str, Any]]
) -> None:
    """Run what is not in the file yet, and keep it."""
    rows = record.rows(file)
    for key in keys:
        if not any(all(row[k] == v for k, v in key.items()) for row in rows):
            begin = time.process_time()
            row = {**key, **one(**key), "cpu_seconds": round(time.process_time() - begin, 1)}
            record.keep(file, row)
            print(json.dumps(row), flush=True)


def compared(
    rows: Sequence[Mapping[str, Any]], figure: str, one: str, other: str
) -> dict[str, float] | None:
    """The mean difference of two variants over the seeds of a space that both have."""
    of = {(r["variant"], r["seed"]): r[figure] for r in rows if figure in r}
    seeds = sorted({seed for _, seed in of if (one, seed) in of and (other, seed) in of})
    if not seeds:
        return None
    return record.interval([of[one, seed] - of[other, seed] for seed in seeds])
