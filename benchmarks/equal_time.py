"""What is there to be found: cells and sizes beside the ResNet cell, trained for the same time.

    python benchmarks/equal_time.py                         results/resnet-by-table.json; seconds
    python benchmarks/equal_time.py --data cifar10:PATH     runs what is missing under --runs
    python benchmarks/equal_time.py --report                results/equal-time.json
    python benchmarks/equal_time.py --data cifar10:PATH --small   that it works, in some minutes

A search takes time that the reference could train in. What it may cost at most is what the best of
the space is better by, where both train for as long. So, on 4,000 of CIFAR-10's training images,
everything below trains for `--seconds` of CPU time of one thread (as many epochs as are had in it
by the pace of two), and is measured once on the test images:

- reference: the ResNet cell, three of 16 to 64 channels on images of 32 x 32;
- cells: of NAS-Bench-201's table, which no search would know, the best ones, and the best ones of
  at most half of the reference's FLOPs, at the reference's sizes;
- sizes: the ResNet cell at other image sizes, channels and cells in a row;
- AnyNet: residual networks at those pixels, one choice at a time.

The same seeds train each. Rows are kept as they are made; the same command goes on. Without data
the table alone is asked: which cells are better than the ResNet cell after equal epochs, and what
they cost.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import planned_sets
import pyarrow.parquet as parquet
import record
import tabled

import morphogen
from morphogen import Training, cost
from morphogen.spaces import anynet
from morphogen.spaces.nasbench201 import RESNET
from morphogen.supernets import NetworkSpec

IMAGES, FROM, SECONDS = 4000, 10_000, 300
COLUMN = "cifar10_test_200"
COLUMNS = (COLUMN, "cifar100_test_200", "imagenet16_120_test_200")
SIDE, CHANNELS, DEPTH = 32, 16, 1
SIZES = (
    (32, 8, 1), (32, 24, 1), (32, 32, 1), (32, 16, 2), (32, 16, 3), (32, 8, 3),
    (24, 16, 1), (24, 32, 1), (16, 16, 1), (16, 32, 1), (16, 64, 1), (16, 32, 3),
)  # fmt: skip
STRIDED = {"stem": "conv_3x3_stride_2"}
DEEPER = {"depth_1": "2", "depth_2": "2", "depth_3": "2"}
LATE = {"depth_1": "1", "depth_2": "2", "depth_3": "3"}
ANYNETS: tuple[tuple[int, dict[str, str]], ...] = (
    (8, {}), (16, {}), (16, STRIDED), (32, STRIDED), (64, STRIDED), (32, {"stem": "patches_2x2"}),
    (32, STRIDED | DEEPER), (16, STRIDED | DEEPER), (8, DEEPER), (32, STRIDED | LATE),
    (32, STRIDED | {"squeeze": "1/4"}), (64, STRIDED | {"block": "bottleneck"}),
    (32, STRIDED | {"block": "inverted"}), (32, STRIDED | {"width_3": "1/2"}),
    (32, STRIDED | {"width_1": "1/2", "width_3": "2"}),
)  # fmt: skip
SHARES = {"of any cost": 1e9, "of half the cost": 0.5}
EACH = 3
"""Cells of each share."""


@dataclass(frozen=True)
class Variant:
    """One network, and its inputs."""

    name: str
    text: str = RESNET
    space: str = "nasbench201"
    side: int = SIDE
    channels: int = CHANNELS
    depth: int = DEPTH


_COUNTED: dict[tuple[int, ...], int] = {}


def flops(text: str) -> int:
    """Of a cell at the reference's sizes: those of its convolutions, wherever they stand."""
    kinds = tuple(text.count(f"nor_conv_{size}") for size in ("1x1", "3x3"))
    if kinds not in _COUNTED:
        arch, spec = tabled.SPACE.parse(text), NetworkSpec(channels=CHANNELS, depth=DEPTH)
        _COUNTED[kinds] = cost.of(tabled.SPACE, arch, spec, (3, SIDE, SIDE)).flops
    return _COUNTED[kinds]


def variants() -> Iterator[Variant]:
    """All of them, the reference first."""
    yield Variant("reference")
    column = tabled.column(COLUMN)
    best, most = sorted(column, key=lambda text: -column[text]), flops(RESNET)
    for words, share in SHARES.items():
        found: list[str] = []
        for text in best:
            if flops(text) <= share * most and text != RESNET:
                found.append(text)
                yield Variant(f"cell {words}, {len(found)}", text)
            if len(found) == EACH:
                break
    for side, channels, depth in SIZES:
        name = f"{side} px, {channels} channels, depth {depth}"
        yield Variant(name, side=side, channels=channels, depth=depth)
    for channels, changed in ANYNETS:
        arch = dict(part.split("=") for part in anynet.RESNET.split(";")) | changed
        words = ", ".join(f"{k} {v}" for k, v in changed.items()) or "ResNet"
        text = ";".join(f"{k}={v}" for k, v in arch.items())
        yield Variant(f"anynet, {channels} channels, {words}", text, "anynet", channels=channels)


def prepared(options: argparse.Namespace) -> Path:
    """The images as a file: some of the training part, and the whole test part."""
    file: Path = options.runs / "images.npz"
    if not file.exists():
        source = Path(options.data.removeprefix("cifar10:"))
        some = {"train": (FROM, options.images), "test": (0, 200 if options.small else None)}
        arrays = {}
        for part, (at, size) in some.items():
            (held,) = source.glob(f"**/{part}-*.parquet")
            rows = parquet.read_table(held).slice(at, size).to_pylist()
            arrays[f"x_{part}"] = np.stack([planned_sets.picture(row["img"]) for row in rows])
            arrays[f"y_{part}"] = np.array([row["label"] for row in rows])
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, **arrays)
    return file


def one(variant: Variant, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """A training for about so many seconds of CPU time."""

    def fit(epochs: int, name: str) -> Any:
        path = options.runs / f"{name}-seed{seed}"
        if (path / "config.yaml").exists():
            return morphogen.resume(path)
        training = Training(
            epochs=epochs,
            batch_size=64,
            seed=seed,
            held_out=0.0,
            lr=0.05,
            task={"image_size": variant.side},
            network={"channels": variant.channels, "depth": variant.depth},
            hardware={"threads": 1},
        )
        data = str(prepared(options))
        return morphogen.train(
            variant.text, space=variant.space, data=data, training=training, run=path
        )

    name = variant.name.replace(" ", "-").replace(",", "").replace("/", ":")
    each = fit(2, f"{name}-pace").history[-1]["cpu_seconds"]
    found = fit(max(2, round(options.seconds / each)), name)
    return {
        "variant": variant.name,
        "seed": seed,
        "text": variant.text,
        "test": found.test["mean"],
        "epochs": len(found.history),
        "params": found.cost["params"],
        "macs": found.cost["macs"],
        "cpu_seconds": found.cost["cpu_seconds"],
    }


def shares(column: Mapping[str, float], edges: int) -> float:
    """The share of better cells among those that differ from the ResNet cell in so many edges."""

    def changed(text: str) -> int:
        return sum(a != b for a, b in zip(text.split("|"), RESNET.split("|"), strict=True))

    near = [value for text, value in column.items() if changed(text) == edges]
    return sum(value > column[RESNET] for value in near) / len(near)


def table() -> None:
    """results/resnet-by-table.json: what is better than the ResNet cell, and what that costs."""
    mine, figures, said = flops(RESNET), dict[str, Any](), []
    for name in COLUMNS:
        column = tabled.column(name)
        better = [text for text, value in column.items() if value > column[RESNET]]
        costs = [flops(text) / mine for text in better]
        figures[name] = {
            "ResNet cell": column[RESNET],
            "best cell": max(column.values()),
            "better cells": len(better),
            "of these at most as dear in FLOPs": sum(c <= 1 for c in costs),
            "points that the best of these is above it": max(
                (
                    column[text] - column[RESNET]
                    for text, c in zip(better, costs, strict=True)
                    if c <= 1
                ),
                default=0.0,
            ),
            "FLOPs of the cheapest of them, the ResNet cell's as 1": min(costs),
            "their median FLOPs likewise": float(np.median(costs)),
            "share of better cells": {
                "of all": len(better) / len(column),
                **{f"of those that differ in {k} edges": shares(column, k) for k in (1, 2, 3)},
            },
        }
        found = figures[name]
        said.append(
            f"{name} {len(better)}, of which {found['of these at most as dear in FLOPs']} at most "
            "as dear, by up to "
            f"{found['points that the best of these is above it']:.1f} points; median FLOPs "
            f"{found['their median FLOPs likewise']:.2f} times its own"
        )
    few = all(f["of these at most as dear in FLOPs"] < 156 for f in figures.values())
    record.write(
        "resnet-by-table",
        claim="Fewer than one in a hundred cells of NAS-Bench-201 are better than the ResNet cell "
        "after equal epochs without needing more FLOPs: there is little for a search to find.",
        system="search without a method",
        headline=f"cells of 15,625 that are better by the table: {'; '.join(said)}",
        verdict="shown" if few else "not shown",
        why="all cells of the table are counted; single numbers, means over the table's seeds",
        command="python benchmarks/equal_time.py",
        seeds=[],
        split="test accuracies of the table after 200 epochs; FLOPs at 16 channels and 32 x 32",
        figures=figures,
        published={"figure": "none", "source": "no paper: a question of this package"},
        cost={"cpu_seconds": 0, "threads": 1},
    )


def report(rows: Sequence[dict[str, Any]]) -> None:
    """results/equal-time.json of what is there."""
    of: dict[str, dict[int, dict[str, Any]]] = {}
    for row in rows:
        of.setdefault(row["variant"], {})[row["seed"]] = row
    reference = of["reference"]
    figures: dict[str, Any] = {"unit": "test accuracy in %"}
    gains = {}
    for name, mine in of.items():
        figures[name] = {
            "test": record.interval([r["test"] for r in mine.values()]),
            "epochs": [r["epochs"] for r in mine.values()],
        }
        both = sorted(mine.keys() & reference.keys())
        if name != "reference":
            gains[name] = record.interval([mine[s]["test"] - reference[s]["test"] for s in both])
    figures["minus the reference, of the same seed"] = gains
    figures["rows"] = list(rows)

    def best(kind: str) -> str:
        names = [name for name in gains if name.startswith("cell") == (kind == "cell")]
        return max(names, key=lambda name: gains[name]["mean"])

    cell, size = best("cell"), best("size")
    clear = [name for name, gain in gains.items() if gain.get("low", 0) > 0]
    record.write(
        "equal-time",
        claim="There are networks better than the ResNet cell's that are trained for as long: what "
        "a search can find at most.",
        system="search without a method",
        headline=f"points above the ResNet cell at equal time, 4,000 images: {cell} "
        f"{record.said(gains[cell])}; {size} {record.said(gains[size])}",
        verdict="shown" if clear else "not shown",
        why=f"above, the interval free of 0 (the best of several, so flattered): "
        f"{', '.join(clear) or 'none'}",
        command="python benchmarks/equal_time.py --data cifar10:PATH",
        seeds=sorted({row["seed"] for row in rows}),
        split=f"{IMAGES} of CIFAR-10's training images; measured once on its test images",
        figures=figures,
        published={"figure": "none", "source": "no paper: a question of this package"},
        cost={
            "cpu_seconds": round(sum(row["cpu_seconds"] for row in rows)),
            "threads": 1,
            "runs": len(rows),
        },
    )


def main() -> None:
    """Run what is missing, or report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", metavar="cifar10:PATH", help="trains on CIFAR-10")
    parser.add_argument("--runs", type=Path, default=Path("runs/equal-time"))
    parser.add_argument("--seconds", type=float, default=0, help=f"{SECONDS}; with --small 5")
    parser.add_argument("--images", type=int, default=IMAGES, help="to train with; 4000")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=[""], help="parts of their names; all")
    parser.add_argument("--small", action="store_true", help="that it works, in some minutes")
    parser.add_argument("--report", action="store_true", help="of what is there; runs nothing")
    options = parser.parse_args()
    options.seconds = options.seconds or (5 if options.small else SECONDS)
    file = options.runs / "rows.jsonl"
    if options.report:
        report(record.rows(file))
        return
    if not options.data:
        table()
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for variant in variants():
            done = {(r["variant"], r["seed"]) for r in record.rows(file)}
            wanted = any(part in variant.name for part in options.variants)
            if wanted and (variant.name, seed) not in done:
                row = one(variant, seed, options)
                record.keep(file, row)
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
