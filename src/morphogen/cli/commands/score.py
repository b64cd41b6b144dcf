"""`morphogen score`: zero-cost proxies of a few architectures, of a sample, or of a whole space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphogen import proxies
from morphogen.cli.command import CELL, JSON_PROGRESS, Command
from morphogen.cli.options import Option, Section, whole
from morphogen.cli.terminal.counting import counted
from morphogen.cli.terminal.interrupts import advised
from morphogen.cli.terminal.output import print_json, width
from morphogen.core import ConfigError, ranges
from morphogen.core.names import shown
from morphogen.reports.text import columns, count, fold

if TYPE_CHECKING:
    from morphogen.benchmarks import Benchmark
    from morphogen.core import Architecture
    from morphogen.core.ranking import Estimate, Ranking
    from morphogen.engine.judge.proxy_scores import Scored, Scoring
    from morphogen.spaces import SearchSpace

TOP = 5
"""Architectures of a batch that are shown, best first by the first proxy."""


def run(given: dict[str, Any]) -> int:
    """`morphogen score SPACE [ARCH...]`, from its options."""
    from morphogen import benchmarks, spaces

    space = spaces.make(given["space"])
    names = [name.strip() for name in given["proxy"].split(",")]
    known = proxies.named(names)
    seed = whole("--seed", given["seed"], ranges.SEED)
    resamples = whole("--bootstrap", given["bootstrap"], ranges.RESAMPLES)
    table = benchmarks.of(space)
    metric = _metric(table, given["benchmark"], space)
    chosen = _chosen(space, given)
    from morphogen.engine.judge import proxy_scores

    archs = chosen if chosen is not None else _drawn(space, given, seed)
    scoring = proxy_scores.Scoring.of(
        space,
        names,
        data=given["data"],
        batch_size=whole("--batch-size", given["batch-size"], ranges.BATCH),
        image_size=whole("--image-size", given["image-size"], ranges.SIDE),
        channels=whole("--channels", given["channels"], ranges.WIDTH.or_zero),
        depth=whole("--depth", given["depth"], ranges.DEPTH.or_zero),
        seed=seed,
    )
    record = Path(given["output"]) if given["output"] else None
    workers = whole("--workers", given["workers"], ranges.THREADS)
    if chosen is not None:
        scored = proxy_scores.score_all(archs, scoring, record=record, workers=1)
    else:
        scored = _counted(archs, scoring, record, workers)
    judged: dict[str, Ranking] = {}
    if table is not None and chosen is None and len(scored) >= LEAST:
        judged = proxy_scores.against(table, metric, scored, resamples=resamples, seed=seed)
    if given["json"]:
        print_json(_content(scored, scoring, known, judged, metric))
        return 0
    parts = [_few(scored, scoring) if chosen is not None else _many(scored, scoring, given)]
    if judged and table is not None:
        parts.append(_order(judged, scored, table, metric, resamples))
    parts.append(_notes(known))
    if record:
        parts.append(f"Written:\n  {shown(record)}")
    print("\n\n".join(parts))
    return 0


LEAST = 3
"""Architectures that an order takes."""


def _chosen(space: SearchSpace, given: Mapping[str, Any]) -> list[Architecture] | None:
    """The architectures that are named; None if they are to be drawn."""
    ways = {
        "ARCH": bool(given["arch"]),
        "--sample": bool(given["sample"]),
        "--all": given["all"],
    }
    if sum(ways.values()) != 1:
        said = " and ".join(name for name, there in ways.items() if there) or "nothing"
        raise ConfigError(
            f"{said} to score; accepted: one of ARCH..., --sample N (at random), --all"
        )
    if not given["arch"]:
        return None
    archs = [space.parse(text) for text in given["arch"]]
    if len(set(archs)) < len(archs):
        raise ConfigError("an architecture is named twice; accepted: each once")
    return archs


def _drawn(space: SearchSpace, given: Mapping[str, Any], seed: int) -> list[Architecture]:
    from morphogen.engine.judge.proxy_scores import ENUMERABLE, sample

    if given["sample"]:
        return sample(space, whole("--sample", given["sample"], ranges.COUNT), seed)
    if space.size() > ENUMERABLE:
        raise ConfigError(
            f"--all is {count(space.size())} architectures of {space.name}; accepted: spaces of up "
            f"to {ENUMERABLE:,}, or --sample N"
        )
    return space.enumerate()


def _metric(table: Benchmark | None, name: str, space: SearchSpace) -> str:
    """The column that proxies are judged by: by default the test figure of the first data."""
    from morphogen.reports.standing import final_metrics

    if table is None:
        if name:
            raise ConfigError(
                f"--benchmark is {name!r}, and space {space.name!r} has no table; accepted: without"
            )
        return ""
    return table.metric(name or final_metrics(table)[0]).name


def _counted(
    archs: Sequence[Architecture], scoring: Scoring, record: Path | None, workers: int
) -> list[Scored]:
    from morphogen.engine.judge.proxy_scores import score_all

    kept = f"no finished score is lost; the same command goes on from {record}"
    advice = kept if record else "nothing is kept without --output FILE.jsonl"
    with advised(lambda: advice), counted("architectures", len(archs)) as done:
        return score_all(archs, scoring, record=record, workers=workers, done=done)


# -- what is shown ---------------------------------------------------------------------------------


def _content(
    scored: Sequence[Scored],
    scoring: Scoring,
    known: Sequence[proxies.Proxy],
    judged: Mapping[str, Ranking],
    metric: str,
) -> dict[str, Any]:
    def plain(estimate: Estimate) -> dict[str, float | None]:
        return {k: v if math.isfinite(v) else None for k, v in vars(estimate).items()}

    ranked = {
        name: {"kendall": plain(r.levels[0].tau), "spearman": plain(r.levels[0].spearman)}
        for name, r in judged.items()
    }
    return {
        **{k: v for k, v in scoring.description.items() if k != "proxies"},
        "proxies": [{"name": p.name, "unit": p.unit, "source": p.source} for p in known],
        "architectures": [
            {
                "architecture": scoring.space.format(s.architecture),
                "scores": {n: v if math.isfinite(v) else None for n, v in s.scores.items()},
                **({"failed": s.failed} if s.failed else {}),
            }
            for s in scored
        ],
        **({"against": {"metric": metric, "proxies": ranked}} if judged else {}),
    }


def _setting(scoring: Scoring) -> str:
    d = scoring.description
    return (
        f"networks of {scoring.spec.channels} channels and depth {scoring.spec.depth}, untrained; "
        f"one batch of {d['batch_size']} images of {d['data']} with {d['image_size']} pixels a "
        f"side; seed {scoring.seed}"
    )


def _few(scored: Sequence[Scored], scoring: Scoring) -> str:
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


def _many(scored: Sequence[Scored], scoring: Scoring, given: Mapping[str, Any]) -> str:
    how = "all" if given["all"] else "random"
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


def _order(
    judged: Mapping[str, Ranking],
    scored: Sequence[Scored],
    table: Benchmark,
    metric: str,
    resamples: int,
) -> str:
    rows = []
    for name, r in sorted(judged.items(), key=lambda item: -_sortable(item[1].levels[0].spearman)):
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
            ("--data",),
            "DATA",
            "where the batch is from: fashion-mnist (shipped), a path, hf:NAME; only training "
            "images are read, without augmentation",
            "fashion-mnist",
        ),
        Option(("--batch-size",), "N", "images of the batch, the same for all", "64"),
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
