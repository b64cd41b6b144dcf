"""`compare`: black-box methods on a benchmark table, with the same budget and the same seeds."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from morphogen.benchmarks import Benchmark
from morphogen.core import ConfigError, arguments, ranges
from morphogen.core.config import from_mapping, to_mapping
from morphogen.core.files import alone, made, write_anew
from morphogen.core.names import brief
from morphogen.engine.judge.standings import Entry, standings
from morphogen.engine.judge.trials import Trial, asking, run_trials, searched
from morphogen.engine.record.watch import usual_count
from morphogen.engine.search.initial import fit_initial
from morphogen.methods import methods
from morphogen.reports import comparisonpage
from morphogen.reports.curves import Band, svg
from morphogen.reports.writing import Report, written
from morphogen.runs.config import command

PAGE = "comparison.html"
"""The page, in the folder of a comparison."""


@dataclass(frozen=True, repr=False)
class Comparison:
    """What came out, best mean rank first."""

    content: Mapping[str, Any]
    """All figures as plain values, as in comparison.json."""
    table: Benchmark
    files: tuple[Path, ...] = ()
    """What was written."""

    @property
    def entries(self) -> Sequence[Mapping[str, Any]]:
        """One for each method: name, mean rank, figures with intervals over seeds, curves."""
        found: Sequence[Mapping[str, Any]] = self.content["entries"]
        return found

    @property
    def tests(self) -> Mapping[str, Any]:
        """p-values: of all methods being equal, and of each against the best."""
        found: Mapping[str, Any] = self.content["tests"]
        return found

    def __repr__(self) -> str:
        each = ", ".join(f"{e['name']} {e['mean_rank']:.2f}" for e in self.entries)
        return f"<Comparison in {self.content['space']}, mean ranks: {each}>"

    def _repr_html_(self) -> str:
        unit = self.table.metric(self.content["report_metric"]).unit
        from morphogen.reports import notebook  # late: few searches are in a notebook

        return notebook.comparison(self.content, unit)

    def report(self, out: str | os.PathLike[str] | None = None) -> Report:
        """Write one HTML page on the comparison; it needs no network.

        Args:
            out: a file that ends in .html; by default comparison.html in the folder that the
                comparison is kept in, without one here.

        Raises:
            RunError: the page cannot be written.
            ConfigError: `out` does not end in .html.
        """
        folder = self.files[0].parent if self.files else Path()
        return written(_page(self.content, self.table), folder / PAGE if out is None else out)


def compare(
    methods: str | object | Sequence[str | object],
    *,
    space: str = "nasbench201",
    metric: str = "",
    report_metric: str = "",
    seeds: int = 10,
    budget: int = 200,
    round_size: int = 1,
    oracle: bool = False,
    table: str | os.PathLike[str] = "",
    workers: int = 0,
    out: str | os.PathLike[str] | None = None,
    done: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Compare black-box methods on a benchmark table: the same budget, the same seeds.

    Args:
        methods: names, with options after a colon, as in `weaknas:predictor=forest,keep=top`; or
            configurations of methods.
        space: a space with a table.
        metric: the column that the searches read; by default the table's first validation figure.
        report_metric: the column in which the best found is reported; by default the test figure
            of the same data after the longest training.
        seeds: searches of each method, with seeds 0 to seeds - 1.
        budget: different architectures that each search looks up.
        round_size: architectures asked for at once.
        oracle: let the searches read a test figure: only to compare methods, as papers do on
            tables that have nothing else.
        table: a file that `morphogen import-nasbench101` wrote; by default the shipped table.
        workers: processes; 0: one for each core.
        out: folder for a page (HTML), regret curves (SVG), all figures (JSON) and the trials; the
            same call goes on where it was interrupted.
        done: called with the number of finished searches and of all.

    Raises:
        MorphogenError: one sentence on what is wrong and what is accepted.
    """
    for name, value, accepted in (
        ("seeds", seeds, ranges.SEEDS),
        ("budget", budget, ranges.COUNT),
        ("round_size", round_size, ranges.COUNT),
        ("workers", workers, ranges.THREADS),
    ):
        arguments.whole(name, value, accepted)
    entries, remarks = _entries(methods, budget)
    file = os.fspath(table)
    looked_up, column = searched(space, metric, oracle=oracle, file=file)
    reported = _reported(looked_up, column, report_metric, oracle=oracle)
    trials = [
        Trial(method, config, space, column, seed, budget, round_size, oracle, file)
        for method, config in entries.values()
        for seed in range(seeds)
    ]
    for trial in trials[::seeds]:
        asking(trial.method).require(looked_up.space)
    folder = None if out is None else arguments.path("out", out)
    with ExitStack() as stack:
        if folder is not None:
            stack.enter_context(made(folder))
            stack.enter_context(alone(folder))
        began = time.perf_counter()
        record = folder / "trials.jsonl" if folder else None
        traces = run_trials(
            trials, record=record, workers=workers, done=done or usual_count("searches")
        )
        parts = [traces[i : i + seeds] for i in range(0, len(traces), seeds)]
        named = [Entry(name, part) for name, part in zip(entries, parts, strict=True)]
        content = {
            "space": space,
            "search_metric": column,
            "report_metric": reported,
            "oracle": oracle,
            "seeds": seeds,
            "budget": budget,
            "round_size": round_size,
            "command": command(),
            "remarks": remarks,
            "table": looked_up.citation,
            "seconds": round(time.perf_counter() - began, 1),
            **standings(looked_up, column, reported, named, budget),
        }
        files = _write(folder, content, looked_up) if folder else ()
    return Comparison(content, looked_up, files)


def _entries(
    asked: str | object | Sequence[str | object], budget: int
) -> tuple[dict[str, tuple[str, Any]], list[str]]:
    """Method and configuration of each entry, fitted to the budget; and what was fitted."""
    listed = list(asked) if isinstance(asked, list | tuple) else [asked]
    if not listed:
        raise ConfigError("methods is empty; accepted: one black-box method at least")
    entries = dict(map(_entry, listed))
    if len(entries) < len(listed):
        raise ConfigError("a method is named twice with the same options; accepted: each once")
    remarks: list[str] = []
    for name, (method, config) in entries.items():
        fitted, cut = fit_initial(asking(method), config, budget)
        entries[name] = method, fitted
        remarks += [f"{name}: {sentence}" for sentence in cut]
    return entries, remarks


def _entry(method: str | object) -> tuple[str, tuple[str, Any]]:
    """Name of an entry, and its method and configuration."""
    if isinstance(method, str):
        return method, configured(method)
    for info in methods().values():
        if type(method) is info.config:
            usual = to_mapping(info.config())
            own = {k: v for k, v in to_mapping(method).items() if v != usual[k]}
            options = ",".join(f"{name}={value}" for name, value in own.items())
            return f"{asking(info.name).name}{':' if own else ''}{options}", (info.name, method)
    raise ConfigError(
        f"{brief(method)} is no method; accepted: a name, or the configuration of a method"
    )


def configured(text: str) -> tuple[str, Any]:
    """Method and configuration of `weaknas:predictor=forest,sizes.mlp.width=64`.

    Raises:
        ConfigError: an option is unknown, unreadable, out of range, or there twice.
    """
    name, colon, rest = text.partition(":")
    info = asking(name)
    if not colon:
        return name, info.config()
    values: dict[str, Any] = {}
    for part in re.split(r",(?![^\[]*\])", rest):
        path, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not path or not value:
            raise ConfigError(
                f"cannot read {brief(part)} in {brief(text)}; accepted: "
                "METHOD:option=value,option=value"
            )
        at: Any = values
        *outer, last = path.replace("-", "_").split(".")
        for key in outer:
            at = at.setdefault(key, {}) if isinstance(at, dict) else at
        if not isinstance(at, dict) or last in at:
            raise ConfigError(
                f"{brief(path)} is there twice, or with a part of it, in {brief(text)}; accepted: "
                "each option once"
            )
        at[last] = _value(value)
    return name, from_mapping(info.config, values)


def _value(text: str) -> str | list[str]:
    """A value as text, or a list of such: the configuration says what it accepts, and reads it."""
    if text.startswith("[") and text.endswith("]"):
        return [part.strip() for part in text[1:-1].split(",")]
    return text


def _reported(table: Benchmark, searched: str, asked: str, *, oracle: bool) -> str:
    """The column in which results are reported: by default the longest test of the same data."""
    if asked:
        return str(table.metric(asked).name)
    if oracle:
        return searched
    data = table.metric(searched).data
    fitting = [m for m in table.final_metrics if table.metric(m).data == data]
    return (fitting or table.final_metrics or [searched])[0]


def _page(content: Mapping[str, Any], table: Benchmark) -> str:
    from morphogen import __version__

    return comparisonpage.page(content, table, __version__)


def _write(out: Path, content: dict[str, Any], table: Benchmark) -> tuple[Path, ...]:
    unit = table.metric(content["report_metric"]).unit
    files = {
        out / "comparison.json": json.dumps(content, indent=2) + "\n",
        out / PAGE: _page(content, table),
    }
    for key, metric in (("search_regret", "search_metric"), ("regret", "report_metric")):
        bands = [
            Band(e["name"], e["curves"]["queries"], **e["curves"][key]) for e in content["entries"]
        ]
        title = f"{content['space']}, {content[metric]}: mean of {content['seeds']} seeds"
        drawn = svg(title, "architectures looked up", f"regret ({unit}), 95 % band", bands)
        files[out / f"{key.replace('_', '-')}.svg"] = drawn
    for path, text in files.items():
        write_anew(path, text)
    return tuple(files)
