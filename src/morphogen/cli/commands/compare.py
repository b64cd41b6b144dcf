"""`morphogen compare`: black-box methods on a table, with the same budget and the same seeds."""

from __future__ import annotations

from dataclasses import MISSING
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphogen.cli.command import JSON_PROGRESS, Command
from morphogen.cli.options import TABLE, Option, Section, whole
from morphogen.cli.terminal.counting import counted
from morphogen.cli.terminal.interrupts import advised
from morphogen.cli.terminal.output import page_line, print_json, width
from morphogen.core import ConfigError, ranges
from morphogen.core.names import shown
from morphogen.core.text import columns, count, figure, fold

if TYPE_CHECKING:
    from morphogen.engine.judge.compare import Comparison


def run(given: dict[str, Any]) -> int:
    """`morphogen compare METHOD...`, from its options."""
    seeds = whole("--seeds", given["seeds"], ranges.SEEDS)
    numbers = {
        "budget": whole("--budget", given["budget"], ranges.COUNT),
        "round_size": whole("--round-size", given["round-size"], ranges.COUNT),
        "workers": whole("--workers", given["workers"], ranges.THREADS),
    }
    out, page = given["out"], given["page"]
    for name in given["method"]:
        if (Path(name) / "config.yaml").is_file():
            raise ConfigError(
                f"{name!r} is the directory of a run; accepted: names of methods; runs are "
                "compared by `morphogen report RUN RUN`"
            )
    from morphogen.engine.judge.compare import compare
    from morphogen.reports.writing import page_file

    if page:
        page_file("--page", page)

    kept = f"no finished trial is lost; the same command goes on from {out}"
    advice = kept if out else "nothing is kept without --out DIR"
    total = seeds * len(given["method"])
    with advised(lambda: advice), counted("searches", total) as done:
        found = compare(
            given["method"],
            space=given["space"],
            metric=given["benchmark"],
            report_metric=given["report"],
            seeds=seeds,
            oracle=given["oracle"],
            table=given["table"],
            out=out or None,
            done=done,
            **numbers,
        )
    files = list(found.files)
    if page and found.report(page).path not in files:
        files.append(Path(page))
    if given["json"]:
        print_json(found.content)
        return 0
    parts = [_text(found)]
    if files:
        parts.append("Written:\n" + "\n".join(f"  {shown(path)}" for path in files))
    parts.append(page_line(next((f for f in files if f.suffix == ".html"), None)))
    print("\n\n".join(parts))
    return 0


def _text(found: Comparison) -> str:
    from morphogen.reports.comparisonpage import tests

    content, table = found.content, found.table
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
    parts += [fold(f"Note: {remark}.", width(), indent=2) for remark in content["remarks"]]
    if content["tests"]:
        parts.append(fold(tests(content), width(), indent=2))
    parts.append(fold(f"Source: {table.citation}.", width(), indent=2, hanging=4))
    return "\n\n".join(parts)


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
            "write a page (HTML), regret curves (SVG), all figures (JSON) and the trials there; "
            "the same command goes on where it was interrupted",
            "",
        ),
        Option(
            ("--page",),
            "FILE.html",
            "write the page to this file (default: comparison.html in the folder of --out)",
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
