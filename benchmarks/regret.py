"""Regret against CPU seconds, of every method: which one for which budget.

    python benchmarks/regret.py             runs what is missing, with the embedded images
    python benchmarks/regret.py --data cifar10:PATH      with these
    python benchmarks/regret.py --report    two files in results/, pictures, and docs/budgets.md
    python benchmarks/regret.py --small     a few seconds a run, in --runs alone: no result

Every registered method that serves the space, on NAS-Bench-201 and NAS-Bench-Macro: with 1, 5 and
20 CPU minutes, several seeds. A method joins by being registered; nothing here knows one by name.

How a budget is met: the method is timed for a few seconds (at most a tenth of the budget), each of
its phases by itself, and gets the most epochs, or evaluations, that the timing says will fit; if
fewer than three fit, epochs are shortened instead. All else are the quick defaults, so that this is
what a user gets who asks for a search of that length; `morphogen search` without a METHOD plans for
a time by itself, and is given the time. Phases of a length of their own (generations
of an evolution) are left at it: where they alone take longer, the method does not fit, and it says
so. A run that has taken three times its budget is ended.

After each epoch, or evaluation, it is recorded which architecture the method would deliver at that
moment, against the CPU seconds of the search so far (not those of reading data); table accuracy and
rank are looked up afterwards. A row for each run in `rows.jsonl` under --runs: what is there is
left out, and a run that was cut off goes on, so that several processes may share the work by their
seeds (`--seeds 0`, ...).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import record

from morphogen import benchmarks, spaces
from morphogen.core import MorphogenError
from morphogen.core.config import altered
from morphogen.core.files import write_anew
from morphogen.engine.record.pace import Pace
from morphogen.engine.record.watch import Silent
from morphogen.engine.search.job import spec_of, task_of
from morphogen.engine.search.planning.plan import NAME
from morphogen.engine.search.planning.times import SHORTEST
from morphogen.engine.search.presets import quick_preset
from morphogen.engine.search.search import resume, search
from morphogen.engine.search.settings import Settings
from morphogen.engine.search.timetable import timetable
from morphogen.methods import MethodInfo, methods
from morphogen.runs.directory import RunDirectory
from morphogen.spaces import SearchSpace
from morphogen.tasks.kinds import asked_of
from morphogen.tasks.problem import Clock, Problem

SPACES = ("nasbench201", "nasbench-macro")
MINUTES = (1.0, 5.0, 20.0)
SEEDS = (0, 1, 2)
FEWEST = 3
"""Epochs at least; where fewer fit, they are shortened."""
MOST = 100_000
"""Epochs or evaluations at most."""
TIMED_STEPS = 6
"""Steps of an epoch while a method is timed."""
TIMED_EVALUATIONS = 3
TIMED_SHARE = 0.1
"""Of the budget, which the timing may take."""
MARGIN = 0.92
"""Of the budget, that is planned for: what comes after it does not count."""
OVERTIME = 3.0
"""Times its budget that a run may take."""
SMALL = 0.05
"""Minutes of a run of `--small`."""


class Enough(Exception):
    """The time is over."""


class Meter(Silent):
    """Watches a search by CPU time, and ends it when that is over.

    Args:
        seconds: of CPU.
    """

    def __init__(self, seconds: float) -> None:
        self.end = time.process_time() + seconds
        self.pace = Pace(time.process_time)

    def started(self, config: Mapping[str, Any], path: Path, finished_epochs: int) -> None:
        """From here on steps are timed."""
        self.pace.started()

    def stepped(self, clock: Clock) -> None:
        """A step is timed."""
        self.pace.at(clock)
        if time.process_time() > self.end:
            raise Enough

    def epoch(self, row: Mapping[str, Any]) -> None:
        """And what follows the steps of an epoch."""
        self.pace.epoch()
        if time.process_time() > self.end:
            raise Enough


@dataclass(frozen=True)
class Run:
    """One method, with one budget and one seed."""

    info: MethodInfo
    space: SearchSpace
    data: str
    minutes: float
    seed: int
    folder: Path
    """Where it searches."""

    @property
    def budget(self) -> float:
        """CPU seconds."""
        return 60 * self.minutes

    @property
    def usable(self) -> float:
        """CPU seconds that are planned for."""
        return MARGIN * self.budget

    @property
    def key(self) -> dict[str, Any]:
        """By which its row is known."""
        return {
            "space": self.space.name,
            "method": self.info.name,
            "minutes": self.minutes,
            "seed": self.seed,
        }

    def settings(self, **changes: Any) -> Settings:
        """Quick settings, on one thread and without diagnostics."""
        usual = altered(
            quick_preset(self.info).settings,
            {
                "seed": self.seed,
                "hardware.threads": 1,
                "workers.count": 1,
                "diagnostics.images": 0,
                **changes,
            },
        )
        return replace(usual, task=asked_of(self.data, usual.task))


# -- how long -------------------------------------------------------------------------------------


def planned(run: Run) -> dict[str, Any]:
    """How many epochs or evaluations fit into the budget, by a short timing of the method."""
    if run.info.name == NAME:  # which plans for a time by itself, and times the machine
        seconds = max(run.usable, SHORTEST)
        return {"time": f"{seconds:g}s", "planned_cpu_seconds": seconds, "fits": True}
    folder = run.folder.with_name(f"{run.folder.name}.timing")
    shutil.rmtree(folder, ignore_errors=True)
    short = (
        {"evaluation.budget": TIMED_EVALUATIONS}
        if run.info.black_box
        else {"epochs": 1, "steps_per_epoch": TIMED_STEPS}
    )
    meter, began = Meter(TIMED_SHARE * run.budget), time.process_time()
    try:
        with contextlib.suppress(Enough):
            search(
                run.info.name,
                space=run.space,
                data=run.data,
                settings=run.settings(**short),
                run=folder / "run",
                watcher=lambda: meter,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    spent = time.process_time() - began
    chosen = _evaluations(run, meter) if run.info.black_box else _epochs(run, meter)
    return {"timed_cpu_seconds": round(spent, 2), **chosen}


def _evaluations(run: Run, meter: Meter) -> dict[str, Any]:
    each = meter.pace.seconds("search", 1)
    if not each:  # nothing was finished in the time for it: as long as that took
        each = TIMED_SHARE * run.budget
    most = run.space.size()
    number = max(2, min(int(run.usable / each), MOST, int(most)))
    return {"evaluations": number, "planned_cpu_seconds": round(number * each, 1)}


def _epochs(run: Run, meter: Meter) -> dict[str, Any]:
    settings = run.settings()
    config = quick_preset(run.info).options
    task = task_of(run.data, settings)
    batch = settings.batch_size or 64
    problem = Problem(run.space, task, spec_of(settings, task), batch_size=batch, seed=run.seed)
    method = run.info.build(config)

    def takes(epochs: int, steps: int) -> float:
        """CPU seconds of such a search, of phases that were not reached as the one before."""
        total, pace = 0.0, TIMED_SHARE * run.budget
        for phase in timetable(method, problem, epochs, steps).phases:
            each = meter.pace.seconds(phase.name, phase.steps or 1)
            pace = pace if each is None else each / (phase.steps or 1)
            total += phase.epochs * (each or pace * (phase.steps or 1))
        return total

    epochs, steps = 1, settings.steps_per_epoch
    if takes(FEWEST, steps) > run.usable:
        epochs, shorter = FEWEST, problem.steps("train")
        while shorter > 1 and takes(epochs, shorter) > run.usable:
            shorter = shorter * 4 // 5
        steps = shorter
    else:
        low, high = FEWEST, MOST  # the most epochs that fit, by halving
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if takes(middle, steps) <= run.usable else (low, middle - 1)
        epochs = low
    expected = takes(epochs, steps)
    return {
        "epochs": epochs,
        "steps_per_epoch": steps,
        "planned_cpu_seconds": round(expected, 1),
        "fits": expected <= run.budget,
    }


# -- what it finds --------------------------------------------------------------------------------


def carried_out(run: Run) -> dict[str, Any]:
    """A run, begun or gone on with, and what it would have delivered when."""
    plan_file = run.folder.with_name(f"{run.folder.name}.plan")
    if not plan_file.exists():
        shutil.rmtree(run.folder, ignore_errors=True)
        write_anew(plan_file, json.dumps(planned(run)))
    plan = json.loads(plan_file.read_text(encoding="utf-8"))
    length = {
        {"evaluations": "evaluation.budget"}.get(name, name): plan[name]
        for name in ("epochs", "steps_per_epoch", "evaluations")
        if name in plan
    }
    watcher = partial(Meter, OVERTIME * run.budget)
    ended = "finished"
    try:
        if (run.folder / "config.yaml").exists():
            result = resume(run.folder, watcher=watcher)
        else:
            result = search(
                run.info.name,
                space=run.space,
                data=run.data,
                settings=run.settings(**length),
                time=plan.get("time"),
                run=run.folder,
                watcher=watcher,
            )
        if result.ended_early:  # by Ctrl-C: it goes on another time
            raise KeyboardInterrupt
    except Enough:
        ended = f"ended at {OVERTIME:g} times its budget"
    held = RunDirectory(run.folder)
    found = {
        "data": run.data,
        "plan": plan,
        "ended": ended,
        "curve": list(curve(run.space, held.metrics(), held.result() or {})),
        "machine": record.processor(),
    }
    shutil.rmtree(run.folder)
    plan_file.unlink()
    return found


def curve(
    space: SearchSpace, rows: list[dict[str, Any]], result: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """CPU seconds at which what would be delivered changes, and what the table says of it.

    The last entry is the end, also where nothing changes.
    """
    table = benchmarks.of(space)
    if table is None:
        raise SystemExit(f"space {space.name} has no table")
    metric = table.final_metrics[0]
    spent, before, last = 0.0, "", None

    def entry(text: str) -> dict[str, Any]:
        arch = space.parse(text)
        return {
            "cpu_seconds": round(spent, 3),
            "architecture": text,
            "accuracy": table.query(arch)[metric],
            "rank": table.rank(arch, metric),
        }

    for row in rows:
        spent += row.get("cpu_seconds", 0.0)
        text = str(row.get("architecture", ""))
        if text:
            last = entry(text)
            if text != before:
                yield last
            before = text
    total = result.get("cost", {}).get("cpu_seconds", spent)
    final = str(result.get("architecture", "") or before)
    if final:
        spent = max(spent, total)
        yield entry(final)


def runs(options: argparse.Namespace) -> Iterator[Run]:
    """Those asked for: seed by seed, short ones first, so that what there is can be reported."""
    for seed in options.seeds:
        for minutes in options.minutes:
            for name in options.spaces:
                space = spaces.make(name)
                for info in methods().values():
                    if options.methods and info.name not in options.methods:
                        continue
                    folder = options.runs / name / info.name / f"{minutes:g}min-seed{seed}"
                    yield Run(info, space, options.data, minutes, seed, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    numbers = lambda kind: lambda text: [kind(part) for part in text.split(",")]  # noqa: E731
    parser.add_argument("--data", default="fashion-mnist", help="images, as of `morphogen search`")
    parser.add_argument("--spaces", type=numbers(str), default=list(SPACES))
    parser.add_argument("--methods", type=numbers(str), default=[])
    parser.add_argument("--minutes", type=numbers(float), default=list(MINUTES))
    parser.add_argument("--seeds", type=numbers(int), default=list(SEEDS))
    parser.add_argument("--runs", type=Path, default=Path("runs/regret"))
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--small", action="store_true", help="a few seconds each")
    options = parser.parse_args()
    if options.report:
        import regret_report

        regret_report.write(options.runs)
        return
    if options.small:
        options.minutes, options.seeds = [SMALL], options.seeds[:1]
    kept = options.runs / "rows.jsonl"
    for run in runs(options):
        if any(run.key.items() <= row.items() for row in record.rows(kept)):
            continue
        run.folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            run.info.require(run.space)
            found = carried_out(run)
        except MorphogenError as error:
            found = {"data": run.data, "refused": " ".join(str(error).split()), "curve": []}
        record.keep(kept, run.key | found)
        end = found["curve"][-1] if found["curve"] else {}
        print(
            f"{run.space.name} {run.info.name} {run.minutes:g} min seed {run.seed}: "
            + (found.get("refused") or f"{end.get('cpu_seconds')} s, rank {end.get('rank')}"),
            file=sys.stderr,
            flush=True,
        )


if __name__ == "__main__":
    main()
