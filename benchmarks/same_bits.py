"""Short runs over methods, spaces and data, kept as numbers, to compare one commit with another.

    python benchmarks/same_bits.py --out before.json        # at the one commit
    python benchmarks/same_bits.py --against before.json    # at the other, on the same machine

A change that should move no number is judged by this: all that the runs record, times left out,
must be equal to the last bit. What differs is named. Bits belong to a machine, so no record is
committed. The commands are those of the command line, whose flags outlive what is inside.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from morphogen.tasks.classification import load

SMALL = "--epochs 2 --steps-per-epoch 3 --batch-size 16 --train-images 200 --valid-images 200"
SMALL += " --image-size 8 --channels 4 --diagnostic-images 40 --threads 1"
TRAINED = "--batch-size 16 --train-images 200 --valid-images 200 --image-size 8 --channels 4"
TRAINED += " --threads 1 --evaluation-epochs 1 --workers 1"
FEW = "--generations 2 --population 4 --parents 2 --mutants 2 --crossovers 1 --fitness-images 40"
FEW += " --recalibration-images 40"

RUNS: dict[str, str] = {
    "darts": f"search darts {SMALL}",
    "darts, second order": f"search darts --second-order {SMALL} --seed 1",
    "darts, DARTS space": f"search darts --space darts --depth 3 {SMALL}",
    "darts, S4": f"search darts --space darts-s4 --depth 3 {SMALL}",
    "darts, 1Shot1": f"search darts --space nasbench1shot1-s1 {SMALL}",
    "darts, plain execution": f"search darts --execution plain {SMALL}",
    "idarts": f"search idarts {SMALL}",
    "idarts, colour folder": f"search idarts --data pictures {SMALL}",
    "gdas": f"search gdas {SMALL}",
    "gdas, GDAS' DARTS space": f"search gdas --space darts-gdas --depth 3 {SMALL}",
    "gdas, 1Shot1": f"search gdas --space nasbench1shot1-s1 {SMALL}",
    "darts-pt, S2": f"search darts-pt --space darts-s2 --depth 3 --interval 1 {SMALL}",
    "zero-cost-pt": f"search zero-cost-pt --validation 4 {SMALL}",
    "select by accuracy": "search darts --select perturbed-accuracy --evaluation-images 40 "
    + SMALL,
    "spos, Macro": f"search spos --space nasbench-macro {FEW} {SMALL}",
    "spos, ShuffleNet": f"search spos --space shufflenet-small {FEW} {SMALL}",
    "supernet-shifting": f"search supernet-shifting --shift-steps 2 {FEW} {SMALL}",
    "nevonas, as published": "search nevonas --population 4 --encoding real --forward soft "
    f"--fitness-images 40 {SMALL}",
    "pevonas": f"search pevonas --population 4 --generations 2 --fitness-images 40 {SMALL}",
    "aging-evolution, trained": f"search aging-evolution --evaluations 4 --data pictures {TRAINED}",
    "dc-nas, trained": f"search dc-nas --evaluations 4 {TRAINED}",
    "weaknas, table": "search weaknas --evaluator table --evaluations 60 --threads 1 --workers 1",
    "nsga2, proxy": "search nsga2 --evaluator proxy --objectives accuracy,params --evaluations 6"
    " --population 4 --batch-size 16 --image-size 8 --channels 4 --threads 1 --workers 1",
    "train": "train |nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|"
    "nor_conv_3x3~2| --epochs 2 --batch-size 32 --image-size 8 --channels 4 --threads 1",
}
"""Name and words of each command; `--run` is added."""

TIMES = ("seconds", "cpu_seconds", "began", "finished")
RENAMED = {"images": "examples"}
"""Entries that older records have under another name."""
NOT_COMPARED = (*TIMES, "cost", "run", "versions", "machine", "worker")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="keep the record here")
    parser.add_argument("--against", type=Path, help="compare with this record; 1 if it differs")
    parser.add_argument("--only", default="", help="runs whose name has this text")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures(folder / "pictures")
        found = {n: run(folder, n, w) for n, w in RUNS.items() if options.only in n}
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.against:
        before = json.loads(
            options.against.read_text(encoding="utf-8"),
            object_pairs_hook=lambda held: {RENAMED.get(k, k): v for k, v in held},
        )
        again = json.loads(json.dumps(found))  # floats round-trip; tuples become lists
        differ = [line for n in found for line in differences(before.get(n), again[n], n)]
        print(*differ, sep="\n")
        print(f"{len(found)} runs, {len({d.split(': ')[0] for d in differ})} of them differ")
        sys.exit(bool(differ))


def pictures(folder: Path) -> None:
    """Embedded images as colour PNG, a folder per class, of unequal numbers."""
    images = load("fashion-mnist")
    for label in range(4):
        rows = (images.labels == label).nonzero().flatten()[: 100 + 20 * label].tolist()
        into = folder / f"class {label}"
        into.mkdir(parents=True)
        for row in rows:
            grey = images.pixels[row, 0].numpy()
            colour = np.stack([grey, grey[::-1], 255 - grey], axis=-1)
            Image.fromarray(colour).save(into / f"{row:05}.png")


def run(folder: Path, name: str, words: str) -> dict[str, Any]:
    """What the command recorded."""
    print(name, file=sys.stderr)
    path = folder / name.replace(" ", "-").replace("'", "")
    done = subprocess.run(
        [sys.executable, "-m", "morphogen", *words.split(), "--run", str(path)],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        return {"refused": done.stderr.strip().splitlines()[-1]}
    return {file: list(rows) for file, rows in recorded(path)}


def recorded(path: Path) -> Iterator[tuple[str, Iterator[Any]]]:
    """Every figure of a run directory."""
    for file in sorted(path.glob("*.json*")):
        lines = [file.read_text()] if file.suffix == ".json" else file.read_text().splitlines()
        yield file.name, (kept(json.loads(line)) for line in lines)
    for file in path.glob("*.sqlite"):
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as store:
            store.row_factory = sqlite3.Row
            for (table,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
                rows = store.execute(f"SELECT * FROM {table} ORDER BY rowid")
                yield f"{file.name}/{table}", (kept(dict(row)) for row in rows)


def kept(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: kept(v) for k, v in value.items() if k not in NOT_COMPARED}
    return [kept(v) for v in value] if isinstance(value, list) else value


def differences(a: Any, b: Any, where: str) -> Iterator[str]:
    """A line for each figure that is not the same, at most three for a list."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted({*a, *b}):
            yield from differences(a.get(key), b.get(key), f"{where}: {key}")
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        found = [
            d
            for i, (x, y) in enumerate(zip(a, b, strict=True))
            for d in differences(x, y, f"{where}[{i}]")
        ]
        yield from found[:3]
        if len(found) > 3:
            yield f"{where}: and {len(found) - 3} more"
    elif a != b and not (a != a and b != b):
        yield f"{where}: {str(a)[:80]} -> {str(b)[:80]}"


if __name__ == "__main__":
    main()
