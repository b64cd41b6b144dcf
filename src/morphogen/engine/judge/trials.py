"""Black-box methods on a benchmark table: the same budget, the same seeds, in parallel processes.

A trial is one search of one method with one seed, held in memory; its trace is the rows of the
table in the order in which they were first asked for. Every figure is made from traces.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from morphogen import benchmarks, spaces
from morphogen.benchmarks import Benchmark
from morphogen.core import Architecture, CapabilityError, ConfigError, RunError, memory
from morphogen.core.config import to_mapping
from morphogen.core.files import append_lines, recording
from morphogen.core.names import shown
from morphogen.core.processes import refuse_again
from morphogen.core.reading import parse_json, read_lines, sha256
from morphogen.core.records import Amount, Natural, Plain, Record, checked
from morphogen.core.rng import numpy_stream
from morphogen.engine.search.rounds import ask_and_tell
from morphogen.evaluators.executors import Job, Local, make_executor
from morphogen.evaluators.executors.make import cores
from morphogen.evaluators.stage import Stage
from morphogen.evaluators.table import TableEvaluator
from morphogen.methods import AskTell, MethodInfo, find, methods

WRITTEN = "what compare wrote"


@dataclass(frozen=True)
class Trial:
    """One search; equal trials have equal traces."""

    method: str
    config: Any
    """The method's configuration."""
    space: str
    """A built-in space with a table."""
    metric: str
    """Column that the search reads; empty for the table's own choice."""
    seed: int
    budget: int
    """Different architectures that are looked up."""
    round_size: int = 1
    """Architectures that are asked for at once."""
    oracle: bool = False
    """Let the search read a test figure: to study methods, never to find an architecture."""
    table: str = ""
    """A file that `morphogen import-nasbench101` wrote; empty for the shipped table."""
    until_found: bool = False
    """End when a best value of the whole table was looked up: the best so far cannot change."""

    @property
    def key(self) -> str:
        """What decides the trace, as one text."""
        table = sha256(Path(self.table)) if self.table else ""  # its contents, wherever it lies
        parts = {**vars(self), "config": to_mapping(self.config), "table": table}
        return json.dumps(parts, sort_keys=True)


@dataclass(frozen=True)
class Trace:
    """What a trial looked up."""

    rows: NDArray[np.intp]
    """Rows of the table, in the order in which they were first asked for."""
    seconds: float
    """Wall clock of the search, the method's own computing included."""


def asking(name: str) -> MethodInfo:
    """The black-box method called `name`, or a `ConfigError` that says which there are."""
    info = find(name)
    if not info.black_box or info.staged:
        fit = ", ".join(m.name for m in methods().values() if m.black_box and not m.staged)
        why = "trains a supernet and asks for no scores"
        if info.staged:
            why = "asks for trainings of several lengths"
        raise CapabilityError(
            f"method {name!r} {why}, so a budget of look-ups "
            f"means nothing to it; accepted: {fit}; for its runs: `morphogen report RUN...`"
        )
    return info


def searched(
    space: str, metric: str, *, oracle: bool = False, file: str = ""
) -> tuple[Benchmark, str]:
    """The table of a space, and the column that a search reads.

    Raises:
        CapabilityError: there is no table.
        ConfigError: the metric is a test figure, and `oracle` is off.
    """
    known = spaces.make(space)
    table = benchmarks.of(known, file)
    if table is not None and oracle and metric:
        return table, table.metric(metric).name
    evaluator = TableEvaluator(known, metric, file)
    return evaluator.table, evaluator.metric.name


def scores_of(table: Benchmark, metric: str) -> NDArray[np.float64]:
    """A column [rows] as a figure to be made large."""
    values = table.values(metric)
    return values if table.metric(metric).higher_is_better else -values


def run_trial(trial: Trial) -> Trace:
    """Do the search of one trial, in memory.

    Raises:
        MorphogenError: the method does not fit the space, or the space has no such table.
    """
    table, metric = searched(trial.space, trial.metric, oracle=trial.oracle, file=trial.table)
    info, space = asking(trial.method), table.space
    info.require(space)
    method = info.build(trial.config)
    if not isinstance(method, AskTell):
        raise ConfigError(f"method {trial.method!r} asks and does not tell")
    scores = scores_of(table, metric)
    rows: list[int] = []

    optimum = scores.max()

    def found() -> bool:
        return (
            trial.until_found and bool(rows) and scores[rows[-trial.round_size :]].max() == optimum
        )

    def answer(archs: Sequence[Architecture], _: Stage) -> NDArray[np.float64]:
        new = [table.index(arch) for arch in archs]
        rows.extend(new)
        return scores[new].reshape(-1, 1) if info.objectives else scores[new]

    began = time.perf_counter()
    ask_and_tell(
        method,
        space,
        numpy_stream(trial.seed, "search"),
        answer,
        budget=trial.budget,
        round_size=trial.round_size,
        enough=found,
    )
    return Trace(np.array(rows, np.intp), time.perf_counter() - began)


def run_trials(
    trials: Sequence[Trial],
    *,
    record: Path | None = None,
    workers: int = 0,
    done: Callable[[int, int], None] | None = None,
) -> list[Trace]:
    """Do many trials, in parallel processes; the traces are in the order of the trials.

    Args:
        trials: what to do.
        record: a JSON-lines file that gets each trace as it comes, and of which the traces that it
            has are taken; so that a comparison cut off is continued.
        workers: processes; 0: one for each processor; 1: in this process.
        done: called with the number of finished trials and of all.

    Raises:
        RunError: the record cannot be read or written, or a trial could not be done.
    """
    refuse_again()
    keys = [trial.key for trial in trials]
    with recording(record):
        known = _read(record) if record is not None else {}
        for key, trial in zip(keys, trials, strict=True):
            if record is not None and key in known:
                _require_fits(record, trial, known[key])
        left = {key: trial for key, trial in zip(keys, trials, strict=True) if key not in known}
        workers = min(workers or cores(), max(len(left), 1))
        memory.require_processes(workers, "workers")
        executor = (
            Local(run_trial, retries=0)
            if workers == 1
            else make_executor("processes", _runner, workers=workers)
        )
        order, tasks = list(left), list(left.values())
        finished = sum(key in known for key in keys)
        if done is not None:
            done(finished, len(keys))
        try:
            for report in executor.map(tasks):
                trial = tasks[report.index]
                if report.failed:
                    raise RunError(
                        f"{trial.method} with seed {trial.seed} in {trial.space} failed: "
                        f"{report.error}"
                    )
                known[order[report.index]] = report.value
                if record is not None:
                    _append(record, trial, report.value)
                finished += keys.count(order[report.index])
                if done is not None:
                    done(finished, len(keys))
        finally:
            executor.close()
    return [known[key] for key in keys]


def _runner() -> Job:
    return run_trial


def _append(record: Path, trial: Trial, trace: Trace) -> None:
    row = {
        "trial": json.loads(trial.key),
        "rows": trace.rows.tolist(),
        "seconds": round(trace.seconds, 4),
    }
    append_lines(record, json.dumps(row) + "\n")


class Line(Record):
    """A line of the record."""

    trial: dict[str, Plain]
    rows: Annotated[list[Natural], Field(min_length=1)]
    seconds: Amount


def _read(record: Path) -> dict[str, Trace]:
    """The traces of a record by the keys of their trials; lines cut short are left out.

    Raises:
        RunError: it is no such record.
    """
    found: dict[str, Trace] = {}
    if not os.path.lexists(record):
        return found
    for number, line in enumerate(read_lines(record, accepted=WRITTEN), start=1):
        try:
            row = parse_json(line)
        except ValueError:
            continue
        checked(Line, row, f"line {number} of {shown(record)}", accepted=WRITTEN)
        key = json.dumps(row["trial"], sort_keys=True)
        found[key] = Trace(np.array(row["rows"], np.int64).astype(np.intp), float(row["seconds"]))
    return found


def _require_fits(record: Path, trial: Trial, trace: Trace) -> None:
    """Refuse a trace that no search of this trial can have left."""
    table, _ = searched(trial.space, trial.metric, oracle=trial.oracle, file=trial.table)
    rows = trace.rows
    if rows.max() >= len(table) or len(set(rows.tolist())) < len(rows) or len(rows) > trial.budget:
        raise RunError(
            f"{shown(record)} has a trial of {trial.method} with seed {trial.seed} whose rows are "
            f"no {trial.budget} different ones of {len(table)}; accepted: {WRITTEN}"
        )


# -- what the traces say ---------------------------------------------------------------------------


def incumbents(scores: NDArray[np.float64]) -> NDArray[np.intp]:
    """After each query, which one is best so far, the first of equal ones; [queries] of [queries].

    Args:
        scores: what the search read, in the order of its queries; higher is better.
    """
    best = np.maximum.accumulate(scores)
    rises = np.concatenate([[True], best[1:] > best[:-1]]) if len(best) else np.empty(0, bool)
    return np.maximum.accumulate(np.where(rises, np.arange(len(best)), 0)).astype(np.intp)


def curve(table: Benchmark, trace: Trace, searched: str, reported: str, budget: int) -> Any:
    """Value of `reported` for the best by `searched` after 1, 2, ... `budget` queries; [budget].

    A search that ended earlier keeps its last value.
    """
    rows = trace.rows[:budget]
    chosen = rows[incumbents(scores_of(table, searched)[rows])]
    values = table.values(reported)[chosen]
    return np.concatenate([values, np.full(budget - len(values), values[-1])])


def queries_to_optimum(table: Benchmark, trace: Trace, metric: str) -> int | None:
    """Queries until a best value of the whole table was found; None if it was not."""
    scores = scores_of(table, metric)
    (found,) = np.nonzero(scores[trace.rows] == scores.max())
    return int(found[0]) + 1 if len(found) else None
