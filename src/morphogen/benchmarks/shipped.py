"""The three tables that ship with the package; `tables/SOURCES.md` says where they come from."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from morphogen import spaces
from morphogen.benchmarks.columns import exact, floats, texts
from morphogen.benchmarks.table import Benchmark, Metric
from morphogen.core import Architecture, DataError, UnknownNameError
from morphogen.spaces import nasbench1shot1 as oneshot
from morphogen.spaces.nasbench101 import prune

if TYPE_CHECKING:
    import pyarrow

TABLES = Path(__file__).with_name("tables")
"""Where the parquet files are."""


@dataclass(frozen=True)
class Source:
    """What is known of a table without reading it."""

    name: str
    """Of the benchmark, and of its space."""
    title: str
    citation: str
    file: str
    sha256: str
    metrics: tuple[Metric, ...]


def _nasbench201_metrics() -> tuple[Metric, ...]:
    half = "trained on 25,000 images, measured on the other 25,000"
    x_valid = "measured on half of the official {}"
    rows = {
        "cifar10_test_200": ("CIFAR-10", "mean of 1 to 3 runs", "trained on all 50,000 images"),
        "cifar100_test_200": ("CIFAR-100", "mean of 1 to 3 runs", x_valid.format("test set")),
        "imagenet16_120_test_200": (
            "ImageNet16-120",
            "mean of 1 to 3 runs",
            x_valid.format("validation set"),
        ),
        "cifar10_valid_12": ("CIFAR-10", "mean of 2 runs", half),
        "cifar10_test_12": ("CIFAR-10", "one run", "trained on all 50,000 images"),
        "cifar100_valid_12": ("CIFAR-100", "one run", x_valid.format("test set")),
        "cifar100_test_12": ("CIFAR-100", "one run", x_valid.format("test set") + ", the other"),
        "imagenet16_120_valid_12": ("ImageNet16-120", "one run", x_valid.format("validation set")),
        "imagenet16_120_test_12": (
            "ImageNet16-120",
            "one run",
            x_valid.format("validation set") + ", the other",
        ),
    }
    return tuple(
        Metric(
            name,
            data,
            "valid" if "_valid_" in name else "test",
            "accuracy in %",
            True,
            seeds,
            int(name.rsplit("_", 1)[1]),
            note,
        )
        for name, (data, seeds, note) in rows.items()
    )


NASBENCH201 = Source(
    "nasbench201",
    "NAS-Bench-201",
    'X. Dong and Y. Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture '
    'Search", ICLR 2020, arXiv 2001.00326',
    "nasbench201.parquet",
    "7227edb6da32ab3fb726f31a8fb8c21514d9acaca210bf457238c37918359474",
    _nasbench201_metrics(),
)

MACRO = Source(
    "nasbench-macro",
    "NAS-Bench-Macro",
    'X. Su et al., "Prioritized Architecture Sampling with Monte-Carlo Tree Search", CVPR 2021, '
    "arXiv 2103.11922",
    "nasbench_macro.parquet",
    "a49eab2d0ec4d69f64a144eebf10285489988684032cf04c095b24a1084b4cf6",
    (
        Metric("test_acc", "CIFAR-10", "test", "accuracy in %", True, "mean of 3 runs"),
        Metric("params", "", "cost", "parameters", False, "exact"),
        Metric(
            "flops", "", "cost", "multiply-adds", False, "exact", note="convolutions and linear"
        ),
    ),
)

ONESHOT = Source(
    "nasbench1shot1-s2",
    "NAS-Bench-1Shot1, search space 2",
    'A. Zela, J. Siems and F. Hutter, "NAS-Bench-1Shot1: Benchmarking and Dissecting One-shot '
    'Neural Architecture Search", ICLR 2020, arXiv 2001.10422; figures of C. Ying et al., '
    '"NAS-Bench-101", ICML 2019, arXiv 1902.09635',
    "nasbench1shot1_s2.parquet",
    "fdb85557da737c4de3fede30f4da9cf9afc6f007d510398fc615fcd073980d3d",
    tuple(
        Metric(
            f"{split}_error",
            "CIFAR-10",
            split,
            "error as a fraction",
            False,
            "mean of 3 runs",
            108,
            "trained on 40,000 images",
        )
        for split in ("valid", "test")
    ),
)

SOURCES: Mapping[str, Source] = {s.name: s for s in (NASBENCH201, MACRO, ONESHOT)}
NAMES: tuple[str, ...] = tuple(SOURCES)
"""The shipped benchmarks, each called as its space."""


def describe(name: str) -> Source:
    """Title, citation and metrics of a shipped benchmark; reads no table."""
    if name not in SOURCES:
        raise UnknownNameError("benchmark", name, SOURCES)
    return SOURCES[name]


@cache
def load(name: str) -> Benchmark:
    """The shipped benchmark `name`; read once per process.

    Raises:
        UnknownNameError: there is no such benchmark.
        DataError: its file is missing or not the one that was shipped.
    """
    return READERS[describe(name).name]()


def _nasbench201() -> Benchmark:
    source = NASBENCH201
    table = _read(source)
    columns = {}
    for metric in source.metrics:
        # The file has float32 percentages of so many images, averaged over one, two or three runs:
        # back to the exact fraction, so that equal accuracies are equal numbers.
        images = {"CIFAR-100": 5_000, "ImageNet16-120": 3_000}.get(
            metric.data, 25_000 if metric.split == "valid" else 10_000
        )
        columns[metric.name] = exact(floats(table, metric.name), images * 6 / 100)
    return _benchmark(source, texts(table, "arch"), columns, indexed=True)


def _macro() -> Benchmark:
    source = MACRO
    table = _read(source)
    accuracy = np.stack([floats(table, f"test_acc_{i}") for i in range(3)], axis=1)
    columns = {
        "test_acc": exact(accuracy, 10_000 / 100),
        "params": floats(table, "params"),
        "flops": floats(table, "flops"),
    }
    return _benchmark(source, texts(table, "arch"), columns)


def _oneshot() -> Benchmark:
    source = ONESHOT
    space = oneshot.s2()
    table = _read(source)
    columns = {}
    for metric in source.metrics:
        runs = np.stack([floats(table, f"{metric.name}_{i}") for i in range(3)], axis=1)
        # 9,984 images: 39 batches of 256, of 10,000.
        columns[metric.name] = exact(runs, 9_984)
    operations = zip(*(texts(table, f"node{n}") for n in range(1, 6)), strict=True)
    cells: dict[str, tuple[Matrix, tuple[str, ...]]] = {}
    for flat, nodes in zip(texts(table, "adjacency"), operations, strict=True):
        labels = ("input", *nodes, "output")
        cells[_cell_key(flat, (labels[i] for i in _live(flat)))] = _matrix(flat), labels

    def keys_of(arch: Architecture) -> tuple[str]:
        # The numbered cell is enough: none of the 65 tabled graphs has a second numbering, so no
        # other cell of the space is isomorphic to a tabled one (a test goes through all of them).
        arch = space.check(arch)
        adjacency, _ = oneshot.to_nasbench101(arch)
        return (_cell_key("".join(map(str, adjacency.ravel().tolist())), oneshot.cell_of(arch)[1]),)

    return _benchmark(
        source,
        list(cells),
        columns,
        keys_of=keys_of,
        read_key=lambda key: space.from_nasbench101(*cells[key]),
    )


Matrix = tuple[tuple[int, ...], ...]


def _cell_key(flat: str, operations: Iterable[str]) -> str:
    """What identifies a row: the edges between numbered nodes, the operations of those in use."""
    return f"{flat}:{','.join(operations)}"


@cache
def _matrix(flat: str) -> Matrix:
    """Seven rows from 49 characters of 0 and 1."""
    return tuple(tuple(map(int, flat[i : i + 7])) for i in range(0, 49, 7))


@cache
def _live(flat: str) -> tuple[int, ...]:
    """The vertices between input and output on a path from one to the other."""
    return tuple(map(int, prune(_matrix(flat), [str(i) for i in range(7)])[1]))


READERS: Mapping[str, Callable[[], Benchmark]] = {
    "nasbench201": _nasbench201,
    "nasbench-macro": _macro,
    "nasbench1shot1-s2": _oneshot,
}


def _read(source: Source) -> pyarrow.Table:
    """The file as a table; a `DataError` if it is missing or changed."""
    path = TABLES / source.file
    remedy = "reinstall morphogen to get it back"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"the table of benchmark {source.name!r} cannot be read: {path}: "
            f"{error.strerror or error}; {remedy}"
        ) from error
    if hashlib.sha256(content).hexdigest() != source.sha256:
        raise DataError(
            f"the table of benchmark {source.name!r} is corrupt: {path} has not the checksum of "
            f"the shipped file; {remedy}"
        )
    # Imported here, and no more of it: the whole of pyarrow takes longer than the query.
    from pyarrow.parquet import ParquetFile

    return ParquetFile(io.BytesIO(content)).read(use_threads=False)


def _benchmark(
    source: Source,
    keys: list[str],
    columns: Mapping[str, NDArray[np.float64]],
    *,
    keys_of: Callable[[Architecture], Iterable[str]] | None = None,
    read_key: Callable[[str], Architecture] | None = None,
    indexed: bool = False,
) -> Benchmark:
    return Benchmark(
        source.name,
        spaces.make(source.name),
        source.citation,
        source.metrics,
        keys,
        columns,
        keys_of=keys_of,
        read_key=read_key,
        indexed=indexed,
    )
