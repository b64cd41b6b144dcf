"""GOLD-NAS against pruning at once, and random networks, on real CIFAR-10.

    python benchmarks/gold_nas.py --data cifar10:PATH  runs what is missing under --runs
    python benchmarks/gold_nas.py --report             results/gold-nas.json, of what is there
    python benchmarks/gold_nas.py --data cifar10:PATH --small   in some minutes, no result file

The claim of the paper (arXiv 2007.03331): one search gives a series of networks from accurate to
small, and pruning a few operations at a time does better than pruning as many at once. In the space
of GOLD-NAS with three cells:
- gradual: the search; its series, each of as many multiply-adds as it says;
- at once: the same training with a resource term of nothing, then for each of the series the
  weakest operations are pruned together until as many multiply-adds are left;
- random: a network of the space within a tenth of the multiply-adds, drawn for each of the series.
All are trained from scratch alike and measured on the test part, which nothing else reads. The last
of the series is also compared with the supernet's weights, before any further training, on the
images that trained them. Runs can be cut off at any time: the same command goes on. Several seeds
can be run in as many processes (`--seeds 0`, `--seeds 1`, ...).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
from torch import Tensor

import morphogen
from morphogen import cost
from morphogen.bilevel.gates import derive_live, relaxed_gates
from morphogen.core import Architecture
from morphogen.core.config import altered
from morphogen.engine.search.search import resume, search
from morphogen.engine.search.settings import Settings
from morphogen.engine.train.retrain import resume as resume_training
from morphogen.engine.train.training import quick_training
from morphogen.evaluators.supernet import SupernetEvaluator
from morphogen.methods.gold_nas import GOLDNAS, GOLDNASConfig, GOLDNASState, multiply_adds
from morphogen.runs import checkpoint
from morphogen.spaces.darts_gold_nas import IndependentDARTS
from morphogen.supernets import NetworkSpec
from morphogen.supernets.relaxations import sigmoid
from morphogen.tasks.classification import Images, ImageTask, load
from morphogen.tasks.problem import Problem

SPACE = IndependentDARTS("darts-gold-nas-3", cells=3)
SIDE = 16
SPEC = NetworkSpec(channels=8, depth=3)
GRADUAL = GOLDNASConfig(lambda0=1e-3, smallest=0.4, stable_rounds=1)
NEVER = replace(GRADUAL, lambda0=1e-9, growth=1.0, xi_min=0.0, xi_max=0.0)
"""No resource term and no pruning; the networks of a search as it would be without either."""
CHOSEN = 4
"""Of the series without its first, the whole network, what is trained from scratch."""
SEARCHES = "searches"
"""Of a row: what both searches of a seed gave."""
SETTINGS = Settings(
    batch_size=64,
    split={"train_images": 2000, "valid_images": 2000},
    task={"image_size": SIDE},
    network={"channels": SPEC.channels, "depth": SPEC.depth},
    hardware={"threads": 1},
    diagnostics={"images": 0},
)


def found(config: GOLDNASConfig, path: Path, settings: Settings, data: str) -> Any:
    """A search, started, resumed or read."""
    if (path / "config.yaml").exists():
        return resume(path)
    return search(config, space=SPACE, data=data, settings=settings, run=path)


def ended(path: Path, settings: Settings, data: str) -> tuple[GOLDNASState, Problem]:
    """The state that a search ended with."""
    split = settings.split
    task = ImageTask.of(
        data,
        train_images=split.train_images,
        valid_images=split.valid_images,
        size=SIDE,
        seed=settings.seed,
    )
    problem = Problem(SPACE, task, SPEC, batch_size=settings.batch_size, seed=settings.seed)
    state = GOLDNAS(GRADUAL).init(problem)
    checkpoint.restore(state, checkpoint.read(path / "checkpoint.pt")["state"])
    return state, problem


def at_once(state: GOLDNASState, macs: float) -> list[Tensor]:
    """Masks of what is live when the weakest are pruned until no more multiply-adds are left."""
    method, live = GOLDNAS(GRADUAL), [mask.clone() for mask in state.live]
    p = method.shares(state, SPACE)
    for place in p.argsort().tolist():
        if multiply_adds(state.costs, live) <= macs:
            break
        group, row, column = state.nodes.places[place]
        live[group][row, column] = False
        kept = torch.cat([mask.reshape(-1) for mask in live]).float()
        if not state.nodes.sums(kept)[place]:  # the last of its node
            live[group][row, column] = True
    return live


def drawn(macs: float, rng: np.random.Generator) -> Architecture:
    """A random network within a tenth of the multiply-adds: half-open densities, then by chance."""
    while True:
        density = rng.random()
        live = [torch.from_numpy(rng.random((14, 2)) < density) for _ in SPACE.cells]
        scores = [torch.from_numpy(rng.random((14, 2))) for _ in SPACE.cells]
        arch = derive_live(SPACE, live, scores)
        if abs(cost.of(SPACE, arch, SPEC, (3, SIDE, SIDE)).macs / macs - 1) < 0.1:
            return arch


def inherited(state: GOLDNASState, problem: Problem, live: list[Tensor]) -> float:
    """Accuracy in % with the supernet's weights and gates, of images that trained them."""
    gates = relaxed_gates(SPACE, state.alphas, sigmoid, live)
    return SupernetEvaluator(problem).under(state.net, gates).score


def judge(options: argparse.Namespace) -> ImageTask:
    """What networks are trained and measured on."""
    parts = []
    for part, most in (("train", 1000 if options.small else 10000), ("test", 10000)):
        images = load(options.data, part, SIDE)
        few = images.pixels[:most], images.labels[:most]
        parts.append(Images(*few, images.classes))
    train, test = parts
    half = len(train) // 2
    return ImageTask.of(train, test=test, train_images=half, valid_images=half, size=SIDE)


def trained(arch: Architecture, path: Path, seed: int, options: argparse.Namespace) -> float:
    """Test accuracy in % of a short training from scratch."""
    if (path / "config.yaml").exists():
        return float(resume_training(path, task=judge(options)).test["mean"])
    training = altered(
        quick_training("darts-gold-nas"),
        {
            "epochs": 1 if options.small else 20,
            "held_out": 0.0,  # the last epoch counts
            "network.channels": SPEC.channels,
            "network.depth": SPEC.depth,
            "hardware.threads": 1,
            "seed": seed,
        },
    )
    result = morphogen.train(arch, space=SPACE, task=judge(options), training=training, run=path)
    return float(result.test["mean"])


def searched(seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """What the two searches of a seed give: the networks that are to be trained."""
    settings = replace(SETTINGS, seed=seed, epochs=6 if options.small else 80)
    if options.small:
        few = {"steps_per_epoch": 10, "split.train_images": 500, "split.valid_images": 500}
        settings = altered(settings, few)
    config = altered(GRADUAL, {"lambda0": 0.05, "per_round": 16}) if options.small else GRADUAL
    path = Path(options.runs) / f"gradual-seed{seed}"
    gradual = found(config, path, settings, options.data)
    dense_path = Path(options.runs) / f"dense-seed{seed}"
    same = replace(settings, epochs=len(gradual.history))
    dense = found(NEVER, dense_path, same, options.data)
    state, problem = ended(path, settings, options.data)
    whole, whole_problem = ended(dense_path, same, options.data)
    scores = whole.nodes.matrices(GOLDNAS(GRADUAL).shares(whole, SPACE))
    rng = np.random.default_rng(seed)
    series = gradual.candidates
    places = np.unique(
        np.linspace(min(1, len(series) - 1), len(series) - 1, CHOSEN).round().astype(int)
    )
    networks = []
    for place in places.tolist():
        pruned = at_once(whole, float(series[place]["macs"]))
        archs = {
            "gradual": SPACE.parse(series[place]["architecture"]),
            "at once": derive_live(SPACE, pruned, scores),
            "random": drawn(float(series[place]["macs"]), rng),
        }
        for kind, arch in archs.items():
            macs = cost.of(SPACE, arch, SPEC, (3, SIDE, SIDE)).macs
            text = SPACE.format(arch)
            networks.append({"kind": kind, "place": place, "architecture": text, "macs": macs})
    return {
        "seed": seed,
        "kind": SEARCHES,
        "networks": networks,
        "inherited": {
            "gradual": inherited(state, problem, state.live),
            "at once": inherited(whole, whole_problem, pruned),  # the last
            "before": inherited(whole, whole_problem, whole.live),
        },
        "cpu_seconds": gradual.cost["cpu_seconds"] + dense.cost["cpu_seconds"],
        "pruned": [h["pruned"] for h in gradual.history],
    }


def one(seed: int, options: argparse.Namespace, rows: Path) -> None:
    """All that one seed gives, a line each; what is there already is left out."""
    mine = [row for row in record.rows(rows) if row["seed"] == seed]
    done = {(row["kind"], row.get("place")): row for row in mine}
    found = done.get((SEARCHES, None))
    if found is None:
        found = searched(seed, options)
        record.keep(rows, found)
    for network in found["networks"]:
        kind, place = network["kind"], network["place"]
        if (kind, place) in done:
            continue
        run = Path(options.runs) / f"train-{kind.replace(' ', '-')}-{place}-seed{seed}"
        test = trained(SPACE.parse(network["architecture"]), run, seed, options)
        row = {"seed": seed, "kind": kind, "place": place, "macs": network["macs"], "test": test}
        record.keep(rows, row)
        print(f"seed {seed}, {kind}, {network['macs'] / 1e6:.2f} M: {test:.2f} %")


def report(rows: Sequence[dict[str, Any]]) -> None:
    kinds = ("gradual", "at once", "random")
    searches = [r for r in rows if r["kind"] == SEARCHES]
    key = {(r["kind"], r["seed"], r["place"]): r for r in rows if r["kind"] != SEARCHES}
    points = [(s, p) for kind, s, p in key if kind == "gradual"]
    points = [at for at in points if all((kind, *at) in key for kind in kinds)]
    gains = {
        kind: [key["gradual", *at]["test"] - key[kind, *at]["test"] for at in points]
        for kind in kinds[1:]
    }
    inherited = {
        name: record.interval([r["inherited"][name] for r in searches])
        for name in ("gradual", "at once", "before")
    }
    tests = {
        "gradual pruning is better than pruning at once, by the mean": bool(
            np.mean(gains["at once"]) > 0
        ),
        "and than random networks": bool(np.mean(gains["random"]) > 0),
        "with inherited weights it is better by more than 2 points": bool(
            inherited["gradual"]["mean"] > inherited["at once"]["mean"] + 2
        ),
    }
    held = sum(tests.values())
    record.write(
        "gold-nas",
        claim=(
            "One search gives a series of networks from accurate to small, better than pruning as "
            "many operations at once."
        ),
        system="gold-nas",
        command="python benchmarks/gold_nas.py --data cifar10:PATH",
        seeds=sorted({r["seed"] for r in rows}),
        split="4,000 of CIFAR-10's training images, at 16 x 16, search; networks are trained on "
        "10,000 for 20 epochs and measured on the test part",
        figures={
            "what must hold": tests,
            "gain over": {kind: record.interval(values) for kind, values in gains.items()},
            "inherited": inherited,
            "rows": list(key.values()),
            "networks": [n | {"seed": r["seed"]} for r in searches for n in r["networks"]],
        },
        published={
            "figure": "2.99 % test error with 1.58 M parameters, the smallest of the series",
            "source": "arXiv 2007.03331",
        },
        cost={"cpu_seconds of the searches": round(sum(r["cpu_seconds"] for r in searches))},
        headline=", ".join(f"{np.mean(v):+.2f} points over {k}" for k, v in gains.items()),
        verdict="shown" if held == len(tests) else "partly" if held else "not shown",
        why="; ".join(f"{claim}: {'yes' if ok else 'no'}" for claim, ok in tests.items()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    record.add_data(parser, "cifar10")
    parser.add_argument("--runs", type=Path, default=Path("runs/gold-nas"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--small", action="store_true", help="that it works, in some minutes")
    parser.add_argument("--report", action="store_true", help="of what is there; runs nothing")
    options = parser.parse_args()
    rows = Path(options.runs) / "rows.jsonl"
    rows.parent.mkdir(parents=True, exist_ok=True)
    if not options.report:
        for seed in options.seeds:
            one(seed, options, rows)
    if options.small:
        print(json.dumps(record.rows(rows), indent=1))
    elif record.rows(rows):
        report(record.rows(rows))


if __name__ == "__main__":
    main()
