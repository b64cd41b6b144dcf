"""Architectures by zero-cost proxies, as a page: see `morphogen.score`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from morphogen.benchmarks import Benchmark
from morphogen.proxies import Proxy
from morphogen.reports.cells import picture
from morphogen.reports.charts import Mark, cloud
from morphogen.reports.clouds import middle
from morphogen.reports.html import Html, el, join, table
from morphogen.reports.page import document
from morphogen.reports.ranking import MOST_POINTS, estimate
from morphogen.reports.scale import horizontal, vertical
from morphogen.reports.scores import thin
from morphogen.spaces import SearchSpace

SHOWN = 20
"""Architectures in the table, the best first."""

Row = Mapping[str, Any]


def page(
    content: Mapping[str, Any],
    space: SearchSpace,
    proxies: Sequence[Proxy],
    bench: Benchmark | None,
    version: str,
) -> str:
    """The scores as one page that asks the network for nothing.

    Args:
        content: of `ProxyScores.to_mapping`.
        space: of the architectures.
        proxies: what scored, the first of which orders.
        bench: the table of the space, if the order was compared with it.
        version: of morphogen, for the foot.
    """
    first = proxies[0].name
    rows: list[Row] = sorted(content["architectures"], key=lambda row: -_value(row, first))
    parts = [("The best", "best", _best(rows, space, proxies))]
    if bench is not None and "against" in content:
        order = _order(content["against"], rows, space, proxies, bench)
        parts.append(("The order that they give", "order", order))
    parts.append(("The proxies", "proxies", _about(proxies)))
    names = ", ".join(p.name for p in proxies)
    n = len(rows)
    title = f"{n:,} architecture{'s'[: n != 1]} of {content['space']} by {names}"
    foot = f"Made by morphogen {version}."
    return document(title, "Zero-cost scores", _top(content, rows), parts, foot)


def _value(row: Row, name: str) -> float:
    value = row["scores"].get(name)
    return -math.inf if value is None else float(value)


def _top(content: Mapping[str, Any], rows: Sequence[Row]) -> Html:
    net = content["network"]
    lead = (
        f"Untrained networks of {net['channels']} channels and depth {net['depth']}, on one batch "
        f"of {content['batch_size']} {content['inputs']} of {content['data']}, each "
        f"{content['shape']}; seed {content['seed']}. No training: scores are not accuracies."
    )
    failed = [row for row in rows if row.get("failed")]
    note = None
    if failed:
        said = (
            f"{len(failed):,} of {len(rows):,} failed and have no score; the first one, "
            f"{failed[0]['architecture']}: {failed[0]['failed']}"
        )
        note = el("p", {"class": "note-box", "role": "note"}, said)
    return join([el("p", {"class": "lead"}, lead), note])


def _best(rows: Sequence[Row], space: SearchSpace, proxies: Sequence[Proxy]) -> Html:
    names = [p.name for p in proxies]
    listed = [
        [el("code", {}, row["architecture"]), *(_number(_value(row, name)) for name in names)]
        for row in rows[:SHOWN]
    ]
    more = f", {len(listed)} of {len(rows):,}" if len(rows) > len(listed) else ""
    drawn = picture(space, space.parse(rows[0]["architecture"]))
    return join(
        [
            el("p", {}, f"By {names[0]}, higher is better{more}; drawn is the first."),
            el("div", {"class": "drawing"}, drawn),
            table(f"Best by {names[0]}", ["architecture", *names], listed, cards=True),
        ]
    )


def _number(value: float) -> str:
    return f"{value:.5g}" if math.isfinite(value) else "none"


def _order(
    against: Mapping[str, Any],
    rows: Sequence[Row],
    space: SearchSpace,
    proxies: Sequence[Proxy],
    bench: Benchmark,
) -> Html:
    metric = bench.metric(against["metric"])
    truth = [bench.query(space.parse(row["architecture"]))[metric.name] for row in rows]
    found = sorted(
        against["proxies"].items(), key=lambda item: -(item[1]["spearman"]["value"] or -2.0)
    )
    listed = [[name, estimate(r["kendall"]), estimate(r["spearman"])] for name, r in found]
    drawn = []
    for proxy in proxies:
        points = [
            (score, value)
            for row, value in zip(rows, truth, strict=True)
            if math.isfinite(score := _value(row, proxy.name))
        ]
        if len(points) > 1:
            drawn.append(_cloud(proxy, points, metric.name, len(rows)))
    text = (
        f"Rank correlations with {metric.name} ({metric.description}) over these {len(rows):,} "
        "architectures, in brackets 95 % intervals (bootstrap over architectures); those without "
        "a score count as the worst. The proxies never saw the table."
    )
    head = ["proxy", "Kendall's tau-b", "Spearman"]
    return join(
        [
            el("p", {}, text),
            table(f"Order, against {metric.name}", head, listed, cards=True),
            el("div", {"class": "figures"}, *drawn),
            el("p", {"class": "source"}, f"Source: {bench.citation}."),
        ]
    )


def _cloud(proxy: Proxy, points: Sequence[tuple[float, float]], metric: str, of: int) -> Html:
    best = max(points)
    xs, ys = np.array(points).T
    kept = middle(xs, [best[0]]) & middle(ys, [best[1]])
    inside = [(float(x), float(y)) for x, y in zip(xs[kept], ys[kept], strict=True)]
    few = thin(inside, MOST_POINTS)
    text = f"Each small dot is an architecture, the large one is the best by {proxy.name}."
    if len(points) < of:
        text += f" {of - len(points):,} without a score are not drawn."
    outliers = len(points) - len(inside)
    if outliers:
        text += f" {outliers:,} outlier{'s are' if outliers > 1 else ' is'} outside of the frame."
    if len(few) < len(inside):
        text += f" About {MOST_POINTS:,} are drawn."
    return cloud(
        f"{metric} against {proxy.name}",
        text,
        few,
        [Mark(*best, f"best by {proxy.name}", 1)],
        horizontal([x for x, _ in inside], proxy.name),
        vertical([y for _, y in inside], metric),
        names=[(f"best by {proxy.name}", 1)],
    )


def _about(proxies: Sequence[Proxy]) -> Html:
    listed = [
        [p.name, f"{p.summary}{f', in {p.unit}' if p.unit else ''}", p.source] for p in proxies
    ]
    return table("The proxies", ["proxy", "what it is", "source"], listed, cards=True)
