"""What the runs of regret.py say: two results, their pictures, and the page for the documentation.

`python benchmarks/regret.py --report` calls this.
"""

from __future__ import annotations

import math
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import record

from morphogen import benchmarks, spaces
from morphogen.reports.curves import Band, svg

COMMAND = "python benchmarks/regret.py"
POINTS = 30
"""Of a curve within the smallest budget, evenly spaced by their logarithm."""
FIRST = 2.0
"""CPU seconds at which curves begin."""

Runs = Mapping[float, Mapping[int, Mapping[str, Any]]]
"""Minutes -> seed -> what was kept of the run."""


def read(folder: Path) -> dict[str, dict[str, Runs]]:
    """What there is, by space and method."""
    found: dict[str, dict[str, Any]] = {}
    rows = record.rows(folder / "rows.jsonl")
    for row in sorted(rows, key=lambda row: (row["space"], row["method"], row["seed"])):
        by_minutes = found.setdefault(row["space"], {}).setdefault(row["method"], {})
        by_minutes.setdefault(row["minutes"], {})[row["seed"]] = row
    return found


def delivered(curve: Sequence[Mapping[str, Any]], seconds: float) -> Mapping[str, Any] | None:
    """What a run would have delivered after so many CPU seconds; None: nothing yet."""
    done = [entry for entry in curve if entry["cpu_seconds"] <= seconds]
    return done[-1] if done else None


def quality(by_minutes: Runs, optimum: float) -> dict[str, Any]:
    """Of one method: by budget what it delivers in time."""
    out: dict[str, Any] = {}
    for minutes, by_seed in sorted(by_minutes.items()):
        refused = [run["refused"] for run in by_seed.values() if "refused" in run]
        if refused:
            out[f"{minutes:g}"] = {"refused": refused[0]}
            continue
        ends = {seed: delivered(run["curve"], 60 * minutes) for seed, run in by_seed.items()}
        held = [end for end in ends.values() if end is not None]
        plans = [run["plan"] for run in by_seed.values()]
        length = next(name for name in ("evaluations", "epochs", "time") if name in plans[0])
        out[f"{minutes:g}"] = {
            "seeds": sorted(by_seed),
            "nothing in time": sorted(seed for seed, end in ends.items() if end is None),
            "accuracy": record.interval([end["accuracy"] for end in held]) if held else None,
            "regret": record.interval([optimum - end["accuracy"] for end in held])
            if held
            else None,
            "median rank": median(end["rank"] for end in held) if held else None,
            "worst rank": max(end["rank"] for end in held) if held else None,
            length: [plan[length] for plan in plans],
            "planned cpu seconds": [plan["planned_cpu_seconds"] for plan in plans],
            "cpu seconds": [
                run["curve"][-1]["cpu_seconds"] for run in by_seed.values() if run["curve"]
            ],
            "ended": sorted({run["ended"] for run in by_seed.values()}),
        }
    return out


def regret_curve(by_minutes: Runs, optimum: float) -> dict[str, list[float]]:
    """Mean regret over seeds against CPU seconds.

    Within the smallest budget along its runs; at each larger one what its runs have delivered then:
    that is what one has who asks for the smallest budget that is enough. A time at which a seed has
    nothing yet is left out.
    """
    budgets = sorted(by_minutes)
    inside = np.geomspace(min(FIRST, 30 * budgets[0]), 60 * budgets[0], POINTS)
    at = [*((float(t), budgets[0]) for t in inside), *((60 * m, m) for m in budgets[1:])]
    seconds, regrets = [], []
    for t, minutes in at:
        ends = [delivered(run["curve"], t) for run in by_minutes[minutes].values()]
        if ends and all(end is not None for end in ends):
            seconds.append(round(t, 2))
            regrets.append(optimum - float(np.mean([end["accuracy"] for end in ends if end])))
    return {"seconds": seconds, "regret": regrets}


def write(folder: Path) -> None:
    """Write what there is; what is missing is named."""
    found = read(folder)
    if not found:
        raise SystemExit(f"no runs in {folder}; accepted: first `{COMMAND}`")
    record.RESULTS.mkdir(exist_ok=True)
    every: dict[str, Any] = {}
    for name, by_method in found.items():
        table = benchmarks.of(spaces.make(name))
        assert table is not None
        metric = table.final_metrics[0]
        optimum = table.optimum(metric)[1]
        title = benchmarks.describe(table.name).title
        quality_of = {m: quality(runs, optimum) for m, runs in by_method.items()}
        every[name] = {
            "title": title,
            "column": metric,
            "optimum": optimum,
            "architectures": len(table),
            "methods": quality_of,
        }
        curves = {
            m: curve
            for m, runs in by_method.items()
            if (curve := regret_curve(runs, optimum))["seconds"]
        }
        order = sorted(curves, key=lambda m: curves[m]["regret"][-1])
        bands = [Band(m, curves[m]["seconds"], curves[m]["regret"]) for m in order]
        drawn = svg(
            f"{title}: what each method delivers", "CPU seconds", f"regret, {metric}", bands
        )
        picture = record.RESULTS / f"regret-{name}.svg"
        picture.write_text(drawn, encoding="utf-8")
        shutil.copyfile(picture, record.ROOT / "docs" / "images" / picture.name)
        _record(
            f"regret-{name}",
            found={name: by_method},
            claim=f"What every registered method delivers in {title} after so many CPU seconds.",
            figures={"column": metric, "optimum": optimum, "curves": curves},
            best=_best(every[name]),
        )
    _record(
        "seconds-to-quality",
        found=found,
        claim="Which method for which budget: test accuracy by the table and rank of what every "
        "registered method delivers in 1, 5 and 20 CPU minutes.",
        figures=every,
        best="; ".join(f"{held['title']}: {_best(held)}" for held in every.values()),
    )


def _best(held: Mapping[str, Any]) -> str:
    """Of each budget the method of the smallest mean regret."""
    by_budget: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for method, by_minutes in held["methods"].items():
        for minutes, q in by_minutes.items():
            if q.get("regret") and not q["nothing in time"]:
                by_budget[minutes].append((q["regret"]["mean"], method))
    return ", ".join(
        f"{minutes} min {min(all_of)[1]} (regret {min(all_of)[0]:.2f})"
        for minutes, all_of in sorted(by_budget.items(), key=lambda item: float(item[0]))
    )


def _record(
    name: str, *, found: Mapping[str, Mapping[str, Runs]], claim: str, figures: Any, best: str
) -> None:
    each = [
        run
        for by_method in found.values()
        for by_minutes in by_method.values()
        for by_seed in by_minutes.values()
        for run in by_seed.values()
    ]
    seeds = sorted(
        {s for m in found.values() for by in m.values() for runs in by.values() for s in runs}
    )
    data = sorted({run["data"].split(":")[0] for run in each})
    over = [run for run in each if run.get("ended", "finished") != "finished"]
    machines = sorted({run["machine"] for run in each if "machine" in run})
    record.write(
        name,
        claim=claim,
        system="every registered method",
        command=COMMAND,
        seeds=seeds,
        split=f"searches: the quick split of {' and '.join(data)}; figures: the table's test "
        "accuracy, looked up afterwards",
        figures=figures,
        published={"figure": "none for these budgets", "source": ""},
        cost={
            "cpu_seconds": round(
                math.fsum(run["curve"][-1]["cpu_seconds"] for run in each if run["curve"])
            ),
            "threads": 1,
            "machines": machines,
        },
        headline=f"smallest mean regret: {best}",
        verdict="shown",
        why=f"{len(each)} runs, all methods alike and none tuned for it; {len(over)} were ended at "
        "three times their budget",
    )
