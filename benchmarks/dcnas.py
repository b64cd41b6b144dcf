"""DC-NAS against random selection at equal training cost, on real CIFAR-10, judged by the table."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from morphogen import spaces
from morphogen.bilevel.state import SGD
from morphogen.core import Architecture
from morphogen.core.rng import numpy_stream
from morphogen.evaluators.short import ShortTraining
from morphogen.evaluators.traces import train_traced
from morphogen.supernets import NetworkSpec
from morphogen.tasks import ImageTask
from morphogen.tasks.problem import Problem

SPACE = spaces.make("nasbench201")
EARLY, EPOCHS, BATCH = 60, 4, 64
SGD_USED = SGD(lr=0.05, lr_end=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="cifar10:../shared/data/cifar10")
    parser.add_argument("--runs", type=Path, default=Path("runs/dcnas"))
    parser.add_argument("--cells", type=int, default=72)
    options = parser.parse_args()
    torch.set_num_threads(1)
    train(options)


# -- training --------------------------------------------------------------------------------------


def cells(count: int) -> Iterator[Architecture]:
    """Different connected cells, uniformly; the first ones are the same for every count."""
    rng, seen = numpy_stream(0, "dcnas/cells"), set[Architecture]()
    while len(seen) < count:
        arch = SPACE.sample(rng)
        if arch not in seen and not SPACE.remarks(arch):
            seen.add(arch)
            yield arch


def train(options: argparse.Namespace) -> None:
    """Train every cell once, early and full, unless its line is there already."""
    task = ImageTask.of(options.data, train_images=6400, valid_images=2000, size=16)
    problem = Problem(SPACE, task, NetworkSpec(channels=8, depth=1), batch_size=BATCH)
    file = options.runs / "cells.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    known = {row["cell"] for row in read(file)}
    with task.sealed("the trainings"), file.open("a", encoding="utf-8") as out:
        for arch in cells(options.cells):
            if SPACE.format(arch) not in known:
                out.write(json.dumps(trained(problem, arch)) + "\n")
                out.flush()


def trained(problem: Problem, arch: Architecture) -> dict[str, Any]:
    """Early and full search-validation accuracy of one cell, and its traces until the early one."""
    began = time.process_time()
    training = ShortTraining(problem, arch, epochs=EPOCHS, batch_size=BATCH, sgd=SGD_USED)
    traces = train_traced(training, EARLY, ["params", "features"])
    early, early_seconds = training.accuracy(), time.process_time() - began
    training.advance(training.steps)
    return {
        "cell": SPACE.format(arch),
        "early": early,
        "full": training.accuracy(),
        "steps": [EARLY, training.steps],
        "traces": {kind: trace.tolist() for kind, trace in traces.items()},
        "cpu_seconds": [round(early_seconds, 2), round(time.process_time() - began, 2)],
    }


def read(file: Path) -> list[dict[str, Any]]:
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [json.loads(line) for line in lines]


if __name__ == "__main__":
    main()
