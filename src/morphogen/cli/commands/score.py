"""`morphogen score`: zero-cost proxies of a few architectures, of a sample, or of a whole space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import MISSING
from functools import partial
from typing import TYPE_CHECKING, Any

from morphogen import proxies
from morphogen.cli.command import CELL, JSON_PROGRESS, Command
from morphogen.cli.options import Option, Section, whole
from morphogen.cli.terminal.counting import counted
from morphogen.cli.terminal.interrupts import advised
from morphogen.cli.terminal.output import page_line, print_json, width
from morphogen.core import ConfigError, ranges
from morphogen.core.names import shown
from morphogen.core.text import columns, fold

if TYPE_CHECKING:
    from morphogen.benchmarks import Benchmark
    from morphogen.core.ranking import Estimate
    from morphogen.engine.judge.proxy_scores import Scored, Scoring
    from morphogen.engine.judge.score import ProxyScores

TOP = 5
"""Architectures of a batch that are shown, best first by the first proxy."""


def run(given: dict[str, Any]) -> int:
    """`morphogen score SPACE [ARCH...]`, from its options."""
    ways = {"ARCH": bool(given["arch"]), "--sample": bool(given["sample"]), "--all": given["all"]}
    if sum(ways.values()) != 1:
        said = " and ".join(name for name, there in ways.items() if there) or "nothing"
        raise ConfigError(
            f"{said} to score; accepted: one of ARCH..., --sample N (at random), --all"
        )
    numbers: dict[str, Any] = {
        name.replace("-", "_"): whole(f"--{name}", given[name], accepted)
        for name, accepted in (
            ("batch-size", ranges.BATCH),
            ("image-size", ranges.SIDE),
            ("channels", ranges.WIDTH.or_zero),
            ("depth", ranges.DEPTH.or_zero),
            ("seed", ranges.SEED),
            ("workers", ranges.THREADS),
        )
    }
    numbers["resamples"] = whole("--bootstrap", given["bootstrap"], ranges.RESAMPLES)
    if given["sample"]:
        numbers["sample"] = whole("--sample", given["sample"], ranges.COUNT)
    page = given["page"]
    from morphogen.engine.judge.score import score
    from morphogen.reports.writing import page_file

    if page:
        page_file("--page", page)
    do = partial(
        score,
        given["space"],
        given["arch"] or None,
        proxies=[name.strip() for name in given["proxy"].split(",")],
        data=given["data"],
        metric=given["benchmark"],
        record=given["output"] or None,
        **numbers,
    )
    if given["arch"]:
        found = do()
    else:
        kept = f"no finished score is lost; the same command goes on from {given['output']}"
        advice = kept if given["output"] else "nothing is kept without --output FILE.jsonl"
        with advised(lambda: advice), counted("architectures", numbers.get("sample")) as done:
            found = do(done=done)
    written = found.report(page or None).path if page or given["output"] else None
    if given["json"]:
        print_json(found.to_mapping())
        return 0
    parts = [_few(found) if given["arch"] else _many(found, "all" if given["all"] else "random")]
    if found.rankings and found.table is not None:
        parts.append(_order(found, found.table, numbers["resamples"]))
    parts.append(_notes(found.proxies))
    if given["output"]:
        parts.append(f"Written:\n  {shown(given['output'])}")
    parts.append(page_line(written))
    print("\n\n".join(parts))
    return 0


# -- what is shown ---------------------------------------------------------------------------------


def _setting(scoring: Scoring) -> str:
    d = scoring.description
    return (
        f"networks of {scoring.spec.channels} channels and depth {scoring.spec.depth}, untrained; "
        f"one batch of {d['batch_size']} {d['inputs']} of {d['data']}, each {d['shape']}; seed "
        f"{scoring.seed}"
    )


def _few(found: ProxyScores) -> str:
    scored, scoring = found.scored, found.scoring
    lines = [
        f"  {i}  {scoring.space.format(s.architecture)}"
        + (f"  failed: {shown(s.failed)}" if s.failed else "")
        for i, s in enumerate(scored, start=1)
    ]
    table = columns(
        ["", *scoring.proxies],
        [[str(i), *_figures(s, scoring)] for i, s in enumerate(scored, start=1)],
    )
    about = f"{scoring.space.name}: {_setting(scoring)}. Higher is better."
    return "\n\n".join(["\n".join(lines), table, fold(about, width())])


def _many(found: ProxyScores, how: str) -> str:
    scored, scoring = found.scored, found.scoring
    head = f"{scoring.space.name}, {len(scored):,} {how} architectures: {_setting(scoring)}."
    first = scoring.proxies[0]
    best = sorted(scored, key=lambda s: -s.scores[first])[:TOP]
    rows = [[scoring.space.format(s.architecture), *_figures(s, scoring)] for s in best]
    title = fold(f"Best by {first} (higher is better):", width())
    parts = [fold(head, width()), title + "\n" + columns(["architecture", *scoring.proxies], rows)]
    failed = [s for s in scored if s.failed]
    if failed:
        parts.append(
            fold(
                f"{len(failed):,} of {len(scored):,} failed and have no score; the first one, "
                f"{scoring.space.format(failed[0].architecture)}: {failed[0].failed}",
                width(),
            )
        )
    return "\n\n".join(parts)


def _figures(scored: Scored, scoring: Scoring) -> list[str]:
    values = (scored.scores[name] for name in scoring.proxies)
    return [f"{value:.5g}" if math.isfinite(value) else "none" for value in values]


def _order(found: ProxyScores, table: Benchmark, resamples: int) -> str:
    scored, metric = found.scored, found.metric
    rows = []
    for name, r in sorted(
        found.rankings.items(), key=lambda item: -_sortable(item[1].levels[0].spearman)
    ):
        level = r.levels[0]
        none = sum(not math.isfinite(s.scores.get(name, 0.0)) for s in scored)
        rows.append([name, *_estimate(level.tau), *_estimate(level.spearman), f"{none:,}"])
    head = ["proxy", "Kendall", "95 % interval", "Spearman", "95 % interval", "no score"]
    column = table.metric(metric)
    about = (
        f"Rank correlations with {metric} ({column.description}) over these "
        f"{len(scored):,} architectures; those without a score count as the worst. Intervals: "
        f"bootstrap over architectures, {resamples} draws. Looked up now: the proxies never saw it."
    )
    source = fold(f"Source: {table.citation}.", width(), indent=2, hanging=4)
    return "\n\n".join([columns(head, rows), fold(about, width(), indent=2), source])


def _sortable(estimate: Estimate) -> float:
    return estimate.value if math.isfinite(estimate.value) else -2.0


def _estimate(estimate: Estimate) -> list[str]:
    if not math.isfinite(estimate.value):
        return ["-", "-"]
    known = math.isfinite(estimate.low)
    return [
        f"{estimate.value:.3f}",
        f"{estimate.low:.3f} to {estimate.high:.3f}" if known else "-",
    ]


def _notes(known: Sequence[proxies.Proxy]) -> str:
    return "\n".join(
        fold(
            f"{p.name}: {p.summary}{f', in {p.unit}' if p.unit else ''} ({p.source})",
            width(),
            indent=2,
            hanging=4,
        )
        for p in known
    )


OPTIONS = Section(
    "Options",
    (
        Option((), "SPACE", "a space with networks; `morphogen list spaces` names them", MISSING),
        Option((), "ARCH...", "architectures in the space's notation, each in quotes", ""),
        Option(
            ("--proxy",),
            "NAME,...",
            "one or more, with commas; several share their passes; `morphogen list proxies` says "
            f"what they are: {', '.join(proxies.PROXIES)}",
            "nwot",
        ),
        Option(("--sample",), "N", "score N architectures at random, different ones", ""),
        Option(("--all",), "", "score every architecture of the space", False),
        Option(
            ("--output",),
            "FILE",
            "JSON lines, one for each architecture as it is scored; the same command goes on where "
            "it was interrupted, and with a larger --sample adds to it",
            "",
        ),
        Option(
            ("--page",),
            "FILE.html",
            "write one HTML page with all tables and figures (default: beside --output, with its "
            "name)",
            "",
        ),
        Option(
            ("--data",),
            "DATA",
            "where the batch is from: fashion-mnist (shipped), a path, hf:NAME; only training "
            "examples are read, without augmentation",
            "fashion-mnist",
        ),
        Option(("--batch-size",), "N", "examples of the batch, the same for all", "64"),
        Option(
            ("--image-size",), "N", "height and width in pixels to reduce to; 0: as they are", "0"
        ),
        Option(("--channels",), "N", "C of the networks; 0: as published for the space", "0"),
        Option(("--depth",), "N", "cells; 0: as published for the space", "0"),
        Option(("--seed",), "N", "of the sample, the batch, the weights and the draws", "0"),
        Option(
            ("--benchmark",),
            "METRIC",
            "column of the space's table that the order of a sample is compared with (default: the "
            "test figure after the longest training)",
            "",
        ),
        Option(("--bootstrap",), "N", "draws of the bootstrap for the intervals; 0: none", "200"),
        Option(
            ("--workers",),
            "N",
            "processes, each on one thread; 0: one for each core; scores do not depend on it",
            "0",
        ),
        JSON_PROGRESS,
    ),
)


COMMAND = Command(
    "score",
    "SPACE [ARCH...]",
    "Score architectures by zero-cost proxies, without any training: a few, a sample, or a whole "
    "space; where there is a table, with the order that they give.",
    (
        f"morphogen score nasbench201 --proxy nwot,synflow,params \\\n      {CELL}",
        "morphogen score nasbench201 --sample 1000 --proxy nwot,jacob_cov --output scores.jsonl",
        "morphogen score nasbench-macro --all --data cifar10:/data/cifar-10 --output scores.jsonl",
    ),
    run,
    OPTIONS,
)
