"""What architectures are really worth: a benchmark table, or figures of one's own trainings."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen import benchmarks
from morphogen.benchmarks import Benchmark
from morphogen.core import Architecture, ArchitectureError, CapabilityError, ConfigError, DataError
from morphogen.core.ranking import best
from morphogen.core.rng import numpy_stream
from morphogen.spaces import SearchSpace

Values = NDArray[np.float64]

NAMES = ("architecture", "arch")
"""What the column of architectures may be called in a file."""


@dataclass(frozen=True)
class Truth:
    """Architectures, and a measured figure of each."""

    space: SearchSpace
    archs: tuple[Architecture, ...]
    figures: Values
    """[n], as measured."""
    name: str
    """Of the figure: a table's column, or a file's."""
    about: str
    """What was measured, in a line."""
    unit: str = ""
    data: str = ""
    """Data set; empty where it is not known."""
    higher_is_better: bool = True

    def __len__(self) -> int:
        return len(self.archs)

    @property
    def values(self) -> Values:
        """[n], higher is better."""
        return self.figures if self.higher_is_better else -self.figures

    def take(self, rows: NDArray[np.intp]) -> Truth:
        """These rows, in their order."""
        archs = tuple(self.archs[int(row)] for row in rows)
        return replace(self, archs=archs, figures=self.figures[rows])

    def sample(self, count: int, seed: int) -> Truth:
        """`count` architectures at random; a larger sample of the same seed begins with them."""
        if count > len(self):
            raise ConfigError(f"sample is {count}; accepted: at most {len(self)}, all there are")
        order = numpy_stream(seed, "ranking/sample").permutation(len(self))
        return self.take(order[:count])

    def within(self, share: float) -> Truth:
        """The best architectures, round(share n) of them, of equal ones the earlier."""
        if not 0 < share <= 1:
            raise ConfigError(f"within is {share}; accepted: a share above 0, at most 1")
        return self.take(np.sort(best(self.values, round(share * len(self)))))


def table_truth(space: SearchSpace, metric: str = "", *, data: str = "", file: str = "") -> Truth:
    """A column of the table of a space.

    Args:
        space: whose table is read.
        metric: column; by default the test figure after the longest training, on `data` if the
            table has them.
        data: what a scorer was trained on, as in config.yaml.
        file: a table that `morphogen import-nasbench101` wrote; empty for the shipped one.

    Raises:
        CapabilityError: there is no table.
    """
    table = benchmarks.of(space, file)
    if table is None:
        raise CapabilityError(
            f"space {space.name!r} has no benchmark table; accepted: a truth of your own, a file "
            "with the architectures that you trained"
        )
    column = table.metric(metric or _longest(table, data))
    return Truth(
        table.space,
        table.architectures,
        table.values(column.name),
        column.name,
        column.description,
        column.unit,
        column.data,
        column.higher_is_better,
    )


def _longest(table: Benchmark, data: str) -> str:
    metrics = [table.metric(name) for name in table.test_metrics]
    fitting = [m for m in metrics if same_data(m.data, data)]
    first = [m for m in metrics if m.data == metrics[0].data]
    return max(fitting or first, key=lambda m: m.epochs or 0).name


def file_truth(path: str | Path, space: SearchSpace, column: str = "accuracy") -> Truth:
    """Figures of one's own trainings: a .csv or .parquet file.

    Args:
        path: with a column `architecture`, in the space's notation, and one of figures, higher is
            better. An architecture that stands there several times (seeds, say) counts once, with
            the mean.
        space: of the architectures.
        column: of the figures.

    Raises:
        DataError: the file cannot be read, or a row of it.
    """
    path = Path(path)
    found: dict[Architecture, list[float]] = {}
    for number, row in enumerate(_rows(path), start=1):
        key = next((name for name in NAMES if name in row), "")
        if not key or column not in row:
            raise DataError(
                f"{path} has the columns {', '.join(row) or 'of nothing'}; accepted: architecture "
                f"and {column}"
            )
        try:
            arch = space.parse(str(row[key]))
            value = float(row[column])
        except (ArchitectureError, TypeError, ValueError) as error:
            raise DataError(f"row {number} of {path}: {error}") from error
        if not math.isfinite(value):
            raise DataError(f"row {number} of {path} has {column} {value}; accepted: a number")
        found.setdefault(arch, []).append(value)
    if not found:
        raise DataError(f"{path} has no rows; accepted: an architecture a row, with its {column}")
    repeats = sum(map(len, found.values()))
    about = f"{column} in {path}" + (
        f", means of {repeats} trainings" if repeats > len(found) else ""
    )
    figures = np.array([np.mean(values) for values in found.values()])
    return Truth(space, tuple(found), figures, column, about)


def same_data(known: str, given: str) -> bool:
    """Whether `cifar10:/data` or a path with `cifar-10` in it can be the table's CIFAR-10."""
    plain = known.replace("-", "").lower()
    return bool(re.search(re.escape(plain) + r"(?!\d)", given.replace("-", "").lower()))


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    kind = path.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise DataError(f"truth is {path}; accepted: a .csv or a .parquet file")
    try:
        if kind == ".parquet":
            import pyarrow.parquet as parquet
            from pyarrow import ArrowException

            try:
                yield from parquet.read_table(path).to_pylist()
            except ArrowException as error:
                raise DataError(f"{path} is no parquet file: {error}") from error
            return
        with path.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"cannot read {path}: {reason}; accepted: a .csv or .parquet file"
        ) from error
