"""DARTS against DARTS-PT in S2, S4 and NAS-Bench-201 on real CIFAR-10, from the same supernets.

    python benchmarks/darts_pt.py --data cifar10:../shared/data/cifar10
    python benchmarks/darts_pt.py --report

Every run trains a supernet (alternating steps, or blank: alpha near zero) and then selects with
tuning between the decisions. What the magnitude of alpha would choose is the architecture after the
last epoch of the first phase of the same run. Every cell found is then trained for a short while
from scratch on the train part and scored on the search-validation part; those of NAS-Bench-201 are
looked up. Runs are run directories
under --out, one after the other on one thread; one that was cut off is resumed, a finished one is
read, and so are trainings. --report computes results/darts-pt.json from these files alone.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import record

from morphogen import benchmarks, spaces
from morphogen.bilevel.state import SGD, Adam
from morphogen.core import Architecture
from morphogen.engine.rundir import RunDirectory
from morphogen.engine.search import resume, search
from morphogen.engine.settings import Settings
from morphogen.evaluators.training import TrainingEvaluator
from morphogen.methods.darts_pt import DARTSPTConfig
from morphogen.spaces import SearchSpace
from morphogen.supernets import NetworkSpec
from morphogen.tasks import ImageTask
from morphogen.tasks.problem import Problem

SPACES = ("darts-s2", "darts-s4")
SUPERNETS = ("darts", "blank")
SEEDS = 2
SETTINGS = Settings(
    epochs=20,
    steps_per_epoch=30,
    batch_size=64,
    channels=8,
    depth=3,
    image_size=16,
    train_images=5000,
    valid_images=5000,
    threads=1,
    diagnostic_images=0,
)
METHOD = DARTSPTConfig(
    interval=1,
    selection_images=500,
    alpha=Adam(lr=0.01),
    weights=SGD(nesterov=False, weight_decay=3e-4),
)
TABLE, TABLE_SEEDS = "nasbench201", 3
TABLE_SETTINGS = replace(
    SETTINGS, epochs=12, steps_per_epoch=160, depth=1, train_images=12500, valid_images=12500
)
"""As `benchmarks/idarts_vs_darts.py` trains DARTS, which loses accuracy there."""
TABLE_METHOD = replace(METHOD, selection_images=1000, weights=SGD())
TRAINING_EPOCHS = 4
WAYS = ("magnitude", "perturbation")
METRIC = "cifar10_test_200"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="cifar10:../shared/data/cifar10")
    parser.add_argument("--out", type=Path, default=Path("runs/darts-pt"))
    parser.add_argument("--spaces", nargs="*", default=[*SPACES, TABLE])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to try the script")
    parser.add_argument("--report", action="store_true", help="write the result of finished runs")
    options = parser.parse_args()
    if options.report:
        report(options.out)
        return
    settings = SETTINGS
    if options.quick:
        settings = replace(
            settings, epochs=1, steps_per_epoch=2, channels=4, depth=3, batch_size=16
        )
    for seed in range(SEEDS):
        for name in [n for n in SPACES if n in options.spaces]:
            for supernet in SUPERNETS:
                one(name, supernet, replace(settings, seed=seed), options)
    for seed in range(TABLE_SEEDS if TABLE in options.spaces else 0):
        path = options.out / f"{TABLE}-darts-seed{seed}"
        if (path / "config.yaml").exists():
            resume(path)
        else:
            chosen_settings = replace(TABLE_SETTINGS, seed=seed)
            if options.quick:
                chosen_settings = replace(chosen_settings, epochs=1, steps_per_epoch=2)
            search(TABLE_METHOD, space=TABLE, data=options.data, settings=chosen_settings, run=path)


def one(name: str, supernet: str, settings: Settings, options: argparse.Namespace) -> None:
    """A run, and the trainings of what both ways find in it; skipped where they are there."""
    start = time.perf_counter()
    path = options.out / f"{name}-{supernet}-seed{settings.seed}"
    if (path / "config.yaml").exists():
        resume(path)
    else:
        config = replace(
            METHOD,
            supernet=supernet,
            selection_images=32 if options.quick else METHOD.selection_images,
        )
        search(config, space=name, data=options.data, settings=settings, run=path)
    space = spaces.make(name)
    for way, arch in chosen(space, path).items():
        trained(space, arch, way, path, settings, options)
    print(f"{path.name}: {time.perf_counter() - start:.0f} s", flush=True)


def chosen(space: SearchSpace, path: Path) -> dict[str, Architecture]:
    """What the magnitude of alpha and what perturbation choose, from the supernet of a run."""
    rows = RunDirectory(path).metrics()
    found = {"perturbation": space.parse(rows[-1]["architecture"])}
    if "blank" not in path.name:  # where alpha says nothing
        trained = [row for row in rows if row["phase"] == "supernet"]
        found["magnitude"] = space.parse(trained[-1]["architecture"])
    return found


def trained(
    space: SearchSpace,
    arch: Architecture,
    way: str,
    path: Path,
    settings: Settings,
    options: argparse.Namespace,
) -> None:
    """Train a cell from scratch and write its search-validation accuracy."""
    file = path.with_name(f"{path.name}-{way}.json")
    if file.exists():
        return
    task = ImageTask.of(
        options.data,
        train_images=settings.train_images,
        valid_images=settings.valid_images,
        size=settings.image_size or None,
        seed=settings.seed,
    )
    spec = NetworkSpec(channels=settings.channels, depth=settings.depth, classes=len(task.classes))
    problem = Problem(space, task, spec, batch_size=settings.batch_size, seed=settings.seed)
    cpu = time.process_time()
    epochs = 1 if options.quick else TRAINING_EPOCHS
    accuracy = TrainingEvaluator(problem, epochs, settings.batch_size)([arch])[0]
    seconds = time.process_time() - cpu
    file.write_text(json.dumps({"accuracy": accuracy, "cpu_seconds": seconds}))


def report(out: Path) -> None:
    """Count operations and write the result file."""
    figures: dict[str, Any] = {}
    cpu = 0.0
    for name in SPACES:
        space = spaces.make(name)
        operations = space.choices[0].options
        for supernet in SUPERNETS:
            paths = sorted(
                p for p in out.glob(f"{name}-{supernet}-seed*") if (p / "result.json").exists()
            )
            cpu += sum(row["cpu_seconds"] for p in paths for row in RunDirectory(p).metrics())
            for way in WAYS:
                archs = [chosen(space, p).get(way) for p in paths]
                if not archs or archs[0] is None:
                    continue
                files = [json.loads(p.with_name(f"{p.name}-{way}.json").read_text()) for p in paths]
                cpu += sum(f["cpu_seconds"] for f in files)
                figures[f"{name}, {supernet} supernet, {way}"] = {
                    "operations of 16": {
                        o: [count(a, o) for a in archs if a is not None] for o in operations
                    },
                    "operations of 8 in normal cells": {
                        o: [count(a, o, "normal") for a in archs if a is not None]
                        for o in operations
                    },
                    "short training, search-validation accuracy": record.interval(
                        [f["accuracy"] for f in files]
                    ),
                    "architectures": [space.format(a) for a in archs if a is not None],
                }
    figures |= looked_up(out)
    seeds = sorted(
        {int(p.parent.name.rpartition("seed")[2]) for p in out.glob("*-seed*/result.json")}
    )
    verdict, why, headline = judge(
        figures, len(list(out.glob("darts-s*-darts-*/result.json"))) // 2
    )
    s = SETTINGS
    record.write(
        "darts-pt",
        claim=(
            "From the same supernets, choosing by perturbed accuracy (DARTS-PT) avoids the skip "
            "connections (S2) and the noise (S4) that the magnitude of alpha (DARTS) chooses "
            "(CIFAR-10, reduced budget)."
        ),
        system="darts-pt, scoring",
        command="python benchmarks/darts_pt.py && python benchmarks/darts_pt.py --report",
        seeds=seeds,
        split=(
            f"{s.train_images} + {s.valid_images} of CIFAR-10's training images at "
            f"{s.image_size}x{s.image_size}: train part for weights, search-validation part for "
            "alpha, perturbed accuracies and the accuracy after the short training; no test data"
        ),
        figures={
            "budget": f"C={s.channels}, {s.depth} cells, {s.epochs} epochs of {s.steps_per_epoch} "
            f"steps for the supernet, 17 of selection (interval 1, {METHOD.selection_images} "
            f"images a score), short trainings of {TRAINING_EPOCHS} epochs; the paper: C=16, 8 "
            "cells, 50 and 81 epochs, 600 of retraining; alpha lr 0.01 for 3e-4",
            **figures,
        },
        published={
            "figure": "CIFAR-10 test error, DARTS / DARTS-PT / DARTS-PT with fixed alpha: S2 4.85 "
            "/ 2.79 / 2.59, S4 7.20 / 2.64 / 2.58; released cells: S4 16 of 16 sep_conv_3x3, S2 9 "
            "to 14",
            "source": "arXiv 2108.04392, table 4, and its repository ruocwang/darts-pt",
        },
        cost={"cpu_seconds": round(cpu), "threads": 1},
        headline=headline,
        verdict=verdict,
        why=why,
    )
    print(f"{verdict}: {why}")


def looked_up(out: Path) -> dict[str, Any]:
    """What the table of NAS-Bench-201 says of both ways to choose, seed by seed."""
    table = benchmarks.load(TABLE)
    paths = sorted(p for p in out.glob(f"{TABLE}-*") if (p / "result.json").exists())
    if not paths:
        raise SystemExit(f"{out} has no finished run in {TABLE}")
    found: dict[str, Any] = {}
    scores = {}
    for way in WAYS:
        archs = [chosen(table.space, p)[way] for p in paths]
        scores[way] = table.scores(archs, METRIC)
        found[f"{TABLE}, darts supernet, {way}"] = {
            "table test accuracy": record.interval(scores[way]),
            "of each seed": np.round(scores[way], 2).tolist(),
            "rank of 15625": [table.rank(a, METRIC) for a in archs],
            "skip connections of 6": [count(a, "skip_connect") for a in archs],
            "architectures": [table.space.format(a) for a in archs],
        }
    gain = scores[WAYS[1]] - scores[WAYS[0]]
    found[f"{TABLE}: gain of perturbation"] = record.interval(gain)
    found[f"{TABLE}: CPU seconds"] = round(
        sum(row["cpu_seconds"] for p in paths for row in RunDirectory(p).metrics())
    )
    return found


def count(arch: Architecture, operation: str, cell: str = "") -> int:
    """How many of the kept edges have the operation."""
    return sum(operation in kept for name, kept in arch.items() if name.startswith(cell))


def judge(figures: Mapping[str, Any], seeds: int) -> tuple[Any, str, str]:
    """Shown: less skip and noise, and better cells, in S2 and S4, and a gain by the table."""
    fewer, better, parts = [], [], []
    for name, weak in (("darts-s2", "skip_connect"), ("darts-s4", "noise")):
        numbers, accuracy = {}, {}
        for label in figures:
            if label.startswith(name):
                numbers[label] = float(np.mean(figures[label]["operations of 16"][weak]))
                accuracy[label] = figures[label]["short training, search-validation accuracy"][
                    "mean"
                ]
        old, new = (f"{name}, darts supernet, {way}" for way in WAYS)
        fewer.append(numbers[new] < numbers[old])
        better.append(accuracy[new] > accuracy[old])
        words = [
            f"{label.removeprefix(name + ', ')} {numbers[label]:.1f} ({accuracy[label]:.1f} %)"
            for label in numbers
        ]
        parts.append(f"{name}, {weak} of 16 edges: {'; '.join(words)}")
    gain = figures[f"{TABLE}: gain of perturbation"]
    tabled = [figures[f"{TABLE}, darts supernet, {way}"]["of each seed"] for way in WAYS]
    parts.append(
        f"{TABLE}, table test accuracy: magnitude {tabled[0]}, perturbation {tabled[1]} %, gain "
        f"{gain['mean']:+.2f} ({gain['low']:+.2f} to {gain['high']:+.2f})"
    )
    text = ". ".join(parts)
    both = all(fewer) and all(better)
    some = any(fewer) or any(better) or gain["mean"] > 0
    verdict = "shown" if both and gain["low"] > 0 else "partly" if some else "not shown"
    why = (
        f"{text} (in brackets the accuracy after the short training). Reduced budget; seeds in S2 "
        f"and S4: {seeds}, in {TABLE}: {len(tabled[0])}."
    )
    if not any(fewer):
        why += (
            " In S2 and S4 DARTS itself keeps no more of them than perturbation does: 600 steps of "
            "small supernets are probably too few for the collapse that the paper mends."
        )
    return verdict, why, text


if __name__ == "__main__":
    main()
