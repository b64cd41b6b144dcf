"""Single-stage search on CamVid, beside a fixed network of the same grid at equal time.

    python benchmarks/single_stage.py --data camvid:PATH   runs what is missing under --runs
    python benchmarks/single_stage.py --report             results/single-stage-camvid.json
    python benchmarks/single_stage.py --data camvid:PATH --small   that it works, in some minutes

PATH is a folder with train.parquet and val.parquet: columns `image` and `label` of encoded images,
367 and 101 of them, ids 0 to 10 and 11 for void. Everything is trained on the first and measured on
the second, which no search sees, at 120 x 88 pixels. The network of a search is measured

- at the freeze: as it is (continuous), decoded to the best option of each choice, and decoded with
  the statistics of its batch norms made anew by training images;
- at the end, after as many epochs more of the same weights with frozen coefficients.

The fixed network (all paths, a separable convolution in each node) is trained from scratch for as
many epochs as take the same CPU time. Of the entropy penalty only the direction is shown. A run of
about a minute and a half of one core; runs can be cut off at any time, the same command goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import record
import torch
from torch import Tensor

import morphogen
from morphogen import Training, spaces
from morphogen.bilevel.gates import probabilities, softmax_gates
from morphogen.bilevel.optimisers import SGD, Adam
from morphogen.core.config import altered, to_mapping
from morphogen.engine.search.search import resume, search
from morphogen.engine.search.settings import Settings
from morphogen.evaluators.recalibration import kept_statistics, recalibrate
from morphogen.methods.single_stage import SingleStageConfig
from morphogen.runs import checkpoint
from morphogen.supernets import Gates, NetworkSpec, build
from morphogen.tasks.cut import Cut
from morphogen.testing.runs import Interrupt

SPACE = "short-connections"
SIZE = {"height": 88, "width": 120}
NAMES = "sky, building, pole, road, pavement, tree, sign, fence, car, pedestrian, bicyclist, void"
TASK = {"name": "segmentation", **SIZE, "void": "void", "class_names": NAMES}
TASK |= {"class_weights": "logarithmic"}
EPOCHS, BATCH = 20, 8

CONFIG = SingleStageConfig(weights=SGD(lr=0.05, nesterov=False, weight_decay=3e-4))
MOVING = altered(CONFIG, {"alpha": Adam(lr=3e-2)})
"""Coefficients move within ten epochs: for the entropy penalty."""

VARIANTS: dict[str, SingleStageConfig] = {
    "resplit": CONFIG,
    "fixed": replace(CONFIG, data_split="fixed"),
    **{f"penalty {x:g}": replace(MOVING, penalty=x) for x in (0.0, 0.1, 1.0)},
}
BASELINE = "all paths, sep_conv_3x3"


def prepared(options: argparse.Namespace) -> Path:
    """A folder whose test part is CamVid's validation part, so that no search has it."""
    source, folder = (
        Path(options.data.removeprefix("camvid:")).resolve(),
        Path(options.runs) / "data",
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in (("train", "train.parquet"), ("test", "val.parquet")):
        link = folder / f"{name}.parquet"
        if not link.is_symlink():
            link.symlink_to(source / file)
    return folder


def settings_of(seed: int, options: argparse.Namespace) -> Settings:
    return Settings(
        seed=seed,
        epochs=options.epochs,
        batch_size=BATCH,
        split={"train_images": 184, "valid_images": 183},
        steps_per_epoch=2 if options.small else 0,
        task=TASK,
        network={"channels": 4 if options.small else 8, "depth": 4},
        hardware={"threads": 1},
        diagnostics={"images": 0},
    )


def one(variant: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """A search, measured at the freeze and at the end."""
    path = Path(options.runs) / f"{variant.replace(' ', '-')}-seed{seed}"
    data, settings = prepared(options), settings_of(seed, options)
    at_freeze, frozen = path / "at-freeze.json", max(1, round(CONFIG.freeze * options.epochs))
    if not at_freeze.exists():
        stop = Interrupt(epochs=frozen)
        try:
            if (path / "config.yaml").exists():
                resume(path, watcher=stop)
            else:
                search(
                    VARIANTS[variant],
                    space=SPACE,
                    data=str(data),
                    settings=settings,
                    run=path,
                    watcher=stop,
                )
        except KeyboardInterrupt:
            at_freeze.write_text(json.dumps(measured(path, data, settings)))
    found = resume(path)
    history = found.history
    return {
        "variant": variant,
        "seed": seed,
        **json.loads(at_freeze.read_text()),
        "end": found.test["mean"],
        "entropy": history[frozen - 1]["entropy"],
        "removed": history[frozen]["removed"],
        "train_loss": [row["train_loss"] for row in history],
        "params": found.cost["params"],
        "macs": found.cost["macs"],
        "cpu_seconds": found.cost["cpu_seconds"],
    }


def measured(path: Path, data: Path, settings: Settings) -> dict[str, float]:
    """MIoU of the network that a run has at the freeze, and of what is decoded of it."""
    space = spaces.make(SPACE)
    asked = Cut(settings.split.train_images, settings.split.valid_images, seed=settings.seed)
    task = settings.task.make(str(data), asked)
    sizes = NetworkSpec(
        channels=settings.network.channels,
        depth=4,
        classes=task.outputs(),
        in_channels=task.in_channels,
    )
    net = build(space, sizes)
    state = checkpoint.read(path / "checkpoint.pt")["state"]
    net.load_state_dict(state["net"])
    held = task.open_test("the network at the freeze")
    alphas: list[Tensor] = state["alphas"]
    decoded = Gates.of(space, space.derive(probabilities(space, alphas)))

    def miou(gates: Gates) -> float:
        net.eval()
        return task.value(task.measure(lambda x: net(x, gates), task.once(held, BATCH)))

    with torch.no_grad():
        found = {"freeze": miou(softmax_gates(space, alphas)), "decoded": miou(decoded)}
        with kept_statistics(net):
            batches = (batch.x for batch in task.once("pool", BATCH, limit=256))
            recalibrate(net, lambda x: net(x, decoded), batches)
            found["recalibrated"] = miou(decoded)
    return found


def baseline(seed: int, seconds: float, options: argparse.Namespace) -> dict[str, Any]:
    """The fixed network, trained on the same images for about so many seconds of CPU."""
    data = prepared(options)
    info = spaces.info(SPACE)

    def fit(epochs: int, name: str) -> Any:
        path = Path(options.runs) / f"{name}-seed{seed}"
        if (path / "config.yaml").exists():
            return morphogen.resume(path)
        training = Training(
            epochs=epochs,
            batch_size=BATCH,
            seed=seed,
            held_out=0.0,
            task=TASK,
            network={"channels": 4 if options.small else 8, "depth": 4},
            **to_mapping(CONFIG.weights),
            hardware={"threads": 1},
        )
        return morphogen.train(
            info.reference, space=SPACE, data=str(data), training=training, run=path
        )

    each = fit(1, "baseline-second").history[0]["cpu_seconds"]
    epochs = max(1, round(seconds / each)) if not options.small else 2
    found = fit(epochs, "baseline")
    return {
        "variant": BASELINE,
        "seed": seed,
        "epochs": epochs,
        "end": found.test["mean"],
        "params": found.cost["params"],
        "macs": found.cost["macs"],
        "cpu_seconds": found.cost["cpu_seconds"],
    }


def report(rows: Sequence[dict[str, Any]]) -> None:
    of = {v: [r for r in rows if r["variant"] == v] for v in (*VARIANTS, BASELINE)}
    of = {v: mine for v, mine in of.items() if mine}
    figures: dict[str, Any] = {
        "unit": "mIoU in % without void, 120 x 88 pixels, 11 classes, CamVid's validation images"
    }
    for variant, mine in of.items():
        numbers = ["end", "params", "macs", "cpu_seconds"]
        if variant != BASELINE:
            numbers += ["freeze", "decoded", "recalibrated", "entropy", "removed"]
        else:
            numbers += ["epochs"]
        figures[variant] = {n: record.interval([float(r[n]) for r in mine]) for n in numbers}
        if variant != BASELINE:
            figures[variant]["train_loss by epoch, first seed"] = mine[0]["train_loss"]
    main = [r for v in ("resplit", "fixed") for r in of.get(v, [])]
    entropies = [figures[v]["entropy"]["mean"] for v in of if v.startswith("penalty")]
    fixed = {r["seed"]: r["end"] for r in of.get(BASELINE, [])}
    ahead = [r["end"] - fixed[r["seed"]] for r in of.get("resplit", []) if r["seed"] in fixed]
    tests = {
        "the loss falls in both phases": all(
            r["train_loss"][0] > r["train_loss"][len(r["train_loss"]) // 2] > r["train_loss"][-1]
            for r in main
        ),
        "the end is 2 points above the freeze, for every seed": all(
            r["end"] >= r["freeze"] + 2 for r in main
        ),
        "the end is 30 % or more": all(r["end"] >= 30 for r in main),
        "at the freeze the continuous network is 15 points above the decoded, recalibrated": all(
            r["freeze"] - r["recalibrated"] >= 15 for r in main
        ),
        "entropy falls with the penalty": sorted(entropies, reverse=True) == entropies,
    }
    held = sum(tests.values())
    beside = record.interval(ahead) if ahead else None
    figures["resplit minus the fixed network, same seeds"] = beside
    record.write(
        "single-stage-camvid",
        claim=(
            "A network that is decoded from a continuous supernet is destroyed, where the "
            "continuous network itself, frozen, only needs to be trained on; searching pays "
            "beside a fixed network of the same grid at equal time."
        ),
        system="single-stage, segmentation",
        command="python benchmarks/single_stage.py --data camvid:PATH",
        seeds=sorted({r["seed"] for r in rows}),
        split=(
            "367 training images of CamVid, all of which train weights or coefficients; measured "
            "on the 101 validation images, which no search sees"
        ),
        figures={"what must hold": tests, **figures},
        published={
            "figure": "75.3 % on Cityscapes' validation images in the searching stage, at 2048 x "
            "1024; nothing on CamVid",
            "source": "arXiv 2405.16610, abstract",
        },
        cost={"cpu_seconds": round(sum(r["cpu_seconds"] for r in rows))},
        headline="; ".join(f"{v}: {figures[v]['end']['mean']:.1f} %" for v in of),
        verdict="shown"
        if held == len(tests) and beside is not None and beside["mean"] > 0
        else "partly"
        if held > 1
        else "not shown",
        why="; ".join(f"{claim}: {'yes' if ok else 'no'}" for claim, ok in tests.items())
        + (f"; {beside['mean']:+.1f} points beside the fixed network" if beside else "")
        + ". A reconstruction, at a small fraction of the paper's size.",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    record.add_data(parser, "camvid")
    parser.add_argument("--runs", type=Path, default=Path("runs/single-stage"))
    parser.add_argument("--epochs", type=int, default=0, help=f"{EPOCHS}; with --small 4")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--small", action="store_true", help="that it works, in some minutes")
    parser.add_argument("--report", action="store_true", help="of what is there; runs nothing")
    options = parser.parse_args()
    options.epochs = options.epochs or (4 if options.small else EPOCHS)
    kept = Path(options.runs) / "rows.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    if not options.report:
        for seed in options.seeds:
            for variant in (*VARIANTS, BASELINE):
                rows = record.rows(kept)
                if (variant, seed) in {(r["variant"], r["seed"]) for r in rows}:
                    continue
                if variant == BASELINE:
                    mine = (r for r in rows if (r["variant"], r["seed"]) == ("resplit", seed))
                    row = baseline(seed, next(mine)["cpu_seconds"], options)
                else:
                    row = one(variant, seed, options)
                record.keep(kept, row)
                print(f"{variant}, seed {seed}: {row['end']:.2f} %, {row['cpu_seconds']:.0f} s")
    rows = record.rows(kept)
    if options.small:
        print(json.dumps(rows, indent=1))
    elif rows:
        report(rows)


if __name__ == "__main__":
    main()
