"""Black-box methods on a benchmark table, as a page: see `morphogen.compare`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from morphogen import benchmarks
from morphogen.benchmarks import Benchmark
from morphogen.core.text import count, figure
from morphogen.reports.charts import Series, lines
from morphogen.reports.groups import STYLES
from morphogen.reports.html import Html, el, join, table
from morphogen.reports.page import document
from morphogen.reports.scale import horizontal, vertical


def page(content: Mapping[str, Any], bench: Benchmark, version: str) -> str:
    """The comparison as one page that asks the network for nothing.

    Args:
        content: as in comparison.json.
        bench: the table that was searched.
        version: of morphogen, for the foot.
    """
    n = len(content["entries"])
    title = f"{n} method{'s'[: n != 1]} on the {benchmarks.describe(bench.name).title} table"
    parts = [
        ("Results", "results", _results(content, bench)),
        ("Regret by architectures looked up", "regret", _curves(content, bench)),
        ("To reproduce", "to-reproduce", _reproduce(content, bench)),
    ]
    foot = f"Made by morphogen {version}."
    return document(title, "Comparison of search methods", _top(content, bench), parts, foot)


def tests(content: Mapping[str, Any]) -> str:
    """What may be said of the differences; empty where nothing was tested."""
    found, first = content["tests"], content["entries"][0]["name"]
    if not found:
        return ""
    against = ", ".join(
        f"{name} p = {p:.2g}" for name, p in found["wilcoxon_p_against_first"].items()
    )
    text = f"Against {first} (Wilcoxon's signed ranks over seeds, Holm's correction): {against}."
    if "friedman_p" in found:
        text = f"All equal (Friedman): p = {found['friedman_p']:.2g}. {text}"
    return text


def _top(content: Mapping[str, Any], bench: Benchmark) -> Html:
    searched, reported = content["search_metric"], content["report_metric"]
    lead = (
        f"{content['seeds']} searches of each method, with the same seeds; each looked up "
        f"{count(content['budget'])} different architectures."
    )
    told = (
        f"They read {searched} ({bench.metric(searched).description}); reported is {reported} "
        f"({bench.metric(reported).description}) of the best by the former."
    )
    notes = [f"{remark}." for remark in content["remarks"]]
    if content["oracle"]:
        notes.append(
            f"The searches read a test figure ({searched}): this compares methods, and finds "
            "nothing."
        )
    if content["seeds"] < 2:
        notes.append("One seed: nothing is known of another, and there are no intervals.")
    boxes = [el("p", {"class": "note-box", "role": "note"}, note) for note in notes]
    return join([el("p", {"class": "lead"}, lead), el("p", {}, told), *boxes])


def _results(content: Mapping[str, Any], bench: Benchmark) -> Html:
    searched, reported = (bench.metric(content[f"{k}_metric"]) for k in ("search", "report"))
    rows = []
    for e in content["entries"]:
        best = e["optimum"]
        rows.append(
            [
                e["name"],
                f"{e['mean_rank']:.2f}",
                _estimate(e["reported"], reported.unit),
                _estimate(e["regret"], reported.unit, least=0.0),
                _estimate(e["search_regret"], searched.unit, least=0.0),
                f"{best['found']} of {best['of']}",
                f"{best['queries']['mean']:,.0f}",
                f"{e['seconds']['mean']:.2g} s",
            ]
        )
    head = [
        "method",
        "mean rank",
        f"{reported.name}, {reported.unit}",
        f"regret in {reported.name}",
        f"regret in {searched.name}",
        "found the best",
        "look-ups to it",
        "a search's own time",
    ]
    _, optimum = bench.optimum(reported.name)
    text = (
        "Means over seeds with 95 % intervals in brackets (Student's t), best mean rank first. "
        f"Rank: by {searched.name}, seed against seed, 1 is best. Regret: distance to the best of "
        f"the table (optimum of {reported.name}: {figure(optimum, reported.unit)}). Look-ups to "
        "the best: misses count as the whole budget."
    )
    said = tests(content)
    return join(
        [
            el("p", {}, text),
            table("Results by method", head, rows, cards=True),
            el("p", {"class": "source"}, said) if said else None,
        ]
    )


def _estimate(value: Mapping[str, float], unit: str, least: float = -math.inf) -> str:
    mean = figure(value["mean"], unit)
    if "low" not in value:
        return mean
    return f"{mean} ({figure(max(value['low'], least), unit)} to {figure(value['high'], unit)})"


def _curves(content: Mapping[str, Any], bench: Benchmark) -> Html:
    drawn = []
    keys = [("search_regret", "search_metric")]
    if content["report_metric"] != content["search_metric"]:
        keys.insert(0, ("regret", "report_metric"))
    for key, which in keys:
        metric = bench.metric(content[which])
        series = []
        for i, e in enumerate(content["entries"]):
            at, c = e["curves"]["queries"], e["curves"][key]
            line = list(zip(map(float, at), c["mean"], strict=True))
            band = list(zip(map(float, at), c["low"], c["high"], strict=True))
            band = [(x, max(low, 0.0), high) for x, low, high in band]
            series.append(Series(e["name"], line, i % STYLES, band=band if len(at) > 1 else ()))
        values = [v for s in series for _, low, high in s.band for v in (low, high)]
        values += [y for s in series for _, y in s.points]
        text = (
            f"Distance of the best so far to the best of the table in {metric.name} "
            f"({metric.description}); mean of {content['seeds']} seeds"
            f"{', with its 95 % interval' if content['seeds'] > 1 else ''}."
        )
        x = horizontal([x for s in series for x, _ in s.points], "architectures looked up")
        y = vertical(values, f"regret, {metric.unit}")
        drawn.append(lines(f"Regret in {metric.name}", text, series, x, y))
    return el("div", {"class": "figures"}, *drawn)


def _reproduce(content: Mapping[str, Any], bench: Benchmark) -> Html:
    return join(
        [
            el("code", {"class": "block command"}, str(content["command"])),
            el("p", {"class": "source"}, f"Source: {bench.citation}."),
        ]
    )
