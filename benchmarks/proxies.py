"""Zero-cost proxies against the NAS-Bench-201 table, on random cells at the benchmark's full size.

    python benchmarks/proxies.py             scores cells until --minutes are over; again: goes on
    python benchmarks/proxies.py --report    results/proxies-nasbench201.json from what was scored

One batch of real CIFAR-10 training images without augmentation, the same for all cells; networks
with 16 channels and 5 cells per stage, default initialisation, one draw for each cell, which all
proxies share. One thread. A line of --out is one group of proxies of one cell:

- cheap: those that share one forward pass, synflow, sizes;
- dear: nwot in eval mode, zen, ntk, grasp;
- thin: TE-NAS's two on the small networks that they are meant for;
- plain 1 to 4: `plain` alone, each with weights and a batch of 64 of its own: how much of a score
  is the cell's, and what remains if the draws are averaged.

The first --first cells are scored by all groups, then all cells by the cheap ones, then the rest.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch

from morphogen import benchmarks, spaces
from morphogen.core import Architecture
from morphogen.core.ranking import Estimate, ranking, spearman
from morphogen.proxies import PROXIES, rank_sum, score_architecture
from morphogen.supernets import NetworkSpec
from morphogen.tasks.classification import ImageTask

SPACE, COLUMN = "nasbench201", "cifar10_test_200"
FULL = NetworkSpec(channels=16, depth=5)
SEED = 1
"""Of the sample of cells, the batch and the weights."""


@dataclass(frozen=True)
class Group:
    """Proxies that are computed together, on networks of one size."""

    proxies: tuple[str, ...]
    spec: NetworkSpec = FULL
    suffix: str = ""
    """Added to the proxies' names."""
    draw: int = 0
    """Another draw of weights and batch (of 64 images); 0: those of all."""


GROUPS: Mapping[str, Group] = {
    "cheap": Group(
        (
            *("nwot", "jacob_cov", "epe_nas", "snip", "grad_norm", "plain", "fisher"),
            *("synflow", "l2_norm", "params", "flops"),
        )
    ),
    "dear": Group(("nwot_eval", "zen", "ntk", "grasp")),
    "thin": Group(("ntk",), NetworkSpec(channels=16, depth=1), " (C=16, N=1)"),
    "regions": Group(
        ("linear_regions",), NetworkSpec(channels=1, depth=1, in_channels=1), " (C=1, N=1, grey)"
    ),
    **{f"plain {i}": Group(("plain",), suffix=f" (draw {i})", draw=i) for i in range(1, 5)},
}
DRAWS = [f"plain (draw {i})" for i in range(1, 5)]
MEAN = "plain (mean of the draws)"

PUBLISHED: Mapping[str, tuple[float | None, float | None]] = {
    "nwot": (None, 0.77),
    "flops": (None, 0.69),
    "jacob_cov": (0.731, 0.75),
    "zen": (None, 0.35),
    "params": (None, 0.72),
    "l2_norm": (None, 0.68),
    "synflow": (0.737, 0.73),
    "snip": (0.596, 0.58),
    "grad_norm": (0.594, 0.58),
    "epe_nas": (None, 0.70),
    "fisher": (0.360, 0.50),
    "grasp": (0.514, 0.51),
    "plain": (None, -0.26),
}
"""Spearman: Abdelfattah et al. (test accuracy, all cells, absolute), NAS-Bench-Suite-Zero
(validation accuracy, 1000 cells, signed)."""

BETTER = (0.5, 0.1)
"""Shares of the cells, the best by accuracy, in which the order is looked at, too."""

CLOSE = 0.10
"""A correlation agrees with a published one if it is so near."""


def cells(count: int) -> list[Architecture]:
    """A random sample of different cells."""
    every = spaces.make(SPACE).enumerate()
    chosen = np.random.default_rng(SEED).permutation(len(every))[:count]
    return [every[i] for i in chosen]


def plan(count: int, first: int) -> Iterator[tuple[int, str]]:
    """What to score, in order: (cell, group)."""
    for cell in range(min(first, count)):
        for group in GROUPS:
            yield cell, group
    for cell in range(first, count):
        yield cell, "cheap"
    for cell in range(first, count):
        for group in GROUPS:
            if group != "cheap" and not GROUPS[group].draw:
                yield cell, group


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The lines of the record; a last one that was cut off is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


def score(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    began = time.monotonic()
    settings = {"batch": options.batch, "seed": SEED, "torch": str(torch.__version__)}
    rows = rows_of(options.out)
    if rows and rows[0]["settings"] != settings:
        raise SystemExit(f"{options.out} has settings {rows[0]['settings']}, not {settings}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    kept = "".join(json.dumps(row) + "\n" for row in rows)
    options.out.write_text(kept or json.dumps({"settings": settings}) + "\n", encoding="utf-8")
    done = {(row["cell"], row["group"]) for row in rows[1:]}
    space, sample = spaces.make(SPACE), cells(options.cells)
    task = ImageTask.of(options.data, seed=0)
    stream = task.stream(
        "train", options.batch, torch.Generator().manual_seed(SEED), augmented=False
    )
    batch = stream.next()
    others = {
        group.draw: task.stream(
            "train", 64, torch.Generator().manual_seed(SEED + group.draw), augmented=False
        ).next()
        for group in GROUPS.values()
        if group.draw
    }
    with options.out.open("a", encoding="utf-8") as out:
        for cell, name in plan(options.cells, options.first):
            if (cell, name) in done:
                continue
            if time.monotonic() - began > 60 * options.minutes:
                break
            group, cpu = GROUPS[name], time.process_time()
            mine, seed = others.get(group.draw, batch), SEED + group.draw
            images = mine.x.mean(1, keepdim=True) if group.spec.in_channels == 1 else mine.x
            found = score_architecture(
                group.proxies, space, sample[cell], mine._replace(x=images), group.spec, seed
            )
            row = {
                "cell": cell,
                "group": name,
                "architecture": space.format(sample[cell]),
                "scores": {n: s if math.isfinite(s) else None for n, s in found.items()},
                "cpu_seconds": round(time.process_time() - cpu, 4),
            }
            out.write(json.dumps(row) + "\n")
            out.flush()
            if cell % 50 == 0:
                minutes = (time.monotonic() - began) / 60
                print(f"{name} of cell {cell}, {minutes:.1f} minutes", flush=True)


# -- the report ------------------------------------------------------------------------------------


def columns(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Proxy -> architecture -> score; minus infinity where there is none."""
    found: dict[str, dict[str, float]] = {}
    for row in rows[1:]:
        for name, value in row["scores"].items():
            label = name + GROUPS[row["group"]].suffix
            column = found.setdefault(label, {})
            column[row["architecture"]] = -math.inf if value is None else value
    return found


def combined(found: dict[str, dict[str, float]], names: tuple[str, ...]) -> dict[str, float]:
    """Sum of ranks over the cells that all of these proxies scored."""
    texts = sorted(set.intersection(*(set(found[name]) for name in names)))
    ranks = rank_sum([[found[name][text] for text in texts] for name in names])
    return dict(zip(texts, ranks.tolist(), strict=True))


def figures_of(column: Mapping[str, float], resamples: int) -> dict[str, Any]:
    """How a proxy orders the cells that it scored: all, and the better ones by accuracy."""
    table = benchmarks.load(SPACE)
    scores = np.array(list(column.values()))
    accuracy = table.scores([table.space.parse(text) for text in column], COLUMN)
    found = ranking(accuracy, scores, fractions=BETTER, tops=(), resamples=resamples)
    first, *better = found.levels
    return {
        "spearman": estimate(first.spearman),
        "kendall": estimate(first.tau),
        "cells": found.n,
        "different_scores": found.predictions,
        "not_finite": int(np.isneginf(scores).sum()),
        **{
            f"kendall_best_{100 * level.fraction:.0f}_percent": estimate(level.tau)
            for level in better
            if level.subset == "truth" and level.fraction is not None
        },
    }


def estimate(e: Estimate) -> dict[str, float | None]:
    """For JSON, which knows no NaN."""
    return {k: round(v, 4) if math.isfinite(v) else None for k, v in vars(e).items()}


def averaged(found: dict[str, dict[str, float]]) -> tuple[dict[str, float], list[float]]:
    """The mean of `plain` over its draws, and Spearman's correlation of each two draws."""
    texts = sorted(set.intersection(*(set(found.get(name, {})) for name in DRAWS)))
    if len(texts) < 10:
        return {}, []
    columns = np.array([[found[name][text] for text in texts] for name in DRAWS])
    means = dict(zip(texts, columns.mean(0).tolist(), strict=True))
    pairs = itertools.combinations(columns, 2)
    return means, [spearman(one, other) for one, other in pairs]


def why(
    off: list[str], figures: Mapping[str, Any], single: list[str], agreement: list[float]
) -> str:
    """The reason for the verdict, and what explains the differences."""
    tenth = {n: figures[n]["kendall_best_10_percent"]["value"] for n in single}
    top = max(tenth, key=lambda n: tenth[n])
    said = []
    if off:
        said.append(f"Further off than {CLOSE:.2f} from all published figures: {', '.join(off)}.")
    if "plain" in off:
        said.append(
            "plain is 0 for every convolution before a batch norm, so that only the classifier and "
            "the shortcuts of the reduction blocks count: a small signed sum that depends on the "
            "batch and the draw of the weights as much as on the cell."
            + (
                f" Two draws of weights and batch agree by {np.mean(agreement):.2f} (Spearman); "
                f"the mean of {len(DRAWS)} draws has "
                f"{figures[MEAN]['spearman']['value']:.2f} with the accuracy."
                if agreement
                else ""
            )
        )
    said.append(
        "Differences: the batch (32 images here, 64 published, there augmented), one draw of the "
        "weights for each cell, the sample of cells, and the accuracy (test here, as in "
        "Abdelfattah et al.; validation in NAS-Bench-Suite-Zero). linear_regions is counted on "
        "thin networks, as in TE-NAS, but with 4x4 instead of 3x3 pixels; at full size every image "
        "has a code of its own."
    )
    said.append(
        "The order is that of working cells before poor ones: among the best tenth by accuracy no "
        f"proxy has a Kendall tau above {tenth[top]:.2f} ({top})."
    )
    return " ".join(said)


def report(options: argparse.Namespace) -> None:
    rows = rows_of(options.out)
    settings = rows[0]["settings"]
    found = columns(rows)
    regions, kernel = (f"linear_regions{GROUPS['regions'].suffix}", f"ntk{GROUPS['thin'].suffix}")
    found[f"TE-NAS: ranks of {kernel} + {regions}"] = combined(found, (kernel, regions))
    found["ranks of synflow + jacob_cov + snip"] = combined(found, ("synflow", "jacob_cov", "snip"))
    found["ranks of nwot + synflow"] = combined(found, ("nwot", "synflow"))
    mean, agreement = averaged(found)
    if mean:
        found[MEAN] = mean
    figures: dict[str, Any] = {}
    for name, column in found.items():
        entry = figures_of(column, options.resamples)
        first, second = PUBLISHED.get(name, (None, None))
        entry |= {"published_abdelfattah": first, "published_suite_zero": second}
        figures[name] = entry
        rho, tau = entry["spearman"], entry["kendall"]
        best = entry["kendall_best_10_percent"]["value"]
        print(
            f"{name:64} n {entry['cells']:4}  rho {rho['value']:.3f} [{rho['low']}, {rho['high']}]"
            f"  tau {tau['value']:.3f}, best tenth {best}  published {first}, {second}"
        )
    off = [
        name
        for name, known in PUBLISHED.items()
        if all(p is None or abs(figures[name]["spearman"]["value"] - p) > CLOSE for p in known)
    ]
    single = [n for n in figures if n in PROXIES and n not in ("params", "flops", "l2_norm")]
    best = sorted(single, key=lambda n: -figures[n]["spearman"]["value"])
    cpu = {g: [r["cpu_seconds"] for r in rows[1:] if r["group"] == g] for g in GROUPS}
    agreed = len(PUBLISHED) - len(off)
    shown = [f"{n} {figures[n]['spearman']['value']:.2f}" for n in (*best[:4], "params")]
    record.write(
        "proxies-nasbench201",
        claim="Zero-cost proxies rank NAS-Bench-201 cells by CIFAR-10 test accuracy as published",
        system="proxies",
        command="python benchmarks/proxies.py --data cifar10:PATH && "
        "python benchmarks/proxies.py --report",
        seeds=[SEED],
        split=f"proxies: one batch of {settings['batch']} CIFAR-10 training images; accuracy: the "
        "table's, CIFAR-10 test after 200 epochs",
        figures=figures,
        published={
            "figure": "; ".join(f"{n} {b}" for n, (_, b) in PUBLISHED.items()),
            "source": "NAS-Bench-Suite-Zero (arXiv 2210.03230), figure 2: Spearman with validation "
            "accuracy, 1000 random cells, batch 64; Zero-Cost Proxies for Lightweight NAS (arXiv "
            "2101.08134), table 1: |Spearman| with test accuracy, all cells, batch 64",
        },
        cost={
            **{f"{g}_cpu_seconds_per_cell": round(float(np.mean(v)), 3) for g, v in cpu.items()},
            "cpu_minutes": round(sum(map(sum, cpu.values())) / 60, 1),
            "threads": 1,
        },
        headline="Spearman " + ", ".join(shown) + f"; {agreed} of {len(PUBLISHED)} within "
        f"{CLOSE:.2f} of a published figure",
        verdict="shown" if not off else "partly",
        why=why(off, figures, single, agreement),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    record.add_data(parser, "cifar10")
    parser.add_argument("--out", type=Path, default=Path("runs/proxies/nasbench201.jsonl"))
    parser.add_argument("--cells", type=int, default=3000, help="random cells")
    parser.add_argument("--first", type=int, default=300, help="cells that all proxies begin with")
    parser.add_argument("--batch", type=int, default=32, help="images")
    parser.add_argument("--minutes", type=float, default=75, help="stop after so many")
    parser.add_argument("--resamples", type=int, default=200, help="of the bootstrap")
    parser.add_argument("--report", action="store_true", help="write the result")
    options = parser.parse_args()
    (report if options.report else score)(options)


if __name__ == "__main__":
    main()
