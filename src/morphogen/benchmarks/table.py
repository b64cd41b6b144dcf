"""A benchmark: a table with the measured figures of architectures, and what can be asked of it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from morphogen.core import Architecture, ArchitectureError, DataError, UnknownNameError
from morphogen.spaces import SearchSpace

STUDENT_975 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Number of runs -> 97.5 % quantile of Student's t with one degree of freedom fewer."""


@dataclass(frozen=True)
class Metric:
    """One column of a benchmark: what was measured, and how."""

    name: str
    data: str
    """Data set, e.g. `CIFAR-10`."""
    split: Literal["valid", "test", "cost"]
    """`cost` is a property of the network (parameters, multiply-adds), not of any data."""
    unit: str
    higher_is_better: bool
    seeds: str
    """How many trainings stand behind one value, e.g. `mean of 3 runs`."""
    epochs: int | None = None
    note: str = ""

    @property
    def for_search(self) -> bool:
        """Whether a search may read it: validation figures and costs yes, test figures never."""
        return self.split != "test"

    @property
    def description(self) -> str:
        """One line: data set, split, epochs, runs, unit, direction, and what to beware of."""
        parts = [
            " ".join(p for p in (self.data, "" if self.split == "cost" else self.split) if p),
            f"{self.epochs} epochs" if self.epochs else "",
            self.seeds,
            f"{self.unit}, {'higher' if self.higher_is_better else 'lower'} is better",
            self.note,
        ]
        return "; ".join(p for p in parts if p)


@dataclass(frozen=True)
class Record:
    """All that a benchmark knows of one architecture; `record["cifar10_test_200"]` is a float."""

    benchmark: str
    architecture: Architecture
    """As asked for; an equivalent one may stand in the table."""
    text: str
    """`architecture` in the space's notation."""
    index: int
    """Row of the table, from 0."""
    values: Mapping[str, float]
    """Metric -> value; the mean where there are several runs."""
    runs: Mapping[str, tuple[float, ...]]
    """Metric -> individual values, for the metrics of which the table has more than one."""

    def __getitem__(self, metric: str) -> float:
        if metric not in self.values:
            raise UnknownNameError(f"metric of benchmark {self.benchmark!r}", metric, self.values)
        return self.values[metric]

    def interval(self, metric: str) -> tuple[float, float] | None:
        """95 % confidence interval of the mean over seeds (Student's t); None without several runs.

        With three runs it is wide, and honest: 2.5 standard deviations to either side.
        """
        mean = self[metric]
        runs = self.runs.get(metric)
        if runs is None:
            return None
        half = STUDENT_975[len(runs)] * float(np.std(runs, ddof=1)) / math.sqrt(len(runs))
        return mean - half, mean + half


class Benchmark:
    """A table of measured architectures of one space.

    Every question takes an `Architecture` or its text. A metric that does not exist is an
    `UnknownNameError`, an architecture that is not in the table an `ArchitectureError`.

    Args:
        name: how the command line calls it; the three shipped ones are called as their space.
        space: the space of the architectures.
        citation: the paper to cite.
        metrics: descriptions of the columns, in the order in which they are shown.
        keys: what identifies each row, all different.
        columns: metric -> array [rows] or [rows, runs]; the value of several runs is their mean.
        keys_of: the keys under which an architecture may stand in the table, best first; by
            default its text. More than one where differently written architectures are the same.
            It refuses an architecture of another space by an `ArchitectureError`.
        read_key: the architecture of a key; by default `space.parse`.
        indexed: whether the rows are in the benchmark's own order, so that their numbers name
            architectures elsewhere too.

    Raises:
        DataError: the columns do not fit the metrics or the keys.
    """

    def __init__(
        self,
        name: str,
        space: SearchSpace,
        citation: str,
        metrics: Sequence[Metric],
        keys: Sequence[str],
        columns: Mapping[str, NDArray[np.floating]],
        *,
        keys_of: Callable[[Architecture], Iterable[str]] | None = None,
        read_key: Callable[[str], Architecture] | None = None,
        indexed: bool = False,
    ) -> None:
        self.name = name
        self.indexed = indexed
        self.space = space
        self.citation = citation
        self.metrics: Mapping[str, Metric] = MappingProxyType({m.name: m for m in metrics})
        self._keys = tuple(keys)
        self._rows = {key: row for row, key in enumerate(self._keys)}
        self._keys_of = keys_of or (lambda arch: (space.format(arch),))
        self._read_key = read_key or space.parse
        if not self._keys or len(self._rows) != len(self._keys):
            raise DataError(
                f"benchmark {name!r} has {len(self._keys)} rows with {len(self._rows)} different "
                "keys; accepted: at least one row, each with a key of its own"
            )
        self._runs: dict[str, NDArray[np.float64]] = {}
        self._values: dict[str, NDArray[np.float64]] = {}
        for metric in self.metrics:
            column = np.array(columns[metric], np.float64) if metric in columns else np.empty(0)
            if len(column) != len(self._keys) or not np.isfinite(column).all():
                raise DataError(
                    f"benchmark {name!r} has no finite value of metric {metric!r} for each of its "
                    f"{len(self._keys)} rows"
                )
            runs = column.reshape(len(column), -1)
            mean = column if column.ndim == 1 else _mean(runs)
            for array in (runs, mean):
                array.flags.writeable = False
            self._runs[metric], self._values[metric] = runs, mean

    # -- what there is -------------------------------------------------------------------------

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._keys)

    def __repr__(self) -> str:
        return f"<Benchmark {self.name}: {len(self)} architectures, {len(self.metrics)} metrics>"

    @property
    def search_metrics(self) -> tuple[str, ...]:
        """The metrics that a search may read: no test figure is among them."""
        return tuple(m.name for m in self.metrics.values() if m.for_search)

    @property
    def test_metrics(self) -> tuple[str, ...]:
        """The metrics for the report after the search."""
        return tuple(m.name for m in self.metrics.values() if m.split == "test")

    @property
    def final_metrics(self) -> tuple[str, ...]:
        """The test figures after the longest training, one per data set."""
        longest: dict[str, Metric] = {}
        for name in self.test_metrics:
            metric = self.metric(name)
            before = longest.get(metric.data)
            if before is None or (metric.epochs or 0) > (before.epochs or 0):
                longest[metric.data] = metric
        return tuple(m.name for m in longest.values())

    def metric(self, name: str) -> Metric:
        """The description of a metric, or an `UnknownNameError` with the nearest match."""
        if name not in self.metrics:
            raise UnknownNameError(f"metric of benchmark {self.name!r}", name, self.metrics)
        return self.metrics[name]

    def values(self, metric: str) -> NDArray[np.float64]:
        """The whole column [rows], read-only, in the order of the table (means over runs)."""
        return self._values[self.metric(metric).name]

    def runs(self, metric: str) -> NDArray[np.float64]:
        """The whole column [rows, runs], read-only; one run where the table has only a mean."""
        return self._runs[self.metric(metric).name]

    def architecture(self, index: int) -> Architecture:
        """The architecture of row `index` (from 0), or an `ArchitectureError`."""
        if not 0 <= index < len(self):
            raise ArchitectureError(
                f"benchmark {self.name!r} has no row {index}; accepted: 0 to {len(self) - 1}"
            )
        return self._read_key(self._keys[index])

    @cached_property
    def architectures(self) -> tuple[Architecture, ...]:
        """All architectures, in the order of the table; made when first asked for."""
        return tuple(self._read_key(key) for key in self._keys)

    def read(self, text: str) -> Architecture:
        """The architecture of a text: what the space reads, or the number of a row (`indexed`)."""
        if self.indexed and re.fullmatch("[0-9]{1,9}", text.strip()):
            return self.architecture(int(text))
        return self.space.parse(text)

    # -- one or many architectures ---------------------------------------------------------------

    def __contains__(self, arch: object) -> bool:
        """Whether the table has this architecture (or an equivalent one)."""
        return isinstance(arch, Architecture | str) and self._find(self._known(arch)) is not None

    def index(self, arch: Architecture | str) -> int:
        """The row of an architecture, from 0, or an `ArchitectureError`."""
        known = self._known(arch)
        row = self._find(known)
        if row is None:
            raise ArchitectureError(
                f"architecture {self.space.format(known)!r} is not among the {len(self)} of "
                f"benchmark {self.name!r}"
            )
        return row

    def query(self, arch: Architecture | str) -> Record:
        """Every metric of one architecture."""
        known = self.space.check(self._known(arch))
        row = self.index(known)
        return Record(
            self.name,
            known,
            self.space.format(known),
            row,
            MappingProxyType({m: float(column[row]) for m, column in self._values.items()}),
            MappingProxyType(
                {
                    m: tuple(float(v) for v in column[row])
                    for m, column in self._runs.items()
                    if column.shape[1] > 1
                }
            ),
        )

    def scores(self, archs: Iterable[Architecture | str], metric: str) -> NDArray[np.float64]:
        """The values of many architectures, an array [len(archs)] in their order."""
        column = self.values(metric)
        return column[np.array([self.index(arch) for arch in archs], np.intp)]

    # -- where an architecture stands --------------------------------------------------------------

    def optimum(self, metric: str) -> tuple[Architecture, float]:
        """The best architecture and its value; the first row of equally good ones."""
        loss = self._losses[self.metric(metric).name]
        row = int(np.argmin(loss))
        return self.architecture(row), float(self.values(metric)[row])

    def rank(self, arch: Architecture | str, metric: str) -> int:
        """1 + the number of strictly better rows: 1 is best, equals share the better rank."""
        ordered, value = self._ordered(arch, metric)
        return 1 + int(np.searchsorted(ordered, value, side="left"))

    def beaten(self, arch: Architecture | str, metric: str) -> float:
        """Percentage of other rows strictly worse: 100 for a sole best, 0 for the worst."""
        ordered, value = self._ordered(arch, metric)
        worse = len(self) - int(np.searchsorted(ordered, value, side="right"))
        return 100.0 * worse / max(len(self) - 1, 1)

    def regret(self, arch: Architecture | str, metric: str) -> float:
        """Distance to the optimum in the metric's unit, never negative."""
        _, value = self._ordered(arch, metric)
        return float(value - self._losses[metric].min())

    def _ordered(
        self, arch: Architecture | str, metric: str
    ) -> tuple[NDArray[np.float64], np.float64]:
        name = self.metric(metric).name
        return self._sorted[name], self._losses[name][self.index(arch)]

    @cached_property
    def _losses(self) -> Mapping[str, NDArray[np.float64]]:
        """Every column as a figure to be made small."""
        return {
            name: -values if self.metrics[name].higher_is_better else values
            for name, values in self._values.items()
        }

    @cached_property
    def _sorted(self) -> Mapping[str, NDArray[np.float64]]:
        return {name: np.sort(losses) for name, losses in self._losses.items()}

    def _known(self, arch: Architecture | str) -> Architecture:
        return self.read(arch) if isinstance(arch, str) else arch

    def _find(self, arch: Architecture) -> int | None:
        return next((self._rows[k] for k in self._keys_of(arch) if k in self._rows), None)


def _mean(runs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each row, to twelve digits, so that equal means do not differ by rounding."""
    mean: NDArray[np.float64] = runs.mean(axis=1)
    largest = float(np.abs(mean).max())
    if largest > 0:
        mean = np.asarray(np.round(mean, 12 - math.ceil(math.log10(largest))))
    return mean
