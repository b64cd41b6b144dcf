"""A supernet of CIFAR-10 searched on Fashion-MNIST by shifting, against supernets trained afresh.

    python benchmarks/transfer.py --data fashion-mnist:PATH   runs what is missing in --out
    python benchmarks/transfer.py --report                    results/transfer.json
    python benchmarks/transfer.py --data ... --small          of supernets trained with --small

It begins with the supernets that `benchmarks/supernet_shifting.py` has trained, eight seeds of
20,000 steps each. For each seed:
- `transfer`: supernet-shifting --from that supernet on Fashion-MNIST, classifier anew;
- `afresh`: the same with a stage 1 of its own on Fashion-MNIST, as long as CIFAR-10's was;
- `short`: the same with as good as no stage 1: as many steps as the transfer takes.
What is found is trained from scratch for a short while, three times, and measured on
Fashion-MNIST's test images. What decides, fixed before the seeds ran: inherited weights matter
if both the accuracy of the last generation in the supernet and the test accuracy of what is found
are above those of `short` with an interval that excludes 0; if that of the test accuracy lies
within half a point of 0, they do not matter for what is found.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
from supernet_shifting import SETTINGS, SHIFT, run, small, stage_1

from morphogen import spaces
from morphogen.bilevel.optimisers import SGD
from morphogen.core import Architecture
from morphogen.core.config import altered
from morphogen.core.rng import numpy_stream
from morphogen.engine.search.settings import Settings
from morphogen.evaluators.short import ShortTraining
from morphogen.supernets import NetworkSpec
from morphogen.tasks.classification import ImageTask
from morphogen.tasks.problem import Problem

SPACE, SEEDS, RANDOM = "nasbench-macro", tuple(range(8)), 3
CONSTANT = {"shift.lr_end": 0.01}
"""Of the shift, whose rate does not fall: the classifier begins with nothing."""
LENGTHS: dict[str, dict[str, int]] = {
    "transfer": {},
    "afresh": {},
    "short": {"epochs": 1, "steps_per_epoch": 1},
}
EPOCHS, REPEATS = 3, 3
"""Of the training from scratch."""
WITHOUT_LOSS, NEAR = 1.0, 0.5
"""Points of test accuracy: less than the first is no loss, an interval in the second nothing."""


def problem_for(data: str, seed: int, s: Settings) -> Problem:
    task = ImageTask.of(
        data,
        train_images=s.split.train_images,
        valid_images=s.split.valid_images,
        size=16,
        seed=seed,
    )
    spec = NetworkSpec(channels=s.network.channels, depth=s.network.depth, in_channels=1)
    return Problem(spaces.make(SPACE), task, spec, batch_size=s.batch_size, seed=seed)


def tested(problem: Problem, arch: Architecture) -> float:
    """Mean test accuracy in percent of short trainings on the train part; no search goes on."""
    task, values = problem.task, []
    test = task.open_test("judging what transfer found")
    for repeat in range(REPEATS):
        training = ShortTraining(
            problem,
            arch,
            epochs=EPOCHS,
            batch_size=64,
            descent=SGD(lr_end=0.0),
            repetition=repeat,
        )
        training.advance(training.steps)
        values.append(task.value(task.measure(training.net.eval(), task.once(test, 500))))
    return float(np.mean(values))


def cell(seed: int, data: str, sources: Path, out: Path, few: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"seed": seed}
    settings = replace(small().settings if few else SETTINGS, seed=seed)
    problem = problem_for(data, seed, settings)
    config = altered(small().shift if few else altered(SHIFT, {"generations": 6}), CONSTANT)
    for name, length in LENGTHS.items():
        start = {"start": stage_1(sources, seed)} if name == "transfer" else {}
        found = run(
            config,
            out / f"{name}-{seed}",
            space=SPACE,
            data=data,
            settings=replace(settings, **length),
            **start,
        )
        shifting = [r for r in found.history if r.get("phase", "shifting") == "shifting"]
        row[name] = {
            "architecture": found.text,
            "cpu seconds": found.cost["cpu_seconds"],
            "train images": found.cost["train_examples"],
            "supernet accuracy of the choice": shifting[-1]["best_accuracy"],
            "mean of the last generation": shifting[-1]["candidate_accuracy"],
            "mean of the first generation": shifting[0]["candidate_accuracy"],
            "test accuracy": tested(problem, found.architecture),
        }
    rng = numpy_stream(seed, "benchmarks/transfer")
    row["random"] = [tested(problem, problem.space.sample(rng)) for _ in range(RANDOM)]
    return row


def report(rows: list[dict[str, Any]]) -> None:
    figures: dict[str, Any] = {}
    for name in LENGTHS:
        for figure in rows[0][name]:
            if figure != "architecture":
                figures[f"{name}: {figure}"] = record.interval([r[name][figure] for r in rows])
    for figure in ("test accuracy", "mean of the last generation", "cpu seconds"):
        for other in ("afresh", "short"):
            change = [r["transfer"][figure] - r[other][figure] for r in rows]
            figures[f"transfer minus {other}: {figure}"] = record.interval(change)
    figures["random architectures: test accuracy, median"] = record.interval(
        [float(np.median(r["random"])) for r in rows]
    )
    share = float(
        np.mean([r["transfer"]["cpu seconds"] / r["afresh"]["cpu seconds"] for r in rows])
    )
    figures["cost of the transfer, share of afresh"] = share
    loss = figures["transfer minus afresh: test accuracy"]
    gain = figures["transfer minus short: mean of the last generation"]
    found = figures["transfer minus short: test accuracy"]
    good, cheap = loss["low"] > -WITHOUT_LOSS and gain["low"] > 0, share < 0.5
    matter = gain["low"] > 0 and found["low"] > 0
    nothing = max(abs(found["low"]), abs(found["high"])) < NEAR
    decided = (
        "matter for the supernet and for what is found"
        if matter
        else "do not matter for what is found, by half a point"
        if nothing
        else "are not shown to matter for what is found"
    )
    record.write(
        "transfer",
        claim=(
            "A supernet trained on CIFAR-10 serves a search on Fashion-MNIST, with the classifier "
            "drawn anew, as well as one trained afresh there and at a fraction of its cost."
        ),
        system="supernet-shifting, --from",
        command="python benchmarks/transfer.py --data fashion-mnist:PATH",
        seeds=[r["seed"] for r in rows],
        split=(
            "search: 10,000 train and 5,000 search-validation images of Fashion-MNIST's training "
            "images, at 16 x 16; test accuracy: its 10,000 test images, after "
            f"{EPOCHS} epochs of training from scratch, {REPEATS} times, once the search was over"
        ),
        figures=figures,
        published={"paper": "transfer without loss of accuracy (abstract; no figures to be had)"},
        cost={"cpu seconds": sum(r[n]["cpu seconds"] for r in rows for n in LENGTHS), "threads": 1},
        headline=(
            f"test {figures['transfer: test accuracy']['mean']:.2f} %, afresh "
            f"{figures['afresh: test accuracy']['mean']:.2f} %, as many steps without transfer "
            f"{figures['short: test accuracy']['mean']:.2f} %; supernet accuracy of the last "
            f"generation {figures['transfer: mean of the last generation']['mean']:.1f}, "
            f"{figures['afresh: mean of the last generation']['mean']:.1f}, "
            f"{figures['short: mean of the last generation']['mean']:.1f} %; "
            f"{100 * share:.0f} % of the cost of afresh"
        ),
        verdict="shown"
        if good and cheap
        else "partly"
        if cheap and gain["mean"] > 0
        else "not shown",
        why=(
            "'shown' asks for an interval of the test accuracy against afresh above -1 point, one "
            "of the supernet's accuracy against as many steps without transfer above 0, and less "
            f"than half the cost. Inherited weights {decided}: against as many steps without them "
            f"the supernet's last generation gains {gain['mean']:+.2f} points ({gain['low']:+.2f} "
            f"to {gain['high']:+.2f}), the test accuracy of what is found {found['mean']:+.2f} "
            f"({found['low']:+.2f} to {found['high']:+.2f})"
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    record.add_data(parser, "fashion-mnist")
    parser.add_argument("--sources", type=Path, default=Path("runs/supernet-shifting"))
    parser.add_argument("--out", type=Path, default=Path("runs/transfer"))
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS))
    parser.add_argument("--small", action="store_true", help="that it works, in a minute or two")
    parser.add_argument("--report", action="store_true", help="of what is there; runs nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    file = options.out / "cells.jsonl"
    rows = record.rows(file)
    if options.report:
        report(rows)
        return
    for seed in options.seeds:
        if all(r["seed"] != seed for r in rows):
            row = cell(seed, options.data, options.sources, options.out, options.small)
            record.keep(file, row)
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
