"""Which column of a benchmark table is of a run's own data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from morphogen.benchmarks import Benchmark


def metric_on(table: Benchmark, config: Mapping[str, Any]) -> str | None:
    """The final test metric of the data that a run is on; None if the table is of other data.

    Args:
        table: of the run's space.
        config: config.yaml of the run. One that read its scores in the table is on the table's
            data, whatever it names.
    """
    names = table.final_metrics
    evaluation = config["settings"].get("evaluation", {})
    if evaluation.get("evaluator") == "table":
        read = evaluation.get("metric")
        searched = table.metric(read).data if read in table.metrics else ""
        return next((n for n in names if table.metric(n).data == searched), names[0])
    own = _plain(str(config["data"]).split(":")[0])
    return next((n for n in names if _plain(table.metric(n).data) == own), None)


def _plain(data: str) -> str:
    return data.replace("-", "").lower()
