"""The public files of NAS-Bench-101, converted once to a small table for NAS-Bench-1Shot1.

Ying et al., ICML 2019, arXiv 1902.09635: `nasbench_only108.tfrecord` (499 MB) and
`nasbench_full.tfrecord` (1.95 GB) are the user's to download. A record is a JSON list: hash of the
cell, epochs of the training, adjacency as a string of 0 and 1, operations joined by commas, and a
protocol-buffer message of measurements in base64. Nothing in it is executed, and no TensorFlow is
needed.

Kept are the cells of the three spaces of NAS-Bench-1Shot1 with every training, in a parquet file.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.benchmarks.columns import exact, floats, texts
from morphogen.benchmarks.nasbench101_record import cell_of as record_cell
from morphogen.benchmarks.nasbench101_record import measured, parts_of
from morphogen.benchmarks.shipped import ONESHOT
from morphogen.benchmarks.table import Benchmark, Metric
from morphogen.benchmarks.tfrecord import records
from morphogen.core import Architecture, ConfigError, DataError
from morphogen.core.files import write_anew
from morphogen.core.names import shown
from morphogen.core.reading import MEBIBYTE, read_bytes
from morphogen.spaces import make
from morphogen.spaces.nasbench1shot1 import PARENTS, NASBench1Shot1, cell_of
from morphogen.spaces.nasbench101 import Cell, graph_hash

CELLS = 423_624
"""Cells of the public files."""

RUNS = 3
"""Trainings of a cell at each number of epochs."""

IMAGES = 9_984
"""Images behind an accuracy: 39 batches of 256, of 10,000."""

FORMAT = b"morphogen nasbench101 1"
"""Stands in the parquet file's metadata."""

LARGEST = 256 * MEBIBYTE
"""Of such a file; that of the public records has a tenth of it."""

ACCEPTED = "a file written by `morphogen import-nasbench101`"

AUTHORS_BEST = {
    "nasbench1shot1-s1": {"valid": 0.049278855323791504, "test": 0.05448716878890991},
    "nasbench1shot1-s2": {"valid": 0.051582515239715576, "test": 0.057592153549194336},
    "nasbench1shot1-s3": {"valid": 0.04847759008407593, "test": 0.05338543653488159},
}
"""Best single run that the authors of NAS-Bench-1Shot1 listed: where their regret begins."""


def authors_regret(table: Benchmark, arch: Architecture | str, split: str) -> float:
    """Mean error of the three runs of 108 epochs minus the best single run of the authors' list.

    Their protocol: no architecture reaches 0, since a mean is compared with one run; and one that
    their incomplete list does not have may be below it.

    Args:
        table: a table of one of the three spaces.
        arch: an architecture of it.
        split: `valid` or `test`.
    """
    return table.query(arch)[f"{split}_error"] - AUTHORS_BEST[table.space.name][split]


@dataclass(frozen=True)
class Imported:
    """What a conversion found."""

    records: int
    cells: int
    """Different cells in the file; `CELLS` in a whole one."""
    kept: dict[str, int]
    """Space -> how many of its cells, up to isomorphism."""
    epochs: tuple[int, ...]


@dataclass
class _Row:
    texts: dict[str, str]
    """Space -> an architecture of it that is this cell."""
    params: int
    runs: dict[int, list[tuple[float, float, float]]] = field(default_factory=dict)
    """Epochs -> validation accuracy, test accuracy, seconds of each training."""


def convert(source: Path, target: Path) -> Imported:
    """Read a public file and write the cells of the three spaces as parquet.

    Takes about two minutes for `nasbench_only108.tfrecord`, five for the full file.

    Raises:
        ConfigError: `target` exists already.
        DataError: `source` is not such a file, is damaged, or has not every training.
        RunError: `target` cannot be written.
    """
    if target.exists():
        raise ConfigError(f"{target} exists already; accepted: the name of a new file")
    number, rows = 0, dict[str, _Row | None]()
    spaces = [make(name) for name in PARENTS]
    for number, data in enumerate(records(source), start=1):
        where = f"record {number:,} of {source}"
        key, epochs, adjacency, operations, message = parts_of(data, where)
        if key not in rows:
            rows[key] = _new_row(spaces, key, record_cell(adjacency, operations, where), where)
        row = rows[key]
        if row is not None:
            params, run = measured(message, where)
            row.params = row.params or params
            row.runs.setdefault(epochs, []).append(run)
    kept = {key: row for key, row in rows.items() if row is not None}
    if not kept:
        raise DataError(f"{source} has no cell of NAS-Bench-1Shot1 in its {number:,} records")
    epochs_of = tuple(sorted({e for row in kept.values() for e in row.runs}))
    _check_complete(kept, epochs_of, source)
    write_anew(target, _parquet(kept, epochs_of))
    counts = {name: sum(name in row.texts for row in kept.values()) for name in PARENTS}
    return Imported(number, len(rows), counts, epochs_of)


def load(path: Path, space: NASBench1Shot1) -> Benchmark:
    """The benchmark of `space` from a file that `convert` wrote.

    Its rows are the cells of the space up to isomorphism, so every architecture of a space whose
    cells are all in the file is found.

    Raises:
        DataError: the file is missing, or none that `convert` wrote.
    """
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    raw = read_bytes(path, most=LARGEST, accepted=ACCEPTED, error=DataError)
    try:
        file = ParquetFile(io.BytesIO(raw))
        metadata = file.schema_arrow.metadata or {}
        if metadata.get(b"format") != FORMAT or file.metadata.num_rows > CELLS:
            raise _not_ours(path)
        table = file.read(use_threads=False)
        listed = table[space.name].to_pylist()
        chosen = np.flatnonzero([text is not None for text in listed])
        hashes = texts(table, "module_hash")
        keys = [hashes[i] for i in chosen]
        written = dict(zip(keys, (listed[i] for i in chosen), strict=True))
        every = sorted(int(n.rsplit("_", 2)[1]) for n in table.column_names if n.endswith("_0"))
        metrics = _metrics(space.name, tuple(dict.fromkeys(every)))
        columns = {metric.name: _column(table, metric, chosen) for metric in metrics}
    # An edited file: a column is missing, is of another type, or has values missing.
    except (ArrowException, OSError, LookupError, ValueError, TypeError, BufferError) as error:
        raise _not_ours(path) from error
    return Benchmark(
        space.name,
        make(space.name),
        ONESHOT.citation,
        metrics,
        keys,
        columns,
        keys_of=lambda arch: (graph_hash(cell_of(space.check(arch))),),
        read_key=lambda key: space.parse(written[key]),
    )


def _column(table: Any, metric: Metric, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """The values of a metric in the chosen rows: [rows], or [rows, runs]."""
    if metric.name == "params":
        return floats(table, "params")[chosen]
    stem = metric.name if metric.epochs != 108 else f"{metric.name}_108"
    runs = np.stack([floats(table, f"{stem}_{i}")[chosen] for i in range(RUNS)], axis=1)
    return exact(runs, IMAGES) if "error" in metric.name else runs


def _not_ours(path: Path) -> DataError:
    return DataError(f"{shown(path)} is no table of NAS-Bench-101; accepted: {ACCEPTED}")


def _metrics(space: str, epochs: tuple[int, ...]) -> list[Metric]:
    """The columns: errors, 108 epochs first and without a number, parameters and time."""
    found = []
    for e in sorted(epochs, key=lambda e: (e != 108, e)):
        end = "" if e == 108 else f"_{e}"
        for split in ("valid", "test"):
            note = "trained on 40,000 images"
            if e == 108:
                best = AUTHORS_BEST[space][split]
                note += f"; the authors' regret begins at {best:.5f}, their best single run"
            found.append(
                Metric(
                    f"{split}_error{end}",
                    "CIFAR-10",
                    "valid" if split == "valid" else "test",
                    "error as a fraction",
                    False,
                    "mean of 3 runs",
                    e,
                    note,
                )
            )
    found.append(Metric("params", "", "cost", "parameters", False, "exact"))
    for e in sorted(epochs, key=lambda e: (e != 108, e)):
        end = "" if e == 108 else f"_{e}"
        note = "training on a TPU v2, without evaluation"
        found.append(
            Metric(f"seconds{end}", "", "cost", "seconds", False, "mean of 3 runs", e, note)
        )
    return found


def _new_row(spaces: list[Any], key: str, cell: Cell, where: str) -> _Row | None:
    """A row for a cell of one of the spaces, else None."""
    found = {space.name: space.find(cell) for space in spaces}
    written = {s.name: s.format(found[s.name]) for s in spaces if found[s.name] is not None}
    if written and graph_hash(cell) != key:
        raise DataError(f"{where} has a cell that does not fit its hash {key!r}")
    return _Row(written, 0) if written else None


# -- the table -------------------------------------------------------------------------------------


def _check_complete(rows: dict[str, _Row], epochs: tuple[int, ...], source: Path) -> None:
    if 108 not in epochs:
        said = " and ".join(map(str, epochs))
        raise DataError(f"{source} has trainings of {said} epochs; accepted: 108 among them")
    for key, row in rows.items():
        for e in epochs:
            count = len(row.runs.get(e, ()))
            if count != RUNS:
                raise DataError(
                    f"{source} has {count} trainings of {e} epochs for cell {key}; accepted: "
                    f"{RUNS} (the file may be cut off: download it again)"
                )


def _parquet(rows: dict[str, _Row], epochs: tuple[int, ...]) -> bytes:
    import pyarrow
    from pyarrow.parquet import write_table

    ordered = sorted(rows.items())
    columns: dict[str, Any] = {"module_hash": [key for key, _ in ordered]}
    for name in PARENTS:
        columns[name] = [row.texts.get(name) for _, row in ordered]
    columns["params"] = [row.params for _, row in ordered]
    for e in epochs:
        runs = np.array([row.runs[e] for _, row in ordered])  # [rows, runs, 3]
        for i in range(RUNS):
            columns[f"valid_error_{e}_{i}"] = 1 - runs[:, i, 0]
            columns[f"test_error_{e}_{i}"] = 1 - runs[:, i, 1]
            columns[f"seconds_{e}_{i}"] = runs[:, i, 2]
    table = pyarrow.table(columns).replace_schema_metadata({b"format": FORMAT})
    buffer = io.BytesIO()
    write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
