"""DC-NAS against random selection at equal training cost, on real CIFAR-10, judged by the table.

    python benchmarks/dcnas.py --data cifar10:PATH            what is missing, and the result
    python benchmarks/dcnas.py --data cifar10:PATH --seeds 0  of one seed, without the result
    python benchmarks/dcnas.py --report                       the result of what is there
    python benchmarks/dcnas.py --data cifar10:PATH --small    that it works, no result file

Five seeds, each with cells, split and weights of its own. Every cell is trained once, with its
traces and its accuracy after the early and the full training; a line of --runs/cells.jsonl each, so
that a run that was cut off goes on. Then pools are drawn from a seed's cells, and on every pool
DC-NAS, plain early stopping, and the controls choose their finalists; the best of these by
validation accuracy after the full training is the choice, and the table's test accuracy of the
choice is what is compared, from seed to seed.

Supernet mode does the same without early trainings: a supernet of each seed is trained path by
path, and of every cell a private copy of its path is tuned for a moment, for the traces; the early
accuracy is the inherited one, with the norms' statistics recalibrated. Its early cost is the
supernet's training, shared by a pool, and the tuning. All numbers were fixed before the five seeds
ran: the trainings of the first trial, of a quarter of the length, hardly ordered cells.

The table experiment is the control that needs no training: 12-epoch accuracies from the table as
early ones, groups by encodings of the architectures.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
from numpy.typing import NDArray
from scipy.stats import kendalltau

from morphogen import benchmarks, spaces
from morphogen.benchmarks import Benchmark
from morphogen.bilevel.optimisers import SGD
from morphogen.bilevel.state import SupernetState, weight_step
from morphogen.core import Architecture
from morphogen.core.rng import numpy_stream, seed_for
from morphogen.evaluators.clusters import divide, represent, winners
from morphogen.evaluators.short import ShortTraining
from morphogen.evaluators.single_path import path_step
from morphogen.evaluators.supernet import SupernetEvaluator
from morphogen.evaluators.traces import PROBE, Recorder, milestones, train_traced
from morphogen.spaces.nasbench201 import open_paths
from morphogen.supernets import Gated, Gates, NetworkSpec, Supernet
from morphogen.tasks.classification import ImageTask
from morphogen.tasks.problem import Clock, Problem

SPACE = spaces.make("nasbench201")
SEEDS = tuple(range(5))
BATCH = 64
SGD_USED = SGD(lr=0.05, lr_end=0.0)
POOL, K, SMALLEST = 24, 4, 3
SHUFFLES = 20
TRUTH = "cifar10_test_200"
DEFAULT = "params, normalised"
"""The method's default, which the verdict is about; it was chosen before anything was measured."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sizes:
    """All lengths: of the protocol, or of a trial of the script."""

    cells: int = 72
    early: int = 240
    epochs: int = 16
    supernet_steps: int = 6000
    tuning: int = 60
    """Steps of a path's private copy (3 bursts of 20)."""
    images: int = 6400
    pools: int = 400


TUNED = SGD(lr=1e-3, lr_end=1e-3, nesterov=False)
SMALL = Sizes(cells=26, early=3, epochs=1, supernet_steps=5, tuning=3, images=640, pools=3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    record.add_data(parser, "cifar10")
    parser.add_argument("--runs", type=Path, default=Path("runs/dcnas"))
    parser.add_argument("--seeds", type=int, nargs="*", help="of these only, without the result")
    parser.add_argument("--small", action="store_true", help="that it works, in some minutes")
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes = SMALL if options.small else Sizes()
    seeds = options.seeds if options.seeds is not None else [0, 1] if options.small else SEEDS
    if not options.report:
        for seed in seeds:
            train(seed, options, sizes)
    if options.small:
        figures, _ = measured(options.runs, sizes)
        print(headline(figures["from scratch"]["pools"][DEFAULT]))
    elif options.seeds is None:
        report(options.runs, sizes)


# -- training --------------------------------------------------------------------------------------


def cells(seed: int, count: int) -> Iterator[Architecture]:
    """Different connected cells, uniformly; the first ones are the same for every count."""
    rng, seen = numpy_stream(seed, "dcnas/cells"), set[Architecture]()
    while len(seen) < count:
        arch = SPACE.sample(rng)
        if arch not in seen and open_paths(arch):
            seen.add(arch)
            yield arch


def train(seed: int, options: argparse.Namespace, sizes: Sizes) -> None:
    """Train every cell of a seed once, early and full, and look at it in the seed's supernet."""
    task = ImageTask.of(
        options.data, train_images=sizes.images, valid_images=2000, size=16, seed=seed
    )
    spec = NetworkSpec(channels=8, depth=1)
    problem = Problem(SPACE, task, spec, batch_size=BATCH, seed=seed)
    chosen = list(cells(seed, sizes.cells))
    with task.sealed("the trainings"):
        for name, make in (
            ("cells", lambda arch: trained(problem, arch, sizes)),
            ("supernet", InSupernet(problem, sizes)),
        ):
            file = options.runs / f"{name}.jsonl"
            known = {row["cell"] for row in record.rows(file) if row["seed"] == seed}
            for arch in chosen:
                if SPACE.format(arch) not in known:
                    record.keep(file, {"seed": seed, **make(arch)})


def trained(problem: Problem, arch: Architecture, sizes: Sizes) -> dict[str, Any]:
    """Early and full search-validation accuracy of one cell, and its traces until the early one."""
    began = time.process_time()
    training = ShortTraining(problem, arch, epochs=sizes.epochs, batch_size=BATCH, descent=SGD_USED)
    traces = train_traced(training, sizes.early, ["params", "features"])
    early, early_seconds = training.score(), time.process_time() - began
    training.advance(training.steps)
    return {
        "cell": SPACE.format(arch),
        "early": early,
        "full": training.score(),
        "steps": [sizes.early, training.steps],
        "traces": {kind: trace.tolist() for kind, trace in traces.items()},
        "cpu_seconds": [round(early_seconds, 2), round(time.process_time() - began, 2)],
    }


class InSupernet:
    """Inherited accuracy and traces of cells in a supernet, which is trained when first asked."""

    def __init__(self, problem: Problem, sizes: Sizes) -> None:
        self.problem, self.sizes = problem, sizes
        self._net: Supernet | None = None
        self._evaluator: SupernetEvaluator | None = None
        self.seconds = 0.0

    def _trained(self) -> tuple[Supernet, SupernetEvaluator]:
        if self._net is None or self._evaluator is None:
            began, steps = time.process_time(), self.sizes.supernet_steps
            net = self.problem.supernet()
            state = SupernetState(net, SGD_USED.make(net.parameters()))
            for step in range(steps):  # as many epochs as steps: the cosine falls at each
                path_step(state, self.problem, SGD_USED, Clock(step, steps, 0, 1, "supernet"))
            self._net = net
            self._evaluator = SupernetEvaluator(self.problem, examples=2000)
            self.seconds = time.process_time() - began
        return self._net, self._evaluator

    def __call__(self, arch: Architecture) -> dict[str, Any]:
        """A row as of a training; its steps are those of tuning and a share of the supernet's."""
        net, evaluator = self._trained()
        began = time.process_time()
        early = evaluator.measure(net, arch).score
        return {
            "cell": SPACE.format(arch),
            "early": early,
            "steps": self.sizes.tuning + round(self.sizes.supernet_steps / POOL),
            "traces": self._tuned(copy.deepcopy(net), arch),
            "cpu_seconds": round(time.process_time() - began, 2),
            "supernet_cpu_seconds": round(self.seconds, 1),
        }

    def _tuned(self, net: Supernet, arch: Architecture) -> dict[str, list[list[float]]]:
        """How the path's layers change in a private copy of the supernet."""
        problem = self.problem
        rows = problem.chosen("valid", PROBE, "traces/valid")
        probe = problem.task.batch("valid", rows).x
        layers = {
            f"{choice.name}/{place}": [module]
            for choice in SPACE.choices
            for place, module in enumerate(net.options(choice.name, arch.one(choice.name)))
        }
        # A choice without modules has layers too, which never change: positions are comparable.
        places = len(net.options(SPACE.choices[0].name, "nor_conv_3x3"))
        every = {f"{c.name}/{i}": [] for c in SPACE.choices for i in range(places)} | layers
        gates = Gates.of(SPACE, arch)
        recorders = {
            kind: Recorder(Gated(net, gates), kind, probe, every) for kind in ("params", "features")
        }
        state = SupernetState(net, TUNED.make(net.parameters()))
        looks = milestones(self.sizes.tuning)
        for recorder in recorders.values():
            recorder.look()
        for step in range(self.sizes.tuning):
            clock = Clock(0, 1, step, self.sizes.tuning)
            weight_step(state, problem, problem.batch("train"), gates, TUNED, clock)
            if step + 1 in looks:
                for recorder in recorders.values():
                    recorder.look()
        return {kind: recorder.trace.tolist() for kind, recorder in recorders.items()}


# -- pools -----------------------------------------------------------------------------------------


class Cells:
    """What is known of the trained cells; row i of everything belongs to cell i."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], table: Benchmark) -> None:
        self.early = np.array([r["early"] for r in rows])
        self.full = np.array([r["full"] for r in rows])
        self.truth = table.scores([r["cell"] for r in rows], TRUTH)
        self.traces = {
            kind: [np.array(r["traces"][kind]) for r in rows] for kind in ("params", "features")
        }
        self.encoding = np.array([SPACE.encode(SPACE.parse(r["cell"])) for r in rows], float)
        self.steps = tuple(rows[0]["steps"])
        self.seconds = np.array([r["cpu_seconds"] for r in rows])

    def __len__(self) -> int:
        return len(self.early)

    def points(self, variant: str, pool: NDArray[np.intp]) -> Floats:
        """What the pool's cells are grouped by."""
        if variant == "encoding (control)":
            return self.encoding[pool]
        kind, _, how = variant.partition(", ")
        return represent([self.traces[kind][i] for i in pool], normalize=how == "normalised")


VARIANTS = (
    DEFAULT,
    "params, not normalised",
    "features, normalised",
    "features, not normalised",
    "encoding (control)",
)


def one_pool(cells: Cells, variant: str, pool: NDArray[np.intp], seed: int) -> dict[str, float]:
    """Table accuracy of what each way of choosing finalists ends with, on one pool."""
    early, full, truth = cells.early[pool], cells.full[pool], cells.truth[pool]

    def choice(finalists: Sequence[int]) -> float:
        return float(truth[max(finalists, key=lambda i: full[i])])

    labels = divide(cells.points(variant, pool), K, seed, smallest=SMALLEST)
    ours = winners(early, labels)
    rng = np.random.default_rng(seed)
    shuffled = [winners(early, rng.permutation(labels)) for _ in range(SHUFFLES)]
    e0, e1 = cells.steps
    as_many = math.ceil((len(pool) * e0 + len(ours) * e1) / e1)
    return {
        "dc": choice(ours),
        "plain early stopping": choice(np.argsort(-early, kind="stable")[: len(ours)].tolist()),
        "random clusters of the same sizes": float(np.mean([choice(s) for s in shuffled])),
        "random selection, equal cost": drawn(full, truth, as_many),
        "best of the pool": float(truth.max()),
        "finalists": float(len(ours)),
        "trained in full at equal cost": float(as_many),
    }


def drawn(full: Floats, truth: Floats, count: int) -> float:
    """Expected truth of the best by `full` among `count` drawn without replacement, exactly."""
    n, order = len(full), np.argsort(-full, kind="stable")
    chances = [math.comb(n - 1 - r, count - 1) / math.comb(n, count) for r in range(n)]
    return float(np.dot(chances, truth[order]))


def over_pools(values: Floats, member: NDArray[np.bool_]) -> dict[str, float]:
    """Mean over pools with a 95 % interval for other cells of the space, within one seed.

    The pools overlap, so that they are no independent sample: the variance is the infinitesimal
    jackknife for subsamples (Wager, Hastie and Efron: Confidence Intervals for Random Forests.
    JMLR 2014, arXiv 1311.4555) with the factor for draws without replacement (Wager and Athey,
    arXiv 1510.04342). It is not corrected for the number of pools: a little too wide, never 0.

    Args:
        values: [pools].
        member: [pools, cells], which cells a pool has.
    """
    pools, n = member.shape
    size = int(member[0].sum())
    centred = values - values.mean()
    covariance = (member - member.mean(axis=0)).T @ centred / pools
    factor = n * (n - 1) / (n - size) ** 2
    half = 1.96 * math.sqrt(factor * float(np.sum(covariance**2)))
    mean = float(values.mean())
    return {"mean": mean, "low": mean - half, "high": mean + half, "pools": pools, "cells": n}


def compare(cells: Cells, count: int) -> dict[str, Any]:
    rng = numpy_stream(0, "dcnas/pools")
    pools = [np.sort(rng.permutation(len(cells))[:POOL]) for _ in range(count)]
    member = np.zeros((count, len(cells)), bool)
    for row, pool in zip(member, pools, strict=True):
        row[pool] = True
    figures: dict[str, Any] = {}
    for variant in VARIANTS:
        found = [one_pool(cells, variant, p, i) for i, p in enumerate(pools)]
        columns = {name: np.array([f[name] for f in found]) for name in found[0]}
        rivals = [n for n in columns if n.startswith(("plain", "random"))]
        figures[variant] = {
            **{name: over_pools(column, member) for name, column in columns.items()},
            **{f"dc minus {r}": over_pools(columns["dc"] - columns[r], member) for r in rivals},
        }
    return figures


def agreement(cells: Cells) -> dict[str, Any]:
    """Kendall's tau of early and final accuracy, over all cells and inside groups."""
    everyone = np.arange(len(cells))
    figures: dict[str, Any] = {"full training with table": tau(cells.full, cells.truth)}
    for name, final in (("full training", cells.full), ("table", cells.truth)):
        figures[name] = {"all cells": tau(cells.early, final)}
        for variant in VARIANTS:
            labels = divide(cells.points(variant, everyone), K, 0, smallest=SMALLEST)
            rng = np.random.default_rng(0)
            chance = [within(rng.permutation(labels), cells.early, final) for _ in range(100)]
            figures[name][variant] = {
                "inside groups": within(labels, cells.early, final),
                "inside random groups of the same sizes": float(np.mean(chance)),
                "sizes": np.bincount(labels).tolist(),
            }
    return figures


def tau(one: Floats, two: Floats) -> float:
    value = float(kendalltau(one, two).statistic)
    return value if math.isfinite(value) else 0.0


def within(labels: NDArray[np.intp], early: Floats, final: Floats) -> float:
    parts = [labels == c for c in np.unique(labels) if (labels == c).sum() > 2]
    return float(
        np.average([tau(early[p], final[p]) for p in parts], weights=[p.sum() for p in parts])
    )


# -- the table experiment --------------------------------------------------------------------------


def table_experiment(table: Benchmark, repeats: int = 200) -> dict[str, Any]:
    """Early: 12 epochs; groups by encodings; pools of cells above 60 % that do train."""
    truth, early = table.values(TRUTH), table.values("cifar10_valid_12")
    usable = np.flatnonzero(truth > 60)
    encodings: dict[str, Callable[[Architecture], Floats]] = {
        "one-hot": lambda arch: np.asarray(SPACE.encode(arch), float),
        "operation counts": lambda arch: (
            np.asarray(SPACE.encode(arch), float).reshape(-1, 5).sum(axis=0)
        ),
    }
    figures: dict[str, Any] = {}
    for size, k in ((100, 5), (200, 10)):
        for name, encode in encodings.items():
            regrets, taus = [], []
            for i in range(repeats):
                rng = np.random.default_rng(seed_for(i, f"dcnas/table/{size}"))
                pool = rng.choice(usable, size, replace=False)
                e, t = early[pool], truth[pool]
                rows = np.array([encode(table.architecture(int(j))) for j in pool])
                labels = divide(rows, k, i, restarts=3)
                ours, plain = winners(e, labels), np.argsort(-e)[:k]
                regrets.append([t.max() - t[plain].max(), t.max() - t[ours].max()])
                taus.append([tau(e, t), within(labels, e, t)])
            plain_regret, dc_regret = np.array(regrets).T
            figures[f"pool {size}, K {k}, {name}"] = {
                "regret, plain early stopping": record.interval(plain_regret.tolist()),
                "regret, dc": record.interval(dc_regret.tolist()),
                "regret, dc minus plain": record.interval((dc_regret - plain_regret).tolist()),
                "tau, all": float(np.mean([t[0] for t in taus])),
                "tau, inside groups": float(np.mean([t[1] for t in taus])),
            }
    return figures


# -- the result ------------------------------------------------------------------------------------


def in_supernet(
    rows: Sequence[dict[str, Any]], looks: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Rows of the same cells with what the supernet says early."""
    of = {row["cell"]: row for row in looks}
    return [
        {**row, "early": look["early"], "traces": look["traces"]}
        | {"steps": [look["steps"], row["steps"][1]]}
        for row in rows
        if (look := of.get(row["cell"])) is not None
    ]


def measured(runs: Path, sizes: Sizes) -> tuple[dict[str, Any], list[int]]:
    """All figures, by mode: means over the seeds that are there."""
    table = benchmarks.load("nasbench201")
    rows, looks = (record.rows(runs / f"{name}.jsonl") for name in ("cells", "supernet"))
    found: dict[str, list[dict[str, Any]]] = {"from scratch": [], "supernet mode": []}
    seeds = []
    for seed in sorted({r["seed"] for r in rows}):
        mine = [r for r in rows if r["seed"] == seed][: sizes.cells]
        seen = in_supernet(mine, [r for r in looks if r["seed"] == seed])
        if len(seen) < sizes.cells:
            continue
        seeds.append(seed)
        for mode, some in zip(found, (mine, seen), strict=True):
            known = Cells(some, table)
            found[mode].append({"pools": compare(known, sizes.pools), "tau": agreement(known)})
    figures: dict[str, Any] = {}
    for mode, each in found.items():
        figures[mode] = {
            "pools": {
                variant: {
                    name: record.interval([e["pools"][variant][name]["mean"] for e in each])
                    for name in each[0]["pools"][variant]
                }
                for variant in VARIANTS
            },
            "within each seed, intervals for other cells": [
                {name: e["pools"][DEFAULT][name] for name in e["pools"][DEFAULT] if "minus" in name}
                for e in each
            ],
            "Kendall's tau of early and final accuracy": {
                "full training with table": record.interval(
                    [e["tau"]["full training with table"] for e in each]
                ),
                **{
                    final: {
                        "all cells": record.interval([e["tau"][final]["all cells"] for e in each]),
                        **{
                            variant: {
                                name: record.interval(
                                    [e["tau"][final][variant][name] for e in each]
                                )
                                for name in (
                                    "inside groups",
                                    "inside random groups of the same sizes",
                                )
                            }
                            for variant in VARIANTS
                        },
                    }
                    for final in ("full training", "table")
                },
            },
        }
    return figures, seeds


def report(runs: Path, sizes: Sizes) -> None:
    began = time.process_time()
    figures, seeds = measured(runs, sizes)
    control = table_experiment(benchmarks.load("nasbench201"))
    rows, looks = (record.rows(runs / f"{name}.jsonl") for name in ("cells", "supernet"))
    ours = figures["from scratch"]["pools"][DEFAULT]
    verdict, why = judge(figures)
    e0, e1 = rows[0]["steps"]
    record.write(
        "dcnas-cifar10",
        claim="DC-NAS (reconstruction) finds better NAS-Bench-201 cells than random selection at "
        "equal training cost, and than plain early stopping with as many finalists",
        system="methods/dcnas, evaluators/traces, evaluators/clusters",
        command="python benchmarks/dcnas.py --data cifar10:PATH",
        seeds=seeds,
        split="trained on 6,400 and chosen on 2,000 other images of CIFAR-10's training data, "
        "16x16; the table's test accuracy after 200 epochs judges the choice and nothing else",
        figures={
            "unit": f"table's {TRUTH} in % of the chosen cell; differences in points; intervals "
            "over seeds, each with cells, split and weights of its own",
            "protocol": f"{sizes.cells} connected cells a seed, C=8, N=1, drawn uniformly; pools "
            f"of {POOL} of them, K={K}, groups under {SMALLEST} merged; early {e0} and full {e1} "
            f"steps of {BATCH}; three traces; supernet mode: {sizes.supernet_steps:,} steps of "
            f"single paths, {sizes.tuning} of tuning of a copy of each path",
            **figures,
            "table experiment, encodings": control,
        },
        published={
            "figure": "ImageNet 75.1 % top-1, above methods of the same search space; the "
            "similarity's own share is not known to us",
            "source": "arXiv 2005.14456, abstract; its tables were not available",
        },
        cost={
            "early steps per pool": POOL * e0,
            "early steps per pool, supernet mode": POOL * looks[0]["steps"],
            "full steps per pool": ours["finalists"]["mean"] * e1,
            "cpu seconds, all trainings": float(sum(r["cpu_seconds"][1] for r in rows)),
            "cpu seconds, early parts with both traces": float(
                sum(r["cpu_seconds"][0] for r in rows)
            ),
            "cpu seconds, supernet mode without the full trainings": float(
                sum(r["cpu_seconds"] for r in looks)
                + sum(
                    max(r["supernet_cpu_seconds"] for r in looks if r["seed"] == s) for s in seeds
                )
            ),
            "cpu seconds, report": round(time.process_time() - began, 1),
            "threads": 1,
        },
        headline=headline(ours)
        + "; supernet mode "
        + headline(figures["supernet mode"]["pools"][DEFAULT]),
        verdict=verdict,
        why=why,
    )


def headline(ours: dict[str, Any]) -> str:
    return (
        f"{ours['dc']['mean']:.2f} %; points against random selection "
        f"{record.said(ours['dc minus random selection, equal cost'])}, plain early stopping "
        f"{record.said(ours['dc minus plain early stopping'])}, random clusters "
        f"{record.said(ours['dc minus random clusters of the same sizes'])}"
    )


RIVALS = (
    "random selection, equal cost",
    "plain early stopping",
    "random clusters of the same sizes",
)


def judge(figures: Mapping[str, Any]) -> tuple[record.Verdict, str]:
    """Shown: above all rivals with intervals over seeds, from scratch; partly: above some."""
    said = []
    above = []
    for mode, found in figures.items():
        ours, taus = found["pools"][DEFAULT], found["Kendall's tau of early and final accuracy"]
        yes = [r for r in RIVALS if ours[f"dc minus {r}"]["low"] > 0]
        no = [r for r in RIVALS if r not in yes]
        if mode == "from scratch":
            above = yes
        said.append(
            f"{mode}: Kendall's tau of early accuracy is "
            f"{taus['full training']['all cells']['mean']:.2f} with the full training and "
            f"{taus['table']['all cells']['mean']:.2f} with the table, that of the full training "
            f"{taus['full training with table']['mean']:.2f} with the table; the interval over "
            f"seeds is above 0 against {', '.join(yes) or 'none'}"
            + (f", not against {', '.join(no)}" if no else "")
        )
    verdict: record.Verdict = (
        "shown" if len(above) == len(RIVALS) else "partly" if above else "not shown"
    )
    return verdict, f"For {DEFAULT}. " + ". ".join(said) + ". Small networks, short trainings"


if __name__ == "__main__":
    main()
