"""Score an architecture by looking it up in a benchmark table."""

from __future__ import annotations

from collections.abc import Sequence

from morphogen.benchmarks import Benchmark, of
from morphogen.core import Architecture, CapabilityError, ConfigError
from morphogen.spaces import SearchSpace


class TableEvaluator:
    """Looks scores up; only metrics that a search may read are accepted.

    Args:
        space: the space whose table is read.
        metric: column; empty for the table's own choice.
        file: a table that `morphogen import-nasbench101` wrote; empty for the shipped one.

    Raises:
        CapabilityError: there is no table of the space.
        ConfigError: the metric is a test figure.
    """

    def __init__(self, space: SearchSpace, metric: str = "", file: str = "") -> None:
        table = of(space, file)
        if table is None:
            raise CapabilityError(
                f"space {space.name!r} has no benchmark table; accepted evaluators: training"
            )
        usable = ", ".join(table.search_metrics)
        accuracies = [m for m in table.search_metrics if table.metric(m).split == "valid"]
        if not metric and not accuracies:
            raise CapabilityError(
                f"the table of {space.name!r} has no validation figure; name a metric, accepted: "
                f"{usable or 'none, its figures are all test figures'}"
            )
        self.table: Benchmark = table
        self.metric = table.metric(metric or accuracies[0])
        if not self.metric.for_search:
            raise ConfigError(f"metric {metric!r} is a test figure; accepted: {usable}")

    def __call__(self, archs: Sequence[Architecture]) -> list[float]:
        """One score per architecture, higher is better, in the metric's unit."""
        scores = self.table.scores(archs, self.metric.name)
        sign = 1.0 if self.metric.higher_is_better else -1.0
        return [sign * float(s) for s in scores]
