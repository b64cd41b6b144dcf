"""What a notebook shows of runs, comparisons, scores and rankings: cards that stand alone.

Their style reaches nothing outside them, and every text in them is escaped by construction.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from morphogen.core import Architecture, RunError
from morphogen.core.text import figure
from morphogen.reports import ranking as orders
from morphogen.reports.cells import choices_table, picture
from morphogen.reports.html import Child, Html, el, table
from morphogen.reports.reading import read_run
from morphogen.reports.run import Run
from morphogen.reports.sections import facts
from morphogen.reports.verdict import verdict
from morphogen.spaces import SearchSpace

SHOWN = 10
"""Architectures in a table, at most."""


def run(read: Run, space: SearchSpace | None = None, arch: Architecture | None = None) -> Html:
    """A search or a training: the cell, the figures, the cost and the remarks.

    Args:
        read: what is shown.
        space: of the architecture, where it is at hand; by default what the run says of it.
        arch: likewise.
    """
    space, arch = space or read.space, arch or read.architecture
    drawn = None
    if arch is not None:
        drawn = picture(space, arch) if space else choices_table(arch)
    items = [el("div", {}, el("dt", {}, name), el("dd", {}, value)) for name, value in facts(read)]
    notes = [*read.faults, *map(str, read.result.get("remarks", ()))]
    return _card(
        read.title,
        verdict(read),
        el("dl", {}, *items),
        el("div", {"class": "drawing"}, drawn) if drawn else None,
        el("p", {}, el("code", {}, read.text)) if read.text else None,
        *(el("p", {"class": "note", "role": "note"}, f"{note}.") for note in notes),
        el("p", {"class": "where"}, "Run directory: ", el("code", {}, read.path)),
    )


def of_result(path: Path, space: SearchSpace, arch: Architecture) -> Html | None:
    """The same of the run of a result; None if it is not there any more: then a text has to do."""
    try:
        return run(read_run(path), space, arch)
    except RunError:
        return None


def comparison(content: Mapping[str, Any], unit: str) -> Html:
    """Methods on a table, best mean rank first.

    Args:
        content: as in comparison.json.
        unit: of the figure that is reported.
    """
    rows = []
    for entry in content["entries"]:
        value, best = entry["reported"], entry["optimum"]
        ends = [figure(value[k], unit) for k in ("low", "high") if k in value]
        rows.append(
            [
                entry["name"],
                f"{entry['mean_rank']:.2f}",
                figure(value["mean"], unit),
                " to ".join(ends) or "-",
                f"{best['found']} of {best['of']}",
            ]
        )
    metric = content["report_metric"]
    head = ["method", "mean rank", f"{metric}, {unit}", "95 % interval", "found the best"]
    return _card(
        f"{len(rows)} methods in {content['space']}, {content['seeds']} seeds, "
        f"{content['budget']:,} look-ups each",
        table(f"Searched by {content['search_metric']}", head, rows),
        *(el("p", {"class": "where"}, f"Note: {said}.") for said in content["remarks"]),
        el("p", {"class": "where"}, f"Source: {content['table']}."),
    )


def scores(content: Mapping[str, Any]) -> Html:
    """Architectures by zero-cost proxies, best by the first one first.

    Args:
        content: of `ProxyScores.to_mapping`.
    """
    names = [proxy["name"] for proxy in content["proxies"]]
    worst = float("-inf")

    def key(row: Mapping[str, Any]) -> float:
        value = row["scores"].get(names[0])
        return worst if value is None else float(value)

    best = sorted(content["architectures"], key=key, reverse=True)
    rows = [
        [row["architecture"], *(_number(row["scores"].get(name)) for name in names)]
        for row in best[:SHOWN]
    ]
    more = f", the first {len(rows)}" if len(best) > len(rows) else ""
    parts: list[Child] = [
        table(f"By {names[0]}, higher is better{more}", ["architecture", *names], rows)
    ]
    against = content.get("against")
    if against:
        order = [
            [name, _number(r["kendall"]["value"]), _number(r["spearman"]["value"])]
            for name, r in against["proxies"].items()
        ]
        head = ["proxy", "Kendall's tau-b", "Spearman"]
        parts.append(table(f"Order, against {against['metric']}", head, order))
    return _card(f"{len(best):,} architectures of {content['space']} by zero-cost proxies", *parts)


def ranking(content: Mapping[str, Any]) -> Html:
    """How well a scorer orders architectures.

    Args:
        content: of `Ranked.to_mapping`.
    """
    return _card(
        f"{content['title']}, {content['by']}, against {content['truth']}",
        el("p", {}, orders.head(content)),
        orders.levels(content),
        el("p", {}, orders.chosen(content)),
        *(el("p", {"class": "note", "role": "note"}, note) for note in orders.notes(content)),
    )


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _card(title: str, *children: Child) -> Html:
    style = (files("morphogen.reports") / "assets/card.css").read_text("utf-8")
    return el(
        "div",
        {"class": "morphogen-card"},
        el("style", {}, Html(style)),
        el("p", {"class": "title"}, title),
        *children,
    )
