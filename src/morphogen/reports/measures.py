"""What may be compared of runs: one kind of figure for each way of measuring, never two in one.

An accuracy of a network trained from scratch, one with the weights of a supernet, and one that a
table holds are different things with nearly the same name. Each is a `Measure`, which has a column
of its own, and a difference is only ever taken within one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from morphogen import benchmarks
from morphogen.core.text import figure
from morphogen.reports.run import Run
from morphogen.reports.scores import kind
from morphogen.runs.described import TITLES


@dataclass(frozen=True)
class Measure:
    """One way of measuring, on one set of data."""

    name: str
    """In words, with the unit: the heading of its column."""
    metric: str
    unit: str
    """Of the metric; empty for a bare number."""
    higher_is_better: bool
    data: str = ""
    """On which runs were measured; empty where the name says it."""
    space: str = ""
    """In which figures compare; empty where any does, as of networks trained from scratch."""

    def number(self, value: float) -> str:
        """A value without its unit."""
        return figure(value, self.unit)


def seeds(run: Run) -> Sequence[int]:
    """Those of a run: of a training one for each network, of a search its own."""
    first = run.seed
    return range(first, first + int(run.settings.get("seeds", 1))) if run.training else [first]


def measured(run: Run) -> dict[Measure, dict[int, float]]:
    """What a finished run measured itself or what a table says of its result, by seed.

    Of a training, or a search that delivers a network, its metric on the test part, else on the
    held-out one; of another search the last recalibrated metric, else the best score; and the
    table's test figure of what it found.
    Nothing of a run that is not finished.
    """
    if run.state != "finished":
        return {}
    own = _trained(run) if run.training or run.reached else _searched(run)
    return own | (_looked_up(run) if not run.training else {})


def listed(run: Run) -> dict[Measure, float]:
    """What a table says of the architecture of a training: of no seed of it, and no result."""
    if not run.training or run.state != "finished":
        return {}
    return {measure: value for measure, by in _looked_up(run).items() for value in by.values()}


def told_apart(measures: Sequence[Measure]) -> dict[Measure, str]:
    """Headings of columns: the name, with data and space where the name is there more than once."""
    found = {}
    for m in measures:
        alike = [o for o in measures if o.name == m.name]
        more = [f"of {m.data}"] if len({o.data for o in alike}) > 1 else []
        more += [f"in {m.space}"] if len({o.space for o in alike}) > 1 else []
        found[m] = ", ".join([m.name, *more])
    return found


def _trained(run: Run) -> dict[Measure, dict[int, float]]:
    task = run.task
    how = "trained from scratch" if run.training else "network that the search trained"
    for part, known in run.reached.items():
        values = [float(v) for v in known.get("values", ())]
        name = f"{TITLES[part].lower()} {task.spelt}{_in(task.unit)}, {how}"
        made = Measure(name, task.metric, task.unit, task.higher_is_better, run.data)
        return {made: dict(zip(seeds(run), values, strict=False))}
    return {}


def _searched(run: Run) -> dict[Measure, dict[int, float]]:
    task = run.task
    own = Measure("", task.metric, task.unit, task.higher_is_better, run.data, run.space_name)
    for entry in (f"recalibrated_{task.metric}", f"discrete_{task.metric}"):
        points = run.series(entry)
        if points:
            words = entry.replace("_", " ")
            name = f"{words}{_in(task.unit)} on the search-validation part"
            return {replace(own, name=name): {run.seed: points[-1][1]}}
    scores = [score for _, score in run.series("score")]
    if scores and run.judged:
        name = f"best {kind(run)}{_in(task.unit)}"
        return {replace(own, name=name): {run.seed: task.sign * max(scores)}}
    if scores:
        score = Measure(f"best score: {kind(run)}", "score", "", True, run.data, run.space_name)
        return {score: {run.seed: max(scores)}}
    return {}


def _looked_up(run: Run) -> dict[Measure, dict[int, float]]:
    if not run.standing or run.table is None:
        return {}
    v: Mapping[str, object] = run.standing[run.main_metric]
    title = benchmarks.describe(run.table.name).title
    name = f"{v['data']} test {v['unit']}, from the {title} table"
    unit = "%" if "%" in str(v["unit"]) else str(v["unit"])
    higher = run.table.metric(run.main_metric).higher_is_better
    made = Measure(name, "accuracy" if unit == "%" else unit, unit, higher)
    return {made: {run.seed: float(str(v["value"]))}}


def _in(unit: str) -> str:
    return f" in {unit}" * bool(unit)
