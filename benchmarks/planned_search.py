"""`morphogen search` without a method, on data and in a time, against what asks for no search.

    python benchmarks/planned_sets.py DIRECTORY ...      writes sets of images, see there
    python benchmarks/signal_sets.py DIRECTORY           writes sets of signals, see there
    python benchmarks/planned_search.py DIRECTORY --fashion-mnist FOLDER --cifar10 FOLDER
                                                         runs what is missing; again: goes on
    python benchmarks/planned_search.py --report         results/planned-search.json

For each set, time and seed, one after the other and with one thread each:

- search: the planned search; test accuracy of the network that it delivers.
- reference: the space's reference at the sizes and by the recipe that the search chose, for as
  long as the whole search took; it has all of the time, and no choice. Where the plan says that no
  search pays, this is what the search does, so that it is not run a second time.
- usual: the reference at the sizes that the search chose, by the recipe of other trainings: images
  mirrored and shifted alone, the usual weight decay; for as long. Where the plan keeps that recipe
  and searches nothing, it is what the search does.
- random: an architecture of the search's space drawn at random, at the sizes and by the recipe that
  the search chose; for as long.
- untuned: the ResNet cell of NAS-Bench-201 (of signals, the same in one dimension) as it is without
  a look at data and machine: the usual recipe, inputs of their own size, 16 channels, float32; for
  as long.
- METHOD (`--others idarts,zero-cost-pt,spos`): that search with its defaults, in the space of that
  cell, then what it found trained as that cell is for the rest of the time.

Protocol, fixed before the reported seeds ran: numbers of `engine/search/planning` were tuned on
Fashion-MNIST and CIFAR-10 with seeds from 100 up, those of few data on other images than `few` has,
and judged there by the first 4,000 test images, which `few` leaves out; that images are not shifted
where they are seen a few times by the last of Fashion-MNIST's and CIFAR-10's training images;
seeds 0, 1, 2 of all sets are reported, and the other sets were not looked at before. On 2026-12-01,
when that was known of a plan that trained the ResNet cell, images came to be searched in AnyNet;
its ResNet-9 was chosen on the first 500 to 40,000 of CIFAR-10's training images, by 4,000 of the
last, and all searches of images were made anew. It goes by
wall clock: two commands of one thread each may share two cores, with nothing else beside them, or
with a training that goes by epochs. Half an hour, and the older methods in ten minutes, are for two
sets alone, since all of them would take a day and a half of two cores (said on 2026-12-01, before
any of their runs):

    ... --minutes 30 --sets few,patches --kinds search,reference,untuned
    ... --sets few,patches --others idarts,zero-cost-pt,spos --kinds idarts,zero-cost-pt,spos
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import record

from morphogen import spaces
from morphogen.core.config import from_mapping, to_mapping
from morphogen.core.rng import numpy_stream
from morphogen.core.statistics import interval
from morphogen.engine.resume import resume
from morphogen.engine.search.presets import quick_preset
from morphogen.engine.search.search import search
from morphogen.engine.search.settings import Settings
from morphogen.engine.train.retrain import train
from morphogen.engine.train.training import Training
from morphogen.runs.directory import RunDirectory
from morphogen.tasks.kinds import planned_space_for, space_for

TUNED = ("fashion-mnist", "cifar10")
SETS = (*TUNED, "patches", "few", "japanese-vowels", "watch")
RECIPE = ("task.auto_augment", "task.crop", "weights.weight_decay")
"""What a plan chooses where a training sees each example very often, or a few times."""
LOOK = 10.0
"""Seconds in which the pace of a training is measured, where epochs are short."""
KINDS = ("search", "reference", "usual", "untuned", "random")

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One run."""

    data: str
    minutes: float
    seed: int
    kind: str

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.data}-{self.minutes:g}m-{self.seed}-{self.kind}"


def where(name: str, args: argparse.Namespace) -> str:
    """The data as a search takes them."""
    if name == "embedded":
        return "fashion-mnist"
    if name in TUNED:
        return f"{name}:{getattr(args, name.replace('-', '_'))}"
    return str(args.directory / f"{name}.npz")


def searched(case: Case, args: argparse.Namespace, path: Path, method: str | None) -> Row:
    """A search: planned, or by a method with its defaults."""
    if (path / "config.yaml").exists():
        result = resume(path)
    else:
        data = where(case.data, args)
        settings = quick_preset(method or "successive-halving").settings
        settings = from_mapping(
            Settings, {**_plain(settings), "seed": case.seed, "hardware": {"threads": 1}}
        )
        planned = {} if method else {"time": f"{round(60 * case.minutes)}s"}
        result = search(method, data=data, settings=settings, run=path, **planned)
    row: Row = {"text": result.text, "search": dict(result.cost)}
    if result.test:
        row["test"] = result.test["mean"]
    if result.comparison is not None:
        row["verdict"] = result.comparison.verdicts[0].model_dump()
    return row


def _plain(settings: Settings) -> dict[str, Any]:
    return {name: v for name, v in to_mapping(settings).items() if v is not None}


def plan_of(run: Path) -> Row:
    """What a planned search has chosen, as a training takes it; and whether it was to search."""
    values = RunDirectory(run).config()
    held, weights = values["settings"], values["config"]["weights"]
    return {
        "recipe": {
            "batch_size": held["batch_size"],
            "held_out": 0.0,
            "lr": weights["lr"],
            "weight_decay": weights["weight_decay"],
            "task": held["task"],
            "network": {key: held["network"][key] for key in ("channels", "depth")},
            "hardware": {"threads": 1, "precision": held["hardware"]["precision"]},
        },
        "searched": bool(values["config"]["candidates"]),
        "chosen recipe": [name for name in RECIPE if name in values["planned"]],
    }


def usual(recipe: Row) -> Row:
    """A recipe without what a plan takes by how often examples are seen."""
    own = [name.rpartition(".")[2] for name in RECIPE]
    task = {name: v for name, v in recipe["task"].items() if name not in own}
    return {name: v for name, v in recipe.items() if name not in own} | {"task": task}


def untuned(recipe: Row) -> Row:
    """A recipe with the sizes of no plan, either."""
    recipe = usual(recipe)
    task = recipe["task"]
    return recipe | {
        "batch_size": 64,
        "task": task | {"image_size": 0} if "image_size" in task else task,
        "network": {"channels": 16, "depth": 1},
        "hardware": {"threads": 1},
    }


PLANNED = {"reference": dict[str, Any], "usual": usual, "random": dict[str, Any]}
"""Kinds in the space that a search without a method takes, with what they take of its recipe."""


def space_of(case: Case, args: argparse.Namespace) -> spaces.SearchSpace:
    """In which a kind's architectures are."""
    data = where(case.data, args)
    return spaces.make(planned_space_for(data) if case.kind in PLANNED else space_for(data))


def trained(
    case: Case, args: argparse.Namespace, path: Path, text: str, seconds: float, plan: Row
) -> Row:
    """An architecture from scratch for so long, by its kind's recipe."""
    data, space = where(case.data, args), space_of(case, args)
    recipe = PLANNED.get(case.kind, untuned)({**plan["recipe"], "seed": case.seed})

    def run(epochs: int, out: Path) -> Any:
        training = from_mapping(Training, {**recipe, "epochs": epochs})
        return train(text, space=space, data=data, training=training, run=out)

    def lasts(epochs: int) -> float:
        """Wall clock of so many epochs, with what is written after each."""
        pace = path.with_name(f"{path.name}-pace-{epochs}")
        shutil.rmtree(pace, ignore_errors=True)
        began = time.perf_counter()
        run(epochs, pace)
        return time.perf_counter() - began

    if (path / "config.yaml").exists():
        result = resume(path)
    else:
        short = lasts(2)
        epoch = RunDirectory(path.with_name(f"{path.name}-pace-2")).metrics()[-1]["seconds"]
        if epoch < LOOK / 2:
            several = 2 + round(LOOK / max(epoch, 0.01))
            epoch = (lasts(several) - short) / (several - 2)
        result = run(max(1, round(seconds / epoch)), path)
    return {
        "text": text, "test": result.test_values[0], "epochs": len(result.history),
        "train": dict(result.cost),
    }  # fmt: skip


def one(case: Case, args: argparse.Namespace, done: list[Row]) -> Row:
    """A run."""
    path = args.runs / case.name
    if case.kind == "search":
        return searched(case, args, path, None) | {"plan": plan_of(path)}
    (beside,) = (row for row in done if row["name"] == replace(case, kind="search").name)
    seconds, plan, space = beside["seconds"], beside["plan"], space_of(case, args)
    same = case.kind == "reference" or (case.kind == "usual" and not plan["chosen recipe"])
    if same and not plan["searched"]:
        return {"text": beside["text"], "test": beside["test"], "searched": False}
    if case.kind in ("reference", "usual", "untuned"):
        found = spaces.reference_of(space)
        assert found is not None
        return trained(case, args, path, space.format(found.architecture), seconds, plan)
    if case.kind == "random":
        arch = space.sample(numpy_stream(case.seed, "planned-search/random"))
        return trained(case, args, path, space.format(arch), seconds, plan)
    began = time.perf_counter()
    row = searched(case, args, path.with_name(path.name + "-search"), case.kind)
    left = seconds - (time.perf_counter() - began)
    return row | trained(case, args, path, row["text"], max(left, seconds / 10), plan)


def cases(args: argparse.Namespace) -> Iterator[Case]:
    """All, in the order in which they run."""
    kinds = [*KINDS, *filter(None, args.others.split(","))]
    for minutes in args.minutes:
        for seed in args.seeds:
            for data in args.sets.split(","):
                for kind in kinds:
                    if not args.kinds or kind in args.kinds.split(","):
                        yield Case(data, minutes, seed, kind)


def figures(every: list[Row]) -> dict[str, Any]:
    """Differences over seeds, by set and time."""
    found: dict[str, Any] = {}
    for data in sorted({row["data"] for row in every}):
        for minutes in sorted({row["minutes"] for row in every if row["data"] == data}):
            held = [row for row in every if (row["data"], row["minutes"]) == (data, minutes)]
            by = {kind: {r["seed"]: r for r in held if r["kind"] == kind} for kind in
                  {r["kind"] for r in held}}  # fmt: skip
            entry: dict[str, Any] = {}
            for kind, runs in sorted(by.items()):
                entry[kind] = interval([runs[s]["test"] for s in sorted(runs)])
                both = sorted(runs.keys() & by.get("search", {}).keys())
                if kind != "search" and both:
                    gains = [by["search"][s]["test"] - runs[s]["test"] for s in both]
                    entry[f"search minus {kind}"] = interval(gains)
            for name in ("text", "verdict"):
                entry[f"{name} of each seed"] = [
                    by["search"][s].get(name) for s in sorted(by.get("search", {}))
                ]
            entry["searched"] = [
                by["reference"][s].get("searched", True) for s in sorted(by.get("reference", {}))
            ]
            entry["chosen recipe"] = by["search"][min(by["search"])]["plan"]["chosen recipe"]
            entry["seconds"] = {
                kind: interval([r["seconds"] for r in runs.values() if r.get("searched", True)])
                for kind, runs in sorted(by.items())
                if any(r.get("searched", True) for r in runs.values())
            }
            found[f"{data}, {minutes:g} min"] = entry
    return found


def report(args: argparse.Namespace) -> None:
    """results/planned-search.json."""
    every = record.rows(args.runs / "rows.jsonl")
    found = figures(every)

    def minus(kind: str, where: str = "") -> dict[str, Any]:
        """The search's lead over a kind, of the sets of which that says something."""
        key = f"search minus {kind}"
        said = {name: e for name, e in found.items() if key in e and (not where or any(e[where]))}
        return {name: e[key] for name, e in said.items()}

    gains = minus("untuned")
    recipe, raced = minus("usual", "chosen recipe"), minus("reference", "searched")
    above = [name for name, g in gains.items() if g.get("low", -1) > 0]
    below = [name for name, g in gains.items() if g.get("low", -np.inf) < -0.5]

    def told(of: dict[str, Any]) -> str:
        ends = {
            name: f"{g['low']:+.1f} to {g['high']:+.1f}" if "low" in g else f"{g['n']} seed"
            for name, g in of.items()
        }
        return "; ".join(f"{name} {of[name]['mean']:+.1f} ({ends[name]})" for name in of)

    record.write(
        "planned-search",
        claim="A search without a method delivers a network that is not below an untouched ResNet "
        "cell trained for all of the same time, and above it where that can be had.",
        system="search without a method",
        headline=f"test accuracy minus that of the untouched ResNet cell, points: {told(gains)}; "
        f"of which the recipe of few data: {told(recipe) or 'nowhere taken'}; the architecture: "
        f"{told(raced) or 'nowhere searched, since the plan said that it would not pay'}; "
        f"minus that of a random architecture: {told(minus('random'))}",
        verdict="shown" if len(above) >= 2 and not below else "partly" if above else "not shown",
        why=f"above, the interval free of 0: {', '.join(above) or 'nowhere'}; lower end below "
        f"-0.5: {', '.join(below) or 'nowhere'}",
        command="python benchmarks/planned_search.py DIRECTORY --fashion-mnist FOLDER --cifar10 "
        "FOLDER && python benchmarks/planned_search.py --report",
        seeds=sorted({row["seed"] for row in every}),
        split="search and training: the training parts; figures: test accuracy, opened once a "
        f"run. Tuned on {' and '.join(TUNED)} with other seeds; of the other sets "
        "what an earlier plan reached was known",
        figures=found,
        published={"figure": "none", "source": "no paper: a claim of this package"},
        cost={
            "wall_hours": round(sum(row["seconds"] for row in every) / 3600, 2),
            "threads": 1,
            "runs": len(every),
        },
    )  # fmt: skip


def main() -> None:
    """Run what is missing, or report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--fashion-mnist", type=Path)
    parser.add_argument("--cifar10", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/planned-search"))
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--minutes", type=float, nargs="+", default=[10.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--others", default="")
    parser.add_argument("--kinds", default="")
    parser.add_argument("--report", action="store_true")
    args = parser.parse_args()
    if args.report:
        report(args)
        return
    args.runs.mkdir(parents=True, exist_ok=True)
    kept = args.runs / "rows.jsonl"
    for case in cases(args):
        done = record.rows(kept)
        if case.name in {row["name"] for row in done}:
            continue
        began = time.perf_counter()
        row = one(case, args, done)
        taken = time.perf_counter() - began
        if case.kind == "search":
            taken = max(taken, row["search"]["seconds"])
        row |= {"data": case.data, "minutes": case.minutes, "seed": case.seed, "kind": case.kind}
        record.keep(kept, {"name": case.name, **row, "seconds": round(taken, 1)})
        print(case.name, row.get("test"), f"{taken:.0f} s", flush=True)


if __name__ == "__main__":
    main()
