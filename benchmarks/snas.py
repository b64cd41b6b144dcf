"""SNAS beside DARTS and random search on real CIFAR-10 in the NAS-Bench-201 space.

    python benchmarks/snas.py --data cifar10:PATH          runs what is missing under --runs
    python benchmarks/snas.py --report                     results/snas.json, of what is there
    python benchmarks/snas.py --data cifar10:PATH --small  the same in some minutes, no result file

Two claims of the paper (arXiv 1812.09926, section 3):
- the returned network keeps, without retraining, the accuracy of the networks that the supernet was
  trained as, where DARTS' loses it: the derived network with inherited weights and recalibrated
  batch norms, against networks sampled from softmax(alpha) likewise (SNAS) or the mixture (DARTS);
- the weight of the cost, eta, moves the multiply-adds of what is found.
A step of DARTS is two passes, and SNAS takes two steps for each; random search trains as many
networks for as many images as cost the same. The table judges the cells; no search reads it.
Runs can be cut off at any time: the same command goes on. Several seeds can be run in as many
processes (`--seeds 0`, `--seeds 1`, ...).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch

from morphogen import benchmarks, cost, spaces
from morphogen.bilevel.categorical import sample
from morphogen.bilevel.gates import softmax_gates
from morphogen.bilevel.optimisers import SGD, Adam
from morphogen.core import Architecture
from morphogen.engine.search.search import resume, search
from morphogen.engine.search.settings import Settings
from morphogen.evaluators.supernet import SupernetEvaluator
from morphogen.methods.darts import DARTSConfig
from morphogen.methods.random import RandomSearchConfig
from morphogen.methods.snas import SNASConfig
from morphogen.runs import checkpoint
from morphogen.supernets import NetworkSpec
from morphogen.tasks.classification import ImageTask
from morphogen.tasks.problem import Problem

SPACE = "nasbench201"
COLUMN = "cifar10_test_200"
STEPS = 160
"""DARTS' steps of an epoch; twice as many of SNAS."""
CHILDREN = 10
"""Networks sampled from softmax(alpha)."""
ALPHA = Adam(lr=0.01, clip=10.0)
"""Some thousand steps instead of a hundred thousand: the rate of DARTS' reduced runs."""

SETTINGS = Settings(
    batch_size=64,
    split={"train_images": 12500, "valid_images": 12500},
    task={"image_size": 16},
    network={"channels": 8, "depth": 1},
    hardware={"threads": 1},
    diagnostics={"images": 0},
)


def snas(eta: float) -> SNASConfig:
    return SNASConfig(eta=eta, alpha=ALPHA, weights=SGD(nesterov=False, weight_decay=3e-4))


ETAS = (0.0, 1.5e-3, 1e-2, 5e-2)
VARIANTS: dict[str, Any] = {
    **{f"SNAS, eta {eta:g}": snas(eta) for eta in ETAS},
    "DARTS, first order": DARTSConfig(alpha=replace(ALPHA, clip=0.0)),
    "random search": RandomSearchConfig(),
}


def settings_of(variant: str, seed: int, options: argparse.Namespace) -> Settings:
    steps = 20 if options.small else STEPS
    made = replace(SETTINGS, seed=seed, epochs=options.epochs)
    if options.small:
        split = replace(made.split, train_images=2000, valid_images=1000)
        made = replace(made, split=split)
    if variant == "random search":
        few = (1, 1) if options.small else (8, 12)
        evaluation = replace(made.evaluation, budget=few[0], epochs=few[1])
        return replace(made, evaluation=evaluation)
    return replace(made, steps_per_epoch=steps * (2 if variant.startswith("SNAS") else 1))


def one(variant: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """One search, started, resumed or read, and what its result does."""
    name = variant.replace(",", "").replace(" ", "-").lower()
    path = Path(options.runs) / f"{name}-seed{seed}"
    settings = settings_of(variant, seed, options)
    if (path / "config.yaml").exists():
        found = resume(path)
    else:
        found = search(
            VARIANTS[variant], space=SPACE, data=options.data, settings=settings, run=path
        )
    table = benchmarks.load(SPACE)
    network = cost.of(found_space := spaces.make(SPACE), found.architecture)
    row: dict[str, Any] = {
        "variant": variant,
        "seed": seed,
        "architecture": found.text,
        "table": float(table.scores([found.architecture], COLUMN)[0]),
        "rank": int(table.rank(found.text, COLUMN)),
        "macs": network.macs,
        "params": network.params,
        "none": sum("none" in kept for kept in found.architecture.values()),
        "skip": sum("skip_connect" in kept for kept in found.architecture.values()),
        "cpu_seconds": found.cost["cpu_seconds"],
    }
    if variant != "random search":
        row |= consistency(found_space, path, found.architecture, settings, options)
        row["train_loss"] = [h["train_loss"] for h in found.history]
        row["entropy"] = [h["entropy"] for h in found.history]
    return row


def consistency(
    space: Any, path: Path, arch: Architecture, settings: Settings, options: argparse.Namespace
) -> dict[str, float]:
    """Accuracies with the supernet's weights: of the result, of samples, and of the mixture."""
    task = ImageTask.of(
        options.data,
        train_images=settings.split.train_images,
        valid_images=settings.split.valid_images,
        size=16,
        seed=settings.seed,
    )
    sizes = NetworkSpec(channels=settings.network.channels, depth=settings.network.depth)
    problem = Problem(space, task, sizes, batch_size=64, seed=settings.seed)
    net = problem.supernet()
    state = checkpoint.read(path / "checkpoint.pt")["state"]
    net.load_state_dict(state["net"])
    evaluator = SupernetEvaluator(problem)
    generator = torch.Generator().manual_seed(settings.seed)
    children = []
    for _ in range(CHILDREN):
        drawn = {
            group: sample(alpha, generator).numpy()
            for group, alpha in zip(space.groups, state["alphas"], strict=True)
        }
        children.append(evaluator.measure(net, space.derive(drawn)).score)
    mixture = evaluator.under(net, softmax_gates(space, state["alphas"]))
    return {
        "child": evaluator.measure(net, arch).score,
        "children": float(np.mean(children)),
        "mixture": mixture.score,
    }


def gap(row: Mapping[str, Any]) -> float:
    """What the result is below what the supernet was trained as; negative: above."""
    trained_as = row["children"] if row["variant"].startswith("SNAS") else row["mixture"]
    return float(trained_as - row["child"])


def report(rows: Sequence[dict[str, Any]]) -> None:
    of = {v: [r for r in rows if r["variant"] == v] for v in VARIANTS}
    of = {v: mine for v, mine in of.items() if mine}
    figures: dict[str, Any] = {
        "unit": "accuracy in %; child, children, mixture: with inherited weights, on "
        "search-validation images; table: CIFAR-10 test accuracy of 200-epoch trainings"
    }
    for variant, mine in of.items():
        numbers = ["table", "rank", "macs", "params", "none", "skip", "cpu_seconds"]
        if "child" in mine[0]:
            numbers += ["child", "children", "mixture"]
        figures[variant] = {n: record.interval([float(r[n]) for r in mine]) for n in numbers}
        figures[variant]["architectures"] = [r["architecture"] for r in mine]
        if "child" in mine[0]:
            figures[variant]["gap"] = record.interval([gap(r) for r in mine])
            for curve in ("entropy", "train_loss"):
                figures[variant][f"{curve} by epoch"] = np.round(
                    np.mean([r[curve] for r in mine], axis=0), 4
                ).tolist()
    etas = [v for v in of if v.startswith("SNAS")]
    gaps = {v: figures[v]["gap"]["mean"] for v in of if "gap" in figures[v]}
    macs = [figures[v]["macs"]["mean"] for v in etas]
    rises = sum(after > before for before, after in pairwise(macs))
    entropies = [figures[v]["entropy by epoch"] for v in etas]
    hollow = [(r["none"] + r["skip"]) >= 3 for r in of.get(f"SNAS, eta {ETAS[-1]:g}", [])]
    tests = {
        "the child is within 5 points of the sampled children, for every eta": all(
            abs(gaps[v]) < 5 for v in etas
        ),
        "DARTS' mixture loses more": all(gaps["DARTS, first order"] > gaps[v] for v in etas),
        "multiply-adds do not rise with eta, but for one inversion": rises <= 1,
        "an eta between has multiply-adds between": any(
            macs[-1] < between < macs[0] for between in macs[1:-1]
        ),
        "at the largest eta half of the edges are none or skip": bool(hollow) and all(hollow),
        "entropy falls": all(curve[-1] < curve[0] for curve in entropies),
    }
    dear = [r for v in etas[1:] for r in of[v]]
    bare = sum("conv" not in r["architecture"] for r in dear)
    held = sum(tests.values())
    record.write(
        "snas",
        claim=(
            "A network that SNAS returns keeps its accuracy without retraining, where DARTS' loses "
            "it; the weight of the resource cost moves its multiply-adds."
        ),
        system="snas, darts, random",
        command="python benchmarks/snas.py --data cifar10:PATH",
        seeds=sorted({r["seed"] for r in rows}),
        split=(
            "12,500 train and 12,500 search-validation images cut from CIFAR-10's training images, "
            "at 16 x 16; the table's test accuracies were read by no search"
        ),
        figures={"what must hold": tests, **figures},
        published={
            "figure": "before retraining about 90.7 % (SNAS) and 54.7 % (DARTS), CIFAR-10, full "
            "size; retrained 2.85 +- 0.02 % error (moderate)",
            "source": "arXiv 1812.09926",
        },
        cost={"cpu_seconds": round(sum(r["cpu_seconds"] for r in rows))},
        headline="; ".join(
            f"{v}: table {figures[v]['table']['mean']:.2f} %"
            + (f", gap {gaps[v]:+.1f} points" if v in gaps else "")
            for v in of
        ),
        verdict="shown" if held == len(tests) else "partly" if held > 1 else "not shown",
        why="; ".join(f"{claim}: {'yes' if ok else 'no'}" for claim, ok in tests.items())
        + ". A reduced budget in a space whose derivation has every edge free. With a cost "
        f"{bare} of {len(dear)} of SNAS' children have no convolution, and so little to lose.",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    record.add_data(parser, "cifar10")
    parser.add_argument("--runs", type=Path, default=Path("runs/snas"))
    parser.add_argument("--epochs", type=int, default=0, help="12; with --small 2")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--small", action="store_true", help="that it works, in some minutes")
    parser.add_argument("--report", action="store_true", help="of what is there; runs nothing")
    options = parser.parse_args()
    options.epochs = options.epochs or (2 if options.small else 12)
    found = Path(options.runs) / "rows.jsonl"
    found.parent.mkdir(parents=True, exist_ok=True)
    if not options.report:
        for seed in options.seeds:
            for variant in VARIANTS:
                done = {(r["variant"], r["seed"]) for r in record.rows(found)}
                if (variant, seed) not in done:
                    begin = time.perf_counter()
                    record.keep(found, one(variant, seed, options))
                    print(f"{variant}, seed {seed}: {time.perf_counter() - begin:.0f} s")
    rows = record.rows(found)
    if options.small:
        print(json.dumps(rows, indent=1))
    elif rows:
        report(rows)


if __name__ == "__main__":
    main()
