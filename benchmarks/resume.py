"""kill -9 a search on real images at random moments, resume it, and compare bit for bit.

    python benchmarks/resume.py

Every start is the command line in a process of its own, as a user has it.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import record
import torch

from morphogen.engine.search.loop import TIMES
from morphogen.runs import checkpoint

SIZE = ["--epochs", "12", "--steps-per-epoch", "3", "--train-images", "600"]
SIZE += ["--valid-images", "600", "--image-size", "8", "--channels", "4"]
SIZE += ["--diagnostic-images", "200", "--threads", "1"]
EVOLUTION = ["--population", "8", "--generations", "8", "--parents", "4", "--mutants", "4"]
EVOLUTION += ["--crossovers", "3", "--fitness-images", "200", "--recalibration-images", "100"]
METHODS: dict[str, list[str]] = {
    "idarts": [],
    "gdas": [],
    "spos": EVOLUTION,
    "supernet-shifting": [*EVOLUTION, "--shift-steps", "2"],
    "darts-pt": ["--interval", "1"],
    "zero-cost-pt": ["--validation", "10"],
}
"""The methods, with options that make their own phases about as long as the others."""

LATEST = 1.5
"""Seconds after its first sign of life within which a process is killed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=6)
    options = parser.parse_args()
    started = time.perf_counter()
    figures: dict[str, Any] = {}
    for method in METHODS:
        with tempfile.TemporaryDirectory() as folder:
            figures[method] = trial(method, Path(folder), options.kills)
        print(method, figures[method])
    same = all(f["equal"] for f in figures.values())
    total = sum(f["kills"] for f in figures.values())
    record.write(
        "resume",
        claim=(
            "A search killed with SIGKILL at any moment and resumed ends in the bit-identical "
            "architecture, alpha, population, metrics, weights and optimiser states of an "
            "uninterrupted one, also in the phases of selection and evolution."
        ),
        system="engine",
        command="python benchmarks/resume.py"
        + (f" --kills {options.kills}" if options.kills != 6 else ""),
        seeds=[0],
        split="search data only: embedded Fashion-MNIST at 8x8, NAS-Bench-201 space, C=4",
        figures=figures,
        published={"figure": "none", "source": "the house's own promise"},
        cost={"wall_seconds": round(time.perf_counter() - started)},
        headline=f"{total} kills, {'no bit' if same else 'some bits'} different",
        verdict="shown" if same else "not shown",
        why="every line of metrics (times left out), the result and every tensor of the last "
        f"checkpoint were {'equal' if same else 'NOT all equal'}; tests/claims/test_resume.py "
        "kills more often, also in the middle of writing a checkpoint",
    )


def trial(method: str, folder: Path, kills: int) -> dict[str, Any]:
    """One uninterrupted run and one that is killed again and again."""
    whole, cut = folder / "whole", folder / "cut"
    size = [*SIZE, *METHODS[method]]
    if start("search", method, "--run", str(whole), *size).wait() != 0:
        raise SystemExit(f"the uninterrupted search with {method} failed")
    rng, done = random.Random(method), 0
    while done < kills:
        known = (cut / "config.yaml").exists()
        words = ["resume", str(cut)] if known else ["search", method, "--run", str(cut), *size]
        before = signs(cut)
        process = start(*words)
        while process.poll() is None and signs(cut) == before:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, LATEST))
        if process.poll() is not None:
            break  # it came to its end before the kill
        process.kill()
        process.wait()
        done += 1
    if not (cut / "result.json").exists() and start("resume", str(cut)).wait() != 0:
        raise SystemExit(f"the resumed search with {method} failed")
    return {"kills": done, "equal": content(whole) == content(cut) and states_equal(whole, cut)}


def start(*words: str) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, "-m", "morphogen", *words], stdout=quiet, stderr=quiet)


def signs(run: Path) -> float:
    """Changes when one of the run's files does."""
    total = 0.0
    for name in ("config.yaml", "metrics.jsonl", "checkpoint.pt"):
        with suppress(FileNotFoundError):  # it is being replaced, or not there yet
            status = (run / name).stat()
            total += status.st_mtime + status.st_size
    return total


def content(run: Path) -> tuple[Any, ...]:
    """Metrics without times, and the result without cost."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    rows = [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]
    result = json.loads((run / "result.json").read_text())
    return rows, {k: v for k, v in result.items() if k not in ("cost", "run")}


def states_equal(one: Path, other: Path) -> bool:
    """Weights, alphas, optimisers and streams; the history, which has times, is `content`."""
    a, b = (checkpoint.read(run / "checkpoint.pt") for run in (one, other))
    return same(a | {"history": None}, b | {"history": None})


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


if __name__ == "__main__":
    main()
