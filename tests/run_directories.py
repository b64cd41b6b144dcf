"""Run directories written by hand, byte for byte as a search leaves them, with known numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import yaml

CELL = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"

SETTINGS = {
    "seed": 0,
    "epochs": 6,
    "hardware": {"accelerator": "cpu", "devices": 1},
    "diagnostics": {"images": 300},
    "evaluation": {"evaluator": "training", "epochs": 1, "metric": ""},
}


def cell(*operations: str) -> str:
    """A NAS-Bench-201 cell from its six operations."""
    return CELL.format(*operations)


CONV = cell(*["nor_conv_3x3"] * 6)
SKIP = cell(*["skip_connect"] * 6)
MIXED = cell("nor_conv_3x3", "skip_connect", "none", "nor_conv_1x1", "avg_pool_3x3", "nor_conv_3x3")


def config(
    method: str = "idarts",
    space: str = "nasbench201",
    *,
    data: str = "fashion-mnist",
    **settings: Any,
) -> dict[str, Any]:
    """The content of config.yaml."""
    return {
        "method": method,
        "space": {"name": space},
        "data": data,
        "settings": {**SETTINGS, **settings},
        "config": {"alpha": {"lr": 0.01}},
        "command": f"morphogen search {method} --space {space}",
        "created": "2026-01-02T03:04:05+00:00",
        "versions": {"morphogen": "0.1.0", "python": "3.11.7", "torch": "2.13.0"},
        "machine": "x86_64, 2 cores",
    }


def epoch(number: int, architecture: str, choices: int = 6, options: int = 5) -> dict[str, Any]:
    """One line of metrics: losses of 2 / number, gates that lean to the last option."""
    alpha = np.linspace(0, 0.2 * number, options)
    gates = np.exp(alpha) / np.exp(alpha).sum()
    return {
        "epoch": number,
        "architecture": architecture,
        "train_loss": 2.0 / number,
        "valid_loss": 2.2 / number,
        "entropy": 1 - 0.01 * number,
        "skips": number % 3,
        "decisions_changed": 0.5 / number,
        "supernet_accuracy": 10.0 * number,
        "discrete_accuracy": 10.0 + number,
        "recalibrated_accuracy": 8.0 * number,
        "neumann_growth": 0.9,
        "examples": {"train": 640 * number, "valid": 128 * number},
        "gates": {"cell": [gates.tolist()] * choices},
        "alpha": {"cell": [alpha.tolist()] * choices},
        "seconds": 1.5,
        "cpu_seconds": 1.25,
    }


def write(path: Path, values: dict[str, Any], rows: list[dict[str, Any]], **result: Any) -> Path:
    """A run directory; finished if a result is given, to which what every result has is added."""
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if result:
        common = {
            "method": values["method"],
            "space": values["space"]["name"],
            "seed": values["settings"]["seed"],
            "epochs": len(rows),
            "remarks": [],
            "split": "search data only",
            "cost": {name: sum(_number(row, name) for row in rows) for name in TIMES},
        }
        whole = {**common, **result}
        (path / "result.json").write_text(json.dumps(whole))
    return path


TIMES = ("seconds", "cpu_seconds")


def _number(row: dict[str, Any], name: str) -> float:
    value = row.get(name, 0.0)
    return value if isinstance(value, float) else 0.0


TRAINED = {
    "seeds": 2,
    "held_out_accuracy": None,
    "test_openings": ["evaluation"],
    "weights": ["seed-0-last.safetensors", "seed-1-last.safetensors"],
    "cost": {"seconds": 6.0, "cpu_seconds": 6.0, "train_examples": 9, "params": 100, "macs": 1000},
}
"""What the result of a training of two seeds has besides its accuracy on test images."""


def search(
    path: Path,
    method: str = "idarts",
    seed: int = 0,
    found: str = MIXED,
    *,
    data: str = "fashion-mnist",
) -> Path:
    """A finished search of six epochs in NAS-Bench-201, from the skip cell to `found`."""
    rows = [epoch(n, SKIP if n < 3 else found) for n in range(1, 7)]
    return write(path, config(method, seed=seed, data=data), rows, architecture=found)


def darts(path: Path) -> Path:
    """A finished search of three epochs in the DARTS space."""
    half = " | ".join(f"sep_conv_3x3~{n - 2} skip_connect~{n - 1}" for n in (2, 3, 4, 5))
    text = f"normal: {half} ; reduce: {half.replace('skip_connect', 'max_pool_3x3')}"
    rows = []
    for n in (1, 2, 3):
        row = epoch(n, text, 14, 8)
        both = {key: {"normal": row[key]["cell"], "reduce": row[key]["cell"]} for key in KINDS}
        rows.append({**row, **both})
    return write(path, config("darts", "darts"), rows, architecture=text)


KINDS = ("gates", "alpha")


def wave(n: int) -> float:
    """Scores that go up and down, and up in the long run."""
    return 50 + 0.4 * n + 10 * math.sin(n)
