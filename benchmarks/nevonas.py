"""NEvoNAS: does novelty beside accuracy find better cells than accuracy alone?

    python benchmarks/nevonas.py                     results/nevonas-table.json; a minute
    python benchmarks/nevonas.py --data cifar10:PATH runs what is missing in --out; again: goes on
    python benchmarks/nevonas.py --report            results/nevonas-cifar10.json

Table: its evolution with the 12-epoch validation accuracy of NAS-Bench-201 in place of a supernet;
the 200-epoch test accuracy of the fittest of the front is reported. With real matrices as in the
paper and, the control, with architectures of which none comes twice.

CIFAR-10: whole searches on reduced images, judged by the tables. All take as many steps and score
as many architectures. `--small` shows in a minute that it runs, in a folder of its own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import evolved
import numpy as np
import record
import tabled
import torch

from morphogen.core.rng import numpy_stream
from morphogen.evolution import front
from morphogen.methods.nevonas import NEvoNAS, NEvoNASConfig

SEEDS = range(20)
GENERATIONS = 50
DATA = ("cifar10", "cifar100", "imagenet16_120")
CRITERIA = {
    "both": "fitness,novelty",
    "accuracy alone": "fitness",
    "novelty alone": "novelty",
}
NOISE = 2.0
"""Points of the noise's standard deviation, drawn for each evaluation."""
EARLY = 5
"""Generations of which a member of the final front counts as old."""


def evolve(config: NEvoNASConfig, data: str, seed: int, noise: float = 0.0) -> dict[str, float]:
    """One search of a table's column, and what is to be said of it."""
    space, values = tabled.SPACE, tabled.column(f"{data}_valid_12")
    method, rng = NEvoNAS(config), numpy_stream(seed, "benchmarks/nevonas")
    disturbed = numpy_stream(seed, "benchmarks/nevonas/noise")
    search = method.start()
    for _ in range(GENERATIONS):
        method.breed(search, space, rng)
        texts = search.children.texts
        fitness = [values[t] + noise * disturbed.standard_normal() for t in texts]
        search.children.fitness = [[f, 0.0] for f in fitness]
        method.select(search, space, rng, lambda arch, name: 0.0)
    parents, places = search.parents, method.front(search, space)
    found = parents.texts[max(places, key=lambda i: parents.fitness[i])]
    on_front = np.flatnonzero(front(np.array(parents.points)))
    return {
        "test": tabled.column(f"{data}_test_200")[found],
        "cells of the front": len(places),
        "members on the front": len(on_front),
        "born early": float(np.mean([parents.born[i] < EARLY for i in on_front])),
        "different cells": len(search.archive.texts),
    }


def variants() -> dict[str, tuple[dict[str, Any], str, float]]:
    """Words -> configuration, data, noise."""
    found: dict[str, tuple[dict[str, Any], str, float]] = {}
    for words, criteria in CRITERIA.items():
        for data in DATA if words != "novelty alone" else DATA[:1]:
            found[f"{data}, real: {words}"] = ({"criteria": criteria}, data, 0.0)
    for words in ("both", "accuracy alone"):
        control = {"criteria": CRITERIA[words], "encoding": "categorical"}
        found[f"cifar10, none twice: {words}"] = (control, "cifar10", 0.0)
        noisy = {"criteria": CRITERIA[words]}
        found[f"cifar10 with noise, real: {words}"] = (noisy, "cifar10", NOISE)
        found[f"cifar10 with noise, none twice: {words}"] = (control, "cifar10", NOISE)
    found["cifar10, real: both, novelty refreshed"] = ({"refresh": "novelty"}, "cifar10", 0.0)
    return found


def table() -> None:
    begin = time.process_time()
    figures: dict[str, Any] = {}
    tests: dict[str, list[float]] = {}
    for words, (given, data, noise) in variants().items():
        rows = [evolve(NEvoNASConfig(**given), data, seed, noise) for seed in SEEDS]
        figures[words] = tabled.summary(rows)
        tests[words] = [row["test"] for row in rows]
        print(words, tabled.mean(rows), flush=True)
    gains = {}
    for name in (key.removesuffix(": both") for key in list(tests) if key.endswith(": both")):
        pairs = zip(tests[f"{name}: both"], tests[f"{name}: accuracy alone"], strict=True)
        gains[name] = record.interval([a - b for a, b in pairs])
    figures["both minus accuracy alone, of the same seed"] = gains
    both, alone = (figures[f"cifar10, real: {w}"]["test"] for w in ("both", "accuracy alone"))
    control = figures["cifar10, none twice: accuracy alone"]["test"]
    helped = [data for data in DATA if gains[f"{data}, real"]["low"] > 0]
    stays = gains["cifar10, none twice"]["low"] > 0
    shown = len(helped) == len(DATA) and stays
    fresh = figures["cifar10, real: both, novelty refreshed"]
    old = figures["cifar10, real: both"]["born early"]["mean"]
    record.write(
        "nevonas-table",
        claim=(
            "Beside accuracy, novelty as an objective leads evolution to better cells of "
            "NAS-Bench-201 than accuracy alone."
        ),
        system="nevonas",
        command="python benchmarks/nevonas.py",
        seeds=SEEDS,
        split=(
            "search: 12-epoch validation accuracy of the table, with noise of "
            f"{NOISE:g} points where it says so; reported: 200-epoch test accuracy of the fittest "
            "of the front, which no search read"
        ),
        figures=figures,
        published={
            "figure": "NAS-Bench-201 with a supernet, CIFAR-10 test: both 93.50 +- 0.30, accuracy "
            "alone 90.64 +- 1.62, novelty alone 90.75 +- 0.69; the member with the best test "
            "accuracy",
            "source": "arXiv 2204.00188, table of NAS-Bench-201",
        },
        cost={"cpu seconds": round(time.process_time() - begin, 1), "threads": 1},
        headline=(
            f"CIFAR-10 test accuracy, both / accuracy alone: {both['mean']:.2f} / "
            f"{alone['mean']:.2f} % with the paper's matrices, "
            f"{figures['cifar10, none twice: both']['test']['mean']:.2f} / {control['mean']:.2f} % "
            "where no cell comes twice"
        ),
        verdict="shown" if shown else "partly" if helped else "not shown",
        why=(
            f"{len(SEEDS)} seeds, {GENERATIONS} generations of 20, 1,000 evaluations each. Gain of "
            "both over accuracy alone, with 95 % intervals: "
            + "; ".join(f"{name} {record.said(gain)}" for name, gain in gains.items())
            + ". 'Shown' asks that the interval excludes 0 on all three data sets and in the "
            "control (none twice), 'partly' that it does on one data set. Accuracy alone repeats "
            "itself with matrices: "
            f"{figures['cifar10, real: accuracy alone']['different cells']['mean']:.0f} different "
            "cells of 1,000, with novelty "
            f"{figures['cifar10, real: both']['different cells']['mean']:.0f}; bred as "
            "architectures it sees "
            f"{figures['cifar10, none twice: accuracy alone']['different cells']['mean']:.0f} and "
            "needs no novelty. "
            f"Of the final front {100 * old:.0f} % were born in the first {EARLY} generations, "
            "scored against a small archive; with novelty found anew in each generation "
            f"{100 * fresh['born early']['mean']:.0f} %"
        ),
    )


# -- on CIFAR-10 -----------------------------------------------------------------------------------

WAYS: dict[str, dict[str, Any]] = {
    "paper": {"encoding": "real", "forward": "soft"},
    "paths": {"encoding": "categorical", "forward": "path"},
}
"""How architectures are bred and shown to the supernet."""
VARIANTS = [
    ("nasbench201", "paper", tuple(CRITERIA)),
    ("nasbench201", "paths", ("both", "accuracy alone")),
    ("nasbench-macro", "paths", ("both", "accuracy alone")),
]
REAL_SEEDS = (0, 1, 2)
REAL_GENERATIONS = 25
ORDERED = 200
"""Random architectures that the final supernet puts in order."""


def one(
    space: str, variant: str, seed: int, *, data: str, out: Path, small: bool
) -> dict[str, Any]:
    """A search, and what is to be said of it."""
    way, words = variant.split(": ")
    config = NEvoNASConfig(criteria=CRITERIA[words], fitness_images=evolved.IMAGES, **WAYS[way])
    settings = evolved.sized(evolved.SETTINGS, seed, REAL_GENERATIONS, small)
    path = out / f"{space}-{variant.replace(': ', '-').replace(' ', '-')}-{seed}"
    result = evolved.run(config, path, space, data, settings)
    problem, state = evolved.problem_of(space, data, settings), evolved.ended(path)
    net, method = evolved.supernet_of(problem, state), NEvoNAS(config)
    archs = evolved.some(problem.space, 5 if small else ORDERED, "nevonas/ordered")
    front = [problem.space.parse(c["architecture"]) for c in result.candidates]
    front = front or [result.architecture]
    tabled_front = evolved.table_of(space, front)
    return {
        "text": result.text,
        "table": evolved.table_of(space, [result.architecture])[0],
        "best of the front by the table": max(tabled_front),
        "front": len(front),
        "different": result.history[-1]["different"],
        "tau": evolved.tau(problem, net, archs, lambda arch: method.gates_of(arch, problem)),
        "train_loss": result.history[-1]["train_loss"],
    }


def searches(options: argparse.Namespace) -> None:
    """Every search that is not there yet."""
    keys = [
        {"space": space, "variant": f"{way}: {words}", "seed": seed}
        for seed in options.seeds
        for space, way, several in VARIANTS
        for words in several
    ]

    def run(space: str, variant: str, seed: int) -> dict[str, Any]:
        return one(space, variant, seed, data=options.data, out=options.out, small=options.small)

    evolved.missing(options.out / "rows.jsonl", keys, run)


def report(rows: Sequence[dict[str, Any]]) -> None:
    """results/nevonas-cifar10.json of what is there."""
    figures: dict[str, Any] = {}
    gains: dict[str, dict[str, float]] = {}
    fronts: dict[str, dict[str, float]] = {}
    for space, way, several in VARIANTS:
        of = [r for r in rows if r["space"] == space]
        for words in several:
            mine = [r for r in of if r["variant"] == f"{way}: {words}"]
            names = ("table", "best of the front by the table", "front", "different", "tau")
            figures[f"{space}, {way}: {words}"] = {
                name: record.interval([r[name] for r in mine]) for name in names if mine
            }
        for into, name in ((gains, "table"), (fronts, "best of the front by the table")):
            gain = evolved.compared(of, name, f"{way}: both", f"{way}: accuracy alone")
            if gain is not None:
                into[f"{space}, {way}"] = gain
    figures["both minus accuracy alone, of the same seed"] = gains
    figures["likewise, the best of either front by the table"] = fronts
    figures["rows"] = list(rows)
    better = [name for name, gain in gains.items() if gain.get("low", 0) > 0]
    record.write(
        "nevonas-cifar10",
        claim=(
            "While a supernet trains with a population, novelty beside accuracy finds better "
            "architectures than accuracy alone."
        ),
        system="nevonas",
        command="python benchmarks/nevonas.py --data cifar10:PATH",
        seeds=sorted({r["seed"] for r in rows}),
        split=evolved.SPLIT,
        figures=figures,
        published={
            "figure": "NAS-Bench-201, CIFAR-10 test: both 93.50 +- 0.30, accuracy alone 90.64 +- "
            "1.62, novelty alone 90.75 +- 0.69; the member with the best test accuracy",
            "source": "arXiv 2204.00188, table of NAS-Bench-201",
        },
        cost={
            "cpu seconds": round(sum(r["cpu_seconds"] for r in rows)),
            "threads": 1,
            "steps of a search": REAL_GENERATIONS * evolved.SETTINGS.steps_per_epoch,
        },
        headline="both minus accuracy alone, points by the table: "
        + "; ".join(f"{name} {gain['mean']:+.2f}" for name, gain in gains.items()),
        verdict="shown" if len(better) == len(gains) else "partly" if better else "not shown",
        why=(
            "Gains with 95 % intervals: "
            + "; ".join(f"{name} {record.said(gain)}" for name, gain in gains.items())
            + ". 'Shown' asks that all of them exclude 0, 'partly' that one does. The card of the "
            "method expects none where no architecture comes twice (paths). The supernets are "
            "small and briefly trained. The publication names the member of the front that is best "
            "on the test part, of which a front of several has the better one in any case; so "
            "chosen, by the table: "
            + "; ".join(f"{name} {record.said(gain)}" for name, gain in fronts.items())
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", metavar="cifar10:PATH", help="runs the searches on CIFAR-10")
    parser.add_argument("--out", type=Path, default=Path("runs/nevonas"))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(REAL_SEEDS))
    parser.add_argument("--small", action="store_true", help="of the searches: that they run")
    parser.add_argument("--report", action="store_true", help="of the searches on CIFAR-10")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.report:
        report(record.rows(options.out / "rows.jsonl"))
    elif options.data:
        searches(options)
    else:
        table()


if __name__ == "__main__":
    main()
