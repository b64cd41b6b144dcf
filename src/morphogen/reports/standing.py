"""What a table says of an architecture: value, rank, optimum, regret; as data and as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from morphogen.benchmarks import Benchmark
from morphogen.core import Architecture
from morphogen.core.text import columns, figure, fold


def standing(table: Benchmark, arch: Architecture, metrics: Sequence[str]) -> dict[str, Any]:
    """Metric -> its value, rank and so on, as plain values for JSON.

    Args:
        table: the benchmark.
        arch: an architecture of its space.
        metrics: names of the columns.
    """
    record = table.query(arch)
    out = {}
    for name in metrics:
        metric = table.metric(name)
        best, optimum = table.optimum(name)
        interval = record.interval(name)
        out[name] = {
            "value": record[name],
            "interval_95": list(interval) if interval else None,
            "unit": metric.unit,
            "rank": table.rank(arch, name),
            "of": len(table),
            "percent_beaten": table.beaten(arch, name),
            "optimum": optimum,
            "optimum_architecture": table.space.format(best),
            "regret": table.regret(arch, name),
            "data": metric.data,
            "split": metric.split,
            "epochs": metric.epochs,
            "seeds": metric.seeds,
            "note": metric.note,
        }
    return out


def query_text(table: Benchmark, found: dict[str, Any], width: int, *, explain: bool = True) -> str:
    """A table of `standing`, and below it what each metric is."""
    rows = [
        [
            name,
            figure(v["value"], v["unit"]),
            f"{v['rank']:,}",
            f"{v['percent_beaten']:.1f} %",
            figure(v["optimum"], v["unit"]),
            figure(v["regret"], v["unit"]),
        ]
        for name, v in found.items()
    ]
    parts = [columns(["metric", "value", "rank", "beats", "optimum", "regret"], rows)]
    parts.append(
        fold(
            f"rank: 1 + architectures that are better, of {len(table):,}; beats: share of the "
            "others that are worse; regret: distance to the optimum.",
            width,
            indent=2,
        )
    )
    if explain:
        parts.append(
            "\n".join(
                fold(f"{name}: {table.metric(name).description}", width, indent=2, hanging=4)
                for name in found
            )
        )
    for name, v in found.items() if len(found) == 1 else ():
        parts.append(f"  optimum of {name}: {v['optimum_architecture']}")
        if v["interval_95"]:
            low, high = (figure(x, v["unit"]) for x in v["interval_95"])
            parts.append(f"  95 % interval of the mean: {low} to {high}")
    parts.append(fold(f"Source: {table.citation}.", width, indent=2, hanging=4))
    return "\n\n".join(parts)


def result_text(
    table: Benchmark, title: str, found: dict[str, Any], width: int, *, own: bool
) -> str:
    """The lines on the table at the end of a search; says what kind of numbers they are.

    Args:
        table: the benchmark.
        title: what it is called.
        found: of `standing`.
        width: columns.
        own: whether the search was on data of the table.
    """
    first = next(iter(found.values()))
    length = f", {first['epochs']} epochs" if first["epochs"] else ""
    heading = (
        f"What the {title} table says of it{'' if own else ', on other data than these'} "
        f"({first['unit']} on test data, the benchmark's own "
        f"training{length}, {first['seeds']}; looked up now, never during the search):"
    )
    rows = [
        [
            v["data"],
            figure(v["value"], v["unit"]),
            f"{v['rank']:,} of {v['of']:,}",
            figure(v["optimum"], v["unit"]),
            figure(v["regret"], v["unit"]),
        ]
        for v in found.values()
    ]
    table_text = columns(["data", "found", "rank", "optimum", "regret"], rows)
    return f"{fold(heading, width)}\n\n{table_text}"
