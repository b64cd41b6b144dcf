"""What loading and augmentation cost beside a search step: medians of many, one core.

    python benchmarks/data_path.py

A DARTS step draws two batches; its time is that of one weight step and one alpha step. CPU time of
this process, so that other work on the machine disturbs little.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import record
import torch

from morphogen import spaces
from morphogen.bilevel.optimisers import SGD
from morphogen.methods.darts import DARTS, DARTSConfig
from morphogen.supernets import NetworkSpec
from morphogen.tasks.classification import Augment, ImageTask
from morphogen.tasks.problem import Clock, Problem

LIMIT = 0.05
SETTINGS = {
    "smallest search (C=8, N=1, 1x16x16)": (16, NetworkSpec(channels=8, depth=1, in_channels=1)),
    "C=16, N=1, 1x32x32": (32, NetworkSpec(channels=16, depth=1, in_channels=1)),
}


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Median CPU time of a call."""
    times = []
    for _ in range(repeats + 3):
        start = time.process_time()
        call()
        times.append(1000 * (time.process_time() - start))
    return statistics.median(times[3:])


def main() -> None:
    torch.set_num_threads(1)
    started = time.perf_counter()
    figures: dict[str, dict[str, float]] = {}
    for name, (size, spec) in SETTINGS.items():
        task = ImageTask.of("fashion-mnist", size=size, augment=Augment(cutout=size // 2))
        problem = Problem(spaces.make("nasbench201"), task, spec, batch_size=64)
        method = DARTS(DARTSConfig(weights=SGD()))
        state = method.init(problem)

        def batches(problem: Problem = problem) -> None:
            problem.batch("train")
            problem.batch("valid")

        def step(problem: Problem = problem, method: DARTS = method, state: object = state) -> None:
            method.step(state, problem, Clock(0, 1, 0, 1))  # type: ignore[arg-type]

        data, whole = milliseconds(batches, 200), milliseconds(step, 20)
        figures[name] = {
            "two batches, ms": round(data, 3),
            "step with them, ms": round(whole, 1),
            "share": round(data / whole, 4),
        }
    worst = max(row["share"] for row in figures.values())
    record.write(
        "data-path",
        claim="Loading and augmentation (crop, flip, cutout) take at most 5 % of a search step.",
        system="tasks",
        command="python benchmarks/data_path.py",
        seeds=[0],
        split="embedded Fashion-MNIST, training images",
        figures=figures,
        published={"figure": "at most 5 %", "source": "the house's own requirement"},
        cost={"seconds": round(time.perf_counter() - started), "threads": 1},
        headline=f"at most {100 * worst:.1f} % (batch 64, first-order DARTS step)",
        verdict="shown" if worst <= LIMIT else "not shown",
        why=f"the largest share is {100 * worst:.1f} %",
    )
    for name, row in figures.items():
        print(name, row)


if __name__ == "__main__":
    main()
