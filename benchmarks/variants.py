"""What scripts share that compare variants of searches in NAS-Bench-201 over seeds on CIFAR-10.

A run directory for each variant and seed, one row for each in `rows.jsonl`; a run that was cut off
goes on, a row that is there is not made again. The table judges, and no search reads it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import record

from morphogen import benchmarks, cost
from morphogen.engine.search.result import SearchResult
from morphogen.engine.search.search import resume, search
from morphogen.engine.search.settings import Settings

SPACE = "nasbench201"
COLUMN = "cifar10_test_200"
SETTINGS = Settings(
    batch_size=64,
    task={"image_size": 16},
    network={"channels": 8, "depth": 1},
    hardware={"threads": 1},
)
"""Supernets of three cells of 8 channels, images of 16 x 16, one thread."""
SPLIT = "images cut from CIFAR-10's training images, at 16 x 16; the table's test accuracies were "
SPLIT += "read by no search"

Row = dict[str, Any]
One = Callable[[str, int, argparse.Namespace], Row]


def asked(doc: str, name: str, *, epochs: int) -> argparse.Namespace:
    """The options of such a script.

    Args:
        doc: its docstring.
        name: of the folder for its runs.
        epochs: of a search; with `--small` 2.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    record.add_data(parser, "cifar10")
    parser.add_argument("--runs", type=Path, default=Path("runs") / name)
    parser.add_argument("--epochs", type=int, default=0, help=f"{epochs}; with --small 2")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=[], help="parts of their names; all")
    parser.add_argument("--small", action="store_true", help="that it works, in some minutes")
    parser.add_argument("--report", action="store_true", help="of what is there; runs nothing")
    options = parser.parse_args()
    options.epochs = options.epochs or (2 if options.small else epochs)
    return options


def collect(options: argparse.Namespace, variants: Sequence[str], one: One) -> list[Row]:
    """Every row that there is, after those were made that were missing and asked for."""
    file = Path(options.runs) / "rows.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    parts = options.variants
    chosen = [v for v in variants if not parts or any(part in v for part in parts)]
    for seed in [] if options.report else options.seeds:
        for variant in chosen:
            if (variant, seed) not in {(r["variant"], r["seed"]) for r in record.rows(file)}:
                begin = time.perf_counter()
                record.keep(file, one(variant, seed, options))
                print(f"{variant}, seed {seed}: {time.perf_counter() - begin:.0f} s", flush=True)
    rows = record.rows(file)
    if options.small:
        print(json.dumps(rows, indent=1))
    return rows


def settings(
    options: argparse.Namespace, seed: int, *, train: int, valid: int, steps: int
) -> Settings:
    """Those of a search; with `--small` of a few hundred images and steps."""
    if options.small:
        train, valid, steps = min(train, 640), min(valid, 320), min(steps, 5)
    split = {"train_images": train, "valid_images": valid}
    made = replace(SETTINGS, seed=seed, epochs=options.epochs, steps_per_epoch=steps)
    return replace(made, split=type(made.split)(**split))


def random_search(settings: Settings, *, networks: int, epochs: int, small: bool) -> Settings:
    """The settings of a random search that trains so many networks for so long."""
    few = (1, 1) if small else (networks, epochs)
    evaluation = replace(settings.evaluation, budget=few[0], epochs=few[1])
    return replace(settings, evaluation=evaluation, steps_per_epoch=0)


def searched(
    config: Any, settings: Settings, variant: str, options: argparse.Namespace
) -> tuple[Path, SearchResult]:
    """The result of a search that is started, gone on with, or read."""
    name = "".join(c if c.isalnum() else "-" for c in variant).lower()
    path = Path(options.runs) / f"{name}-seed{settings.seed}"
    if (path / "config.yaml").exists():
        return path, resume(path)
    return path, search(config, space=SPACE, data=options.data, settings=settings, run=path)


def judged(variant: str, seed: int, found: SearchResult) -> Row:
    """What the table and the counts say of a result, and what the search was, epoch by epoch."""
    table = benchmarks.load(SPACE)
    network = cost.of(found.space, found.architecture)
    history = [h for h in found.history if "candidate" not in h]
    curves = {
        name: [h[name] for h in history if name in h]
        for name in ("skips", "entropy", "train_loss", "valid_loss", "eigenvalue", "sharpness")
        if any(name in h for h in history)
    }
    archs = [found.space.parse(h["architecture"]) for h in history if "architecture" in h]
    if archs:
        curves["table"] = [float(v) for v in table.scores(archs, COLUMN)]
    return {
        "variant": variant,
        "seed": seed,
        "architecture": found.text,
        "table": float(table.scores([found.architecture], COLUMN)[0]),
        "rank": int(table.rank(found.text, COLUMN)),
        "macs": network.macs,
        "params": network.params,
        "skips": sum("skip_connect" in kept for kept in found.architecture.values()),
        "epochs": len(history),
        "cpu_seconds": found.cost["cpu_seconds"],
        "curves": curves,
    }


def summary(
    rows: Sequence[Row], variants: Sequence[str], more: Sequence[str] = ()
) -> dict[str, Any]:
    """Means with intervals of each variant that has rows, its cells, and its mean curves.

    Args:
        rows: all of them.
        variants: in the order of the file.
        more: numbers of a row besides the usual ones.
    """
    figures: dict[str, Any] = {}
    for variant in variants:
        mine = [r for r in rows if r["variant"] == variant]
        if not mine:
            continue
        names = ["table", "rank", "macs", "params", "skips", "epochs", "cpu_seconds", *more]
        figures[variant] = {
            n: record.interval([float(r[n]) for r in mine]) for n in names if n in mine[0]
        }
        figures[variant]["architectures"] = [r["architecture"] for r in mine]
        for name in mine[0]["curves"]:
            several = [r["curves"][name] for r in mine]
            length = min(len(curve) for curve in several)
            means = [sum(c[i] for c in several) / len(several) for i in range(length)]
            figures[variant][f"{name} by epoch"] = [round(m, 4) for m in means]
    return figures


def mean(figures: Mapping[str, Any], variant: str, name: str) -> float:
    """The mean of a number of a variant."""
    return float(figures[variant][name]["mean"])
