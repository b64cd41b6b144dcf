"""What architectures are really worth: a benchmark table, or figures of one's own trainings."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen import benchmarks
from morphogen.benchmarks import Benchmark
from morphogen.core import Architecture, ArchitectureError, CapabilityError, ConfigError, DataError
from morphogen.core.names import brief, shown
from morphogen.core.ranking import best
from morphogen.core.reading import read_bytes
from morphogen.core.rng import numpy_stream
from morphogen.core.spreadsheet import Table
from morphogen.spaces import SearchSpace

Values = NDArray[np.float64]

NAMES = ("architecture", "arch")
"""What the column of architectures may be called in a file."""

LARGEST = 1e30
"""Of a figure: means and differences of it stay finite."""

MOST_ROWS = 10_000_000
"""Of a parquet file, in which a row may take less than a bit."""


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

    @property
    def digest(self) -> str:
        """Twelve digits that change with any figure."""
        return hashlib.sha256(self.figures.tobytes()).hexdigest()[:12]

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
            the mean. A .csv file may be as spreadsheets save it, see `spreadsheet`.
        space: of the architectures.
        column: of the figures.

    Raises:
        DataError: the file cannot be read, or a row of it.
    """
    path = Path(path)
    found: dict[Architecture, list[float]] = {}
    for where, text, figure in _rows(path, column):
        try:
            arch, value = space.parse(text), figure()
        except (ArchitectureError, TypeError, ValueError) as error:
            raise DataError(f"{where} of {shown(path)}: {error}") from error
        if not abs(value) <= LARGEST:
            raise DataError(
                f"{where} of {shown(path)} has {column} {value:g}; accepted: a number, at most "
                f"{LARGEST:g}"
            )
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


Row = tuple[str, str, Callable[[], float]]
"""Where it stands, the architecture as text, and what reads the figure (or fails: ValueError)."""


def _rows(path: Path, column: str) -> Iterator[Row]:
    kind = path.suffix.lower()
    if kind == ".csv":
        return _from_csv(path, column)
    if kind == ".parquet":
        return _from_parquet(path, column)
    raise DataError(f"truth is {shown(path)}; accepted: a .csv or a .parquet file")


def _from_csv(path: Path, column: str) -> Iterator[Row]:
    table = Table(path)
    key, figures = _columns(path, table.names, column)
    signs: bool | None = None
    for line, row in table:
        text = row[figures]
        signs = text.endswith("%") if signs is None else signs
        if text.endswith("%") != signs:
            raise DataError(
                f"line {line} of {shown(path)} has {column} {brief(text)}, and the lines before "
                f"are {'with' if signs else 'without'} a percent sign; accepted: all or none"
            )
        yield f"line {line}", row[key], partial(table.number, text)


def _from_parquet(path: Path, column: str) -> Iterator[Row]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    raw = read_bytes(path, accepted="a .csv or .parquet file", error=DataError)
    try:
        file = ParquetFile(io.BytesIO(raw))
        key, figures = _columns(path, file.schema_arrow.names, column)
        if file.metadata.num_rows > MOST_ROWS:
            raise DataError(
                f"{shown(path)} has {file.metadata.num_rows:,} rows; accepted: at most "
                f"{MOST_ROWS:,}"
            )
        number = 0
        for batch in file.iter_batches(1000, columns=[key, figures]):
            texts, values = (batch.column(name).to_pylist() for name in (key, figures))
            for text, value in zip(texts, values, strict=True):
                number += 1
                yield f"row {number}", str(text), partial(_figure, value)
    except (ArrowException, OSError) as error:
        raise DataError(f"{shown(path)} is no parquet file: {error}") from error


def _figure(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(f"{brief(value)} is no number")
    return float(value)


def _columns(path: Path, names: Sequence[str], column: str) -> tuple[str, str]:
    """The names of the two columns as the file writes them, in capitals or not."""
    plain = {name.casefold(): name for name in names} | {name: name for name in names}
    key = next((plain[name] for name in NAMES if name in plain), "")
    figures = plain.get(column) or plain.get(column.casefold(), "")
    if not key or not figures:
        listed = ", ".join(shown(name)[:60] for name in names[:20]) or "of nothing"
        raise DataError(
            f"{shown(path)} has the columns {listed}; accepted: architecture and {column}, in a "
            "first line of names with commas, semicolons or tabs between them"
        )
    return key, figures
