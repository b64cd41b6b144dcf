"""pEvoNAS: does shrinking the space find better cells than one genetic algorithm in all of it?

    python benchmarks/pevonas.py                     results/pevonas-table.json; some minutes
    python benchmarks/pevonas.py --data cifar10:PATH runs what is missing in --out; again: goes on
    python benchmarks/pevonas.py --report            results/pevonas-cifar10.json

Table: its evolution with the 12-epoch validation accuracy of NAS-Bench-201 in place of a supernet;
the 200-epoch test accuracy of what it ends with is reported. A supernet's error is a normal draw
for each cell and stage, as large in all stages or smaller in smaller spaces.

CIFAR-10: whole searches on reduced images, judged by the tables. All variants of a space train as
many steps. `--small` shows in a minute that it runs, in a folder that holds nothing else.
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
from morphogen.methods.pevonas import PEvoNAS, PEvoNASConfig
from morphogen.spaces import SubspaceMask

SEEDS = range(200)
DATA = ("cifar10", "cifar100", "imagenet16_120")
NOISE = {
    "no noise": (0.0, 0.0, 0.0),
    "noise of 3 points": (3.0, 3.0, 3.0),
    "noise of 3, 1.5, 0.75 points": (3.0, 1.5, 0.75),
}
"""Standard deviation in each stage; one stage alone has the first."""
STAGES = {"shrinking": "3,2", "one stage": ""}
RULES = ("vote", "marginal")
"""Other rules of what stays than the best one's row; on CIFAR-10."""


def evolve(
    config: PEvoNASConfig, data: str, seed: int, noise: tuple[float, ...] = (0.0, 0.0, 0.0)
) -> dict[str, float]:
    """One search of a table's column, and what is to be said of it."""
    space, values = tabled.SPACE, tabled.column(f"{data}_valid_12")
    method, rng = PEvoNAS(config), numpy_stream(seed, "benchmarks/pevonas")
    disturbed = numpy_stream(seed, "benchmarks/pevonas/noise")
    search = method.start(space)
    evaluated = kept = 0
    best = max(values, key=values.__getitem__)
    for sd in noise[: len(method.progression) + 1]:
        for _ in range(config.generations):
            method.breed(search, space, rng)
            for text in search.texts:
                if text not in search.fitness:
                    search.fitness[text] = [values[text] + sd * disturbed.standard_normal(), 0.0]
                    evaluated += 1
            method.rank(search)
            if method.settled(search):
                break
        if search.stage < len(method.progression):
            method.shrink(search, space)
            kept = space.parse(best) in search.mask(space)
    return {
        "test": tabled.column(f"{data}_test_200")[search.found],
        "evaluated": evaluated,
        "the best cell is left": float(kept) if method.progression else 1.0,
    }


def table() -> None:
    begin = time.process_time()
    figures: dict[str, Any] = {}
    gains: dict[str, Any] = {}
    for words, noise in NOISE.items():
        for data in DATA if words != "noise of 3 points" else DATA[:1]:
            tests: dict[str, list[float]] = {}
            for stages, progression in STAGES.items():
                config = PEvoNASConfig(progression=progression)
                rows = [evolve(config, data, seed, noise) for seed in SEEDS]
                figures[f"{data}, {words}: {stages}"] = tabled.summary(rows)
                tests[stages] = [row["test"] for row in rows]
                print(f"{data}, {words}: {stages}", tabled.mean(rows), flush=True)
            pairs = zip(tests["shrinking"], tests["one stage"], strict=True)
            gains[f"{data}, {words}"] = record.interval([a - b for a, b in pairs])
    for words in ("no noise", "noise of 3, 1.5, 0.75 points"):
        for rule in RULES:
            rows = [evolve(PEvoNASConfig(rule=rule), DATA[0], s, NOISE[words]) for s in SEEDS]
            figures[f"{DATA[0]}, {words}: shrinking by {rule}"] = tabled.summary(rows)
            print(f"{DATA[0]}, {words}: shrinking by {rule}", tabled.mean(rows), flush=True)
    figures["shrinking minus one stage, of the same seed"] = gains
    none, constant, falling = (gains[f"cifar10, {words}"] for words in NOISE)
    tests_of = {
        "no loss without noise": none["high"] > 0 and none["low"] > -0.1,
        "no gain with noise that stays": constant["low"] <= 0,
        "a gain where noise falls with the space": all(
            gains[f"{data}, noise of 3, 1.5, 0.75 points"]["low"] > 0 for data in DATA
        ),
    }
    held = sum(tests_of.values())
    small = "cifar10, noise of 3, 1.5, 0.75 points"
    record.write(
        "pevonas-table",
        claim=(
            "Shrinking the space is neutral for a perfect estimate of accuracy, and finds better "
            "cells of NAS-Bench-201 where the estimate is better in a smaller space."
        ),
        system="pevonas",
        command="python benchmarks/pevonas.py",
        seeds=SEEDS,
        split=(
            "search: 12-epoch validation accuracy of the table, with noise where it says so; "
            "reported: 200-epoch test accuracy of the best of the last stage, which no search read"
        ),
        figures=figures,
        published={
            "figure": "NAS-Bench-201 with a supernet, test: 93.63 +- 0.42 / 69.05 +- 1.99 / 39.98 "
            "+- 3.76 (CIFAR-10 / CIFAR-100 / ImageNet16-120); without inheritance 89.83 +- 3.16 / "
            "68.21 +- 2.48 / 35.91 +- 7.92",
            "source": "arXiv 2203.01559, table of NAS-Bench-201",
        },
        cost={"cpu seconds": round(time.process_time() - begin, 1), "threads": 1},
        headline=(
            "CIFAR-10 test accuracy, shrinking minus one stage: without noise "
            f"{none['mean']:+.2f}, with noise that stays {constant['mean']:+.2f}, with noise that "
            f"falls {falling['mean']:+.2f} points"
        ),
        verdict="shown" if held == len(tests_of) else "partly" if held else "not shown",
        why=(
            "; ".join(f"{claim}: {'yes' if ok else 'no'}" for claim, ok in tests_of.items())
            + f". {len(SEEDS)} seeds; gains with 95 % intervals: "
            + "; ".join(f"{name} {record.said(gain)}" for name, gain in gains.items())
            + ". Whether a supernet's error does fall with the space is not asked here. By the "
            "mean fitness of what an option was evaluated in (`rule marginal`), shrinking ends at "
            + " and ".join(
                f"{figures[f'cifar10, {w}: shrinking by marginal']['test']['mean']:.2f} ({w})"
                for w in ("no noise", "noise of 3, 1.5, 0.75 points")
            )
            + ". Shrinking "
            f"takes {figures[f'{small}: shrinking']['evaluated']['mean']:.0f} evaluations, one "
            f"stage {figures[f'{small}: one stage']['evaluated']['mean']:.0f}"
        ),
    )


# -- on CIFAR-10 -----------------------------------------------------------------------------------

EPOCHS = 36
"""Of training, all stages together."""
SHRINKING = {
    "nasbench201": {"progression": "3,2", "forward": "soft"},
    "nasbench-macro": {"progression": "2", "forward": "path"},
}
"""By space. In the first as published; in the other, of three options, by paths."""
VARIANTS: dict[str, dict[str, Any]] = {
    "one stage": {"progression": ""},
    "shrinking": {},
    "without inheritance": {"inherit": False},
    "by mean fitness": {"rule": "marginal"},
}
"""Words -> what is other than in a search that shrinks; the first runs first: it is compared."""
REAL_SEEDS = (0, 1, 2)
ORDERED = 100
"""Architectures that supernets put in order, of the whole space and of the last stage's."""


def one(
    space: str, variant: str, seed: int, *, data: str, out: Path, small: bool
) -> dict[str, Any]:
    """A search, and what is to be said of it."""

    def path_of(words: str) -> Path:
        return out / f"{space}-{words.replace(' ', '-')}-{seed}"

    def config_of(words: str) -> PEvoNASConfig:
        given = {**SHRINKING[space], **VARIANTS[words], "fitness_images": evolved.IMAGES}
        return PEvoNASConfig(**given, **({"generations": 2, "population": 4} if small else {}))

    config = config_of(variant)
    stages = len(PEvoNAS(config).progression) + 1
    settings = evolved.sized(evolved.SETTINGS, seed, EPOCHS // stages, small)
    result = evolved.run(config, path_of(variant), space, data, settings)
    problem = evolved.problem_of(space, data, settings)
    archs = {"whole space": evolved.some(problem.space, ORDERED, "pevonas/ordered")}
    last = evolved.ended(path_of(variant))["search"]
    if last["stage"]:
        mask = SubspaceMask.of(problem.space, last["allowed"])
        archs = {"last stage": evolved.some(mask.space, ORDERED, "pevonas/ordered")}
    row: dict[str, Any] = {
        "text": result.text,
        "table": evolved.table_of(space, [result.architecture])[0],
        "trained epochs": stages * settings.epochs,
        "evaluated": sum(
            max(float(r["evaluated"]) for r in result.history if r["phase"] == f"evolution {i + 1}")
            for i in range(stages)
        ),
    }
    for where, several in archs.items():
        row[f"mean of the {where} by the table"] = float(np.mean(evolved.table_of(space, several)))
        for words in dict.fromkeys(("one stage", variant)):
            state, method = evolved.ended(path_of(words)), PEvoNAS(config_of(words))
            search = method.start(problem.space)
            search.allowed, search.stage = state["search"]["allowed"], state["search"]["stage"]
            net = evolved.supernet_of(problem, state)
            row[f"tau of {words} in the {where}"] = evolved.tau(
                problem,
                net,
                several[:5] if small else several,
                lambda arch, m=method, s=search: m.gates_of(arch, problem, s),  # type: ignore[misc]
            )
    return row


def searches(options: argparse.Namespace) -> None:
    """Every search that is not there yet."""
    keys = [
        {"space": space, "variant": variant, "seed": seed}
        for seed in options.seeds
        for space in SHRINKING
        for variant in VARIANTS
    ]

    def run(space: str, variant: str, seed: int) -> dict[str, Any]:
        return one(space, variant, seed, data=options.data, out=options.out, small=options.small)

    evolved.missing(options.out / "rows.jsonl", keys, run)


def report(rows: Sequence[dict[str, Any]]) -> None:
    """results/pevonas-cifar10.json of what is there."""
    figures: dict[str, Any] = {}
    gains: dict[str, dict[str, float]] = {}
    orders: dict[str, dict[str, float]] = {}
    for space in SHRINKING:
        of = [r for r in rows if r["space"] == space]
        for variant in VARIANTS:
            mine = [r for r in of if r["variant"] == variant]
            names = [n for n, v in mine[0].items() if isinstance(v, float)] if mine else []
            figures[f"{space}: {variant}"] = {
                name: record.interval([r[name] for r in mine])
                for name in names
                if name != "cpu_seconds"
            }
        for other in ("one stage", "without inheritance"):
            gain = evolved.compared(of, "table", "shrinking", other)
            if gain is not None:
                gains[f"{space}, over {other}"] = gain
        mine = [r for r in of if r["variant"] == "shrinking"]
        if mine:
            orders[space] = record.interval(
                [
                    r["tau of shrinking in the last stage"]
                    - r["tau of one stage in the last stage"]
                    for r in mine
                ]
            )
    figures["gain of shrinking, points by the table, of the same seed"] = gains
    figures["tau in the last stage's space, shrinking minus one stage"] = orders
    figures["rows"] = list(rows)
    over = [gains[n] for n in gains if n.endswith("one stage")]
    better = [gain for gain in over if gain.get("low", 0) > 0]
    record.write(
        "pevonas-cifar10",
        claim=(
            "A supernet that shrinks, with weights inherited from stage to stage, finds better "
            "architectures than one that trains as long in the whole space."
        ),
        system="pevonas",
        command="python benchmarks/pevonas.py --data cifar10:PATH",
        seeds=sorted({r["seed"] for r in rows}),
        split=evolved.SPLIT,
        figures=figures,
        published={
            "figure": "NAS-Bench-201, CIFAR-10 test: 93.63 +- 0.42, without inheritance 89.83 +- "
            "3.16",
            "source": "arXiv 2203.01559, table of NAS-Bench-201",
        },
        cost={
            "cpu seconds": round(sum(r["cpu_seconds"] for r in rows)),
            "threads": 1,
            "training steps of a search": EPOCHS * evolved.SETTINGS.steps_per_epoch,
        },
        headline="gain of shrinking, points by the table: "
        + "; ".join(f"{name} {gain['mean']:+.2f}" for name, gain in gains.items()),
        verdict="shown" if len(better) == len(over) else "partly" if better else "not shown",
        why=(
            "Gains with 95 % intervals: "
            + "; ".join(f"{name} {record.said(gain)}" for name, gain in gains.items())
            + ". Kendall's tau in the last stage's space, of the shrunken supernet minus that of "
            "the whole one: "
            + "; ".join(f"{name} {record.said(order)}" for name, order in orders.items())
            + ". 'Shown' asks that the gains over one stage exclude 0 in both spaces, 'partly' in "
            "one. Small and briefly trained supernets"
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", metavar="cifar10:PATH", help="runs the searches on CIFAR-10")
    parser.add_argument("--out", type=Path, default=Path("runs/pevonas"))
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
