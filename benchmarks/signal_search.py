"""Searches of a minute on real signals, and what was found against random cells.

    python benchmarks/signal_sets.py DIRECTORY       writes the data, see there
    python benchmarks/signal_search.py DIRECTORY     runs what is missing in --out; again: goes on
    python benchmarks/signal_search.py --report      results/signals.json

The cell that SPOS finds in `signal201` and random cells are trained from scratch, all alike and
briefly. Test accuracies: of the watch on subjects that no search and no training has seen; of the
vowels on the published test part.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch

from morphogen import spaces
from morphogen.core.rng import numpy_stream
from morphogen.engine.search.search import search
from morphogen.engine.search.settings import Settings
from morphogen.engine.train.retrain import train
from morphogen.engine.train.training import Training
from morphogen.methods.spos import SPOSConfig

SEEDS, RANDOM = (0, 1, 2, 3, 4), 4
EPOCHS = {"japanese-vowels": (40, 40), "watch": (10, 6)}
"""By set: of the search and of each training."""
BATCH = {"japanese-vowels": 16, "watch": 64}
CONFIG = SPOSConfig(
    generations=4, population=20, parents=6, mutants=10, crossovers=10,
    fitness_images=1000, recalibration_images=500,
)  # fmt: skip


def tested(name: str, data: Path, arch: Any, seed: int, out: Path) -> float:
    """Test accuracy of a network that is trained from scratch, in percent."""
    training = Training(
        epochs=EPOCHS[name][1],
        seed=seed,
        batch_size=BATCH[name],
        held_out=0.0,
        task={"jitter": 0.05, "scaling": 0.1},
        network={"channels": 16, "depth": 1},
        hardware={"threads": 1},
    )
    return train(arch, space="signal201", data=data, training=training, run=out).test_values[0]


def main() -> None:
    """Run what is missing, or report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, default=Path("runs/signals"))
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS))
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "cells.json"
    rows: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    if options.report:
        report(rows)
        return
    if options.directory is None:
        parser.error("the directory that signal_sets.py wrote is missing")
    space = spaces.make("signal201")
    for name in EPOCHS:
        for seed in options.seeds:
            data, key = options.directory / f"{name}.npz", f"{name} {seed}"
            row = rows.setdefault(key, {"random": {}})
            if "architecture" not in row:
                settings = Settings(
                    seed=seed,
                    epochs=EPOCHS[name][0],
                    batch_size=BATCH[name],
                    task={"jitter": 0.05, "scaling": 0.1},
                    network={"channels": 16, "depth": 1},
                    hardware={"threads": 1},
                    diagnostics={"images": 0},
                )
                run = options.out / f"search-{key.replace(' ', '-')}"
                start = time.process_time()
                found = search(CONFIG, data=data, settings=settings, run=run)
                row |= {"architecture": found.text, "cpu seconds": time.process_time() - start}
                file.write_text(json.dumps(rows, indent=1))
            rng = numpy_stream(seed, "benchmarks/signals")
            drawn = [space.format(space.sample(rng)) for _ in range(RANDOM)]
            for text, held, at in (
                (row["architecture"], row, "winner"),
                *((text, row["random"], text) for text in drawn),
            ):
                if at not in held:
                    number = "found" if at == "winner" else drawn.index(text)
                    run = options.out / f"train-{key.replace(' ', '-')}-{number}"
                    held[at] = tested(name, data, text, seed, run)
                    file.write_text(json.dumps(rows, indent=1))
                    print(key, at, round(held[at], 2), flush=True)


def report(rows: dict[str, Any]) -> None:
    """Of the seeds that are finished."""
    rows = {k: r for k, r in rows.items() if "winner" in r and len(r["random"]) == RANDOM}
    figures: dict[str, Any] = {}
    heads, gains = [], []
    for name in EPOCHS:
        own = [r for k, r in rows.items() if k.split()[0] == name]
        found = record.interval([r["winner"] for r in own])
        others = record.interval([float(np.mean(list(r["random"].values()))) for r in own])
        gain = record.interval(
            [r["winner"] - float(np.mean(list(r["random"].values()))) for r in own]
        )
        figures[name] = {
            "found": found,
            "random cells, mean of 4": others,
            "gain": gain,
            "architectures": [r["architecture"] for r in own],
        }
        heads.append(f"{name}: found {found['mean']:.1f} %, random cells {others['mean']:.1f} %")
        gains.append(gain)
    clear = [g["low"] > 0 for g in gains]
    record.write(
        "signals",
        claim=(
            "A search of about a minute in signal201 finds a cell that does better on real "
            "signals, trained from scratch, than random cells do in the mean."
        ),
        system="spos, signal201, signals from .npz files",
        command="python benchmarks/signal_search.py DIRECTORY",
        seeds=sorted({int(k.split()[1]) for k in rows}),
        split=(
            "search parts cut from the training part, of the watch by subject (1 to 7); "
            "accuracies: test part, of the watch subjects 8 to 10, of the vowels as published"
        ),
        figures=figures,
        published={"figure": "none for these sizes", "source": "none"},
        cost={
            "search cpu seconds": [round(r["cpu seconds"], 1) for r in rows.values()],
            "threads": 1,
        },
        headline="; ".join(heads),
        verdict="shown" if all(clear) else "partly" if any(clear) else "not shown",
        why=(
            "per set the 95 % interval over seeds of found minus random lies "
            + " and ".join("above 0" if c else "not above 0" for c in clear)
            + f" ({', '.join(EPOCHS)})"
        ),
    )


if __name__ == "__main__":
    main()
