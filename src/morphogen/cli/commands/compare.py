"""`morphogen compare`: black-box methods on a table, with the same budget and the same seeds."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from morphogen.cli.command import JSON_PROGRESS, Command
from morphogen.cli.options import TABLE, Option, Section, whole
from morphogen.cli.terminal.counting import counted
from morphogen.cli.terminal.interrupts import advised
from morphogen.cli.terminal.output import print_json, width
from morphogen.core import ConfigError, ranges
from morphogen.core.names import brief, shell, shown
from morphogen.reports.text import columns, count, figure, fold


def run(given: dict[str, Any]) -> int:
    """`morphogen compare METHOD...`, from its options."""
    from morphogen.core.files import alone, made
    from morphogen.engine.judge import compare

    seeds = whole("--seeds", given["seeds"], ranges.SEEDS)
    budget = whole("--budget", given["budget"], ranges.COUNT)
    round_size = whole("--round-size", given["round-size"], ranges.COUNT)
    workers = whole("--workers", given["workers"], ranges.THREADS)
    if len(set(given["method"])) < len(given["method"]):
        raise ConfigError("a method is named twice with the same options; accepted: each once")
    entries = {text: configured(text) for text in given["method"]}
    space, oracle = given["space"], given["oracle"]
    table, searched = compare.searched(
        space, given["benchmark"], oracle=oracle, file=given["table"]
    )
    reported = _reported(table, searched, given["report"], oracle=oracle)
    trials = [
        compare.Trial(
            method, config, space, searched, seed, budget, round_size, oracle, given["table"]
        )
        for method, config in entries.values()
        for seed in range(seeds)
    ]
    for trial in trials[::seeds]:
        compare.asking(trial.method).require(table.space)
    out = Path(given["out"]) if given["out"] else None
    from morphogen.engine.judge.standings import Entry, standings

    with ExitStack() as stack:
        if out is not None:
            stack.enter_context(made(out))
            stack.enter_context(alone(out))
        began = time.perf_counter()
        kept = f"no finished trial is lost; the same command goes on from {out}"
        advice = kept if out else "nothing is kept without --out DIR"
        with advised(lambda: advice), counted("searches", len(trials)) as done:
            traces = compare.run_trials(
                trials,
                record=out / "trials.jsonl" if out else None,
                workers=workers,
                done=done,
            )
        parts = [traces[i : i + seeds] for i in range(0, len(traces), seeds)]
        named = [Entry(name, part) for name, part in zip(entries, parts, strict=True)]
        content = {
            "space": space,
            "search_metric": searched,
            "report_metric": reported,
            "oracle": oracle,
            "seeds": seeds,
            "budget": budget,
            "round_size": round_size,
            "command": shell("morphogen", *sys.argv[1:]),
            "table": table.citation,
            "seconds": round(time.perf_counter() - began, 1),
            **standings(table, searched, reported, named, budget),
        }
        files = _write(out, content, table) if out else []
    if given["json"]:
        print_json(content)
    else:
        print(_text(content, table, files))
    return 0


def configured(text: str) -> tuple[str, Any]:
    """Method and configuration of `weaknas:predictor=forest,sizes.mlp.width=64`.

    Raises:
        ConfigError: an option is unknown, unreadable, out of range, or there twice.
    """
    from morphogen.core.config import from_mapping
    from morphogen.engine.judge.compare import asking

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


def _reported(table: Any, searched: str, asked: str, *, oracle: bool) -> str:
    """The column in which results are reported: by default the longest test of the same data."""
    from morphogen.reports.standing import final_metrics

    if asked:
        return str(table.metric(asked).name)
    if oracle:
        return searched
    data = table.metric(searched).data
    fitting = [m for m in final_metrics(table) if table.metric(m).data == data]
    return (fitting or final_metrics(table) or [searched])[0]


def _write(out: Path, content: dict[str, Any], table: Any) -> list[Path]:
    from morphogen.core.files import write_anew
    from morphogen.reports.curves import Band, svg

    unit = table.metric(content["report_metric"]).unit
    files = {out / "comparison.json": json.dumps(content, indent=2) + "\n"}
    for key, metric in (("search_regret", "search_metric"), ("regret", "report_metric")):
        bands = [
            Band(e["name"], e["curves"]["queries"], **e["curves"][key]) for e in content["entries"]
        ]
        title = f"{content['space']}, {content[metric]}: mean of {content['seeds']} seeds"
        drawn = svg(title, "architectures looked up", f"regret ({unit}), 95 % band", bands)
        files[out / f"{key.replace('_', '-')}.svg"] = drawn
    for path, text in files.items():
        write_anew(path, text)
    return list(files)


def _text(content: dict[str, Any], table: Any, files: Sequence[Path]) -> str:
    reported, searched = content["report_metric"], content["search_metric"]
    oracle = content["oracle"]
    metric = table.metric(reported)
    head = ["method", "rank", reported, "95 % interval", "regret", "found", "queries", "sec"]
    rows = []
    for e in content["entries"]:
        value, best = e["reported"], e["optimum"]
        ends = [figure(value[k], metric.unit) for k in ("low", "high") if k in value]
        rows.append(
            [
                e["name"],
                f"{e['mean_rank']:.2f}",
                figure(value["mean"], metric.unit),
                " to ".join(ends) or "-",
                figure(e["search_regret"]["mean"], table.metric(searched).unit),
                f"{best['found']}/{best['of']}",
                f"{best['queries']['mean']:,.0f}",
                f"{e['seconds']['mean']:.2g}",
            ]
        )
    _, optimum = table.optimum(reported)
    parts = [
        fold(
            f"{content['space']}: {content['seeds']} seeds, {count(content['budget'])} look-ups "
            f"each, searched by {searched}"
            + (" (a test figure: to compare methods, not to find anything)" if oracle else "")
            + ".",
            width(),
        ),
        columns(head, rows),
        fold(
            f"rank: mean over seeds, by {searched}, 1 is best; {reported}: of the best by "
            f"{searched}, mean over seeds (optimum {figure(optimum, metric.unit)}; "
            f"{metric.description}); regret: distance to the best {searched} of the table; found: "
            "seeds that found it; queries: to it, misses counted as the whole budget; sec: a "
            "search's own time.",
            width(),
            indent=2,
        ),
    ]
    if content["tests"]:
        parts.append(fold(_tests(content), width(), indent=2))
    parts.append(fold(f"Source: {table.citation}.", width(), indent=2, hanging=4))
    if files:
        parts.append("Written:\n" + "\n".join(f"  {shown(path)}" for path in files))
    return "\n\n".join(parts)


def _tests(content: dict[str, Any]) -> str:
    tests, first = content["tests"], content["entries"][0]["name"]
    against = ", ".join(
        f"{name} p = {p:.2g}" for name, p in tests["wilcoxon_p_against_first"].items()
    )
    text = f"Against {first} (Wilcoxon's signed ranks over seeds, Holm's correction): {against}."
    if "friedman_p" in tests:
        text = f"All equal (Friedman): p = {tests['friedman_p']:.2g}. {text}"
    return text


OPTIONS = Section(
    "Options",
    (
        Option(
            (),
            "METHOD...",
            "black-box methods; options after a colon, as in weaknas:predictor=forest,keep=top",
            MISSING,
        ),
        Option(
            ("--space",), "NAME", "a space with a table; `morphogen list spaces`", "nasbench201"
        ),
        TABLE,
        Option(
            ("--benchmark",),
            "METRIC",
            "column of the table that the searches read (default: its first validation figure)",
            "",
        ),
        Option(
            ("--report",),
            "METRIC",
            "column in which the best found is reported (default: the test figure of the same data "
            "after the longest training)",
            "",
        ),
        Option(("--seeds",), "N", "searches of each method, with seeds 0 to N-1", "10"),
        Option(("--budget",), "N", "different architectures that each search looks up", "200"),
        Option(("--round-size",), "N", "architectures asked for at once", "1"),
        Option(
            ("--oracle",),
            "",
            "let the searches read a test figure: only to compare methods, as papers do on tables "
            "that have nothing else",
            False,
        ),
        Option(("--workers",), "N", "processes; 0: one for each core", "0"),
        Option(
            ("--out",),
            "DIR",
            "write regret curves (SVG), all figures (JSON) and the trials there; the same command "
            "goes on where it was interrupted",
            "",
        ),
        JSON_PROGRESS,
    ),
)


COMMAND = Command(
    "compare",
    "METHOD...",
    "Compare black-box methods on a benchmark table: the same budget, the same seeds, in "
    "parallel; means with intervals, ranks, tests, regret curves.",
    (
        "morphogen compare random aging-evolution --seeds 20 --budget 300 --out comparison",
        "morphogen compare weaknas weaknas:predictor=forest local-search \\\n"
        "      --benchmark cifar100_valid_12",
        "morphogen compare random nsga2 --space nasbench-macro --benchmark test_acc --oracle",
    ),
    run,
    OPTIONS,
)
