"""The public files of NAS-Bench-101, as an independent writer makes them, and what is made of them.

The writer is Google's: protocol buffers by `protobuf`, checksums by `google-crc32c`. Cells and
figures are those of the shipped table.
"""

from __future__ import annotations

import base64
import json
import os
import struct
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from morphogen import benchmarks, spaces
from morphogen.benchmarks import nasbench101
from morphogen.benchmarks.nasbench101_record import wire_fields
from morphogen.benchmarks.tfrecord import masked_checksums, records
from morphogen.cli import main
from morphogen.core import (
    Architecture,
    ArchitectureError,
    ConfigError,
    DataError,
    MorphogenError,
)
from morphogen.core.rng import numpy_stream
from morphogen.engine.judge.trials import Trial, run_trial
from morphogen.methods.random import RandomSearchConfig
from morphogen.runs.directory import RunDirectory
from morphogen.spaces.nasbench1shot1 import PARENTS, cell_of
from morphogen.spaces.nasbench101 import Cell, graph_hash

S1, S2, S3 = (spaces.make(name) for name in PARENTS)
SHIPPED = benchmarks.load("nasbench1shot1-s2")
CHAIN: Cell = (((0, 1, 0), (0, 0, 1), (0, 0, 0)), ("maxpool3x3",))
"""A cell of NAS-Bench-101 that none of the three spaces has."""


def messages() -> Any:
    """Class of `ModelMetrics`, as model_metrics.proto declares it."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="metrics.proto", package="nasbench")
    file.syntax = "proto2"
    model, evaluation = file.message_type.add(), file.message_type.add()
    model.name, evaluation.name = "ModelMetrics", "EvaluationData"
    model.field.add(
        name="evaluation_data",
        number=1,
        label=kinds.LABEL_REPEATED,
        type=kinds.TYPE_MESSAGE,
        type_name=".nasbench.EvaluationData",
    )
    for number, (name, kind) in enumerate(
        (("trainable_parameters", kinds.TYPE_INT32), ("total_time", kinds.TYPE_DOUBLE)), start=2
    ):
        model.field.add(name=name, number=number, label=kinds.LABEL_OPTIONAL, type=kind)
    names = ("current_epoch", "training_time", "train_accuracy")
    names += ("validation_accuracy", "test_accuracy")
    for number, name in enumerate(names, start=1):
        evaluation.field.add(
            name=name, number=number, label=kinds.LABEL_OPTIONAL, type=kinds.TYPE_DOUBLE
        )
    evaluation.field.add(
        name="checkpoint_path", number=6, label=kinds.LABEL_OPTIONAL, type=kinds.TYPE_STRING
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("nasbench.ModelMetrics"))


ModelMetrics = messages()


def record(
    cell: Cell, epochs: int, valid: float, test: float, *, params: int = 1_000, seconds: float = 9.0
) -> list[Any]:
    """A training of a cell, as the authors' file has it."""
    metrics = ModelMetrics(trainable_parameters=params, total_time=2 * seconds)
    for share in (0.0, 0.5, 1.0):
        metrics.evaluation_data.add(
            current_epoch=epochs * share,
            training_time=seconds * share,
            train_accuracy=1.0,
            validation_accuracy=valid if share == 1 else 0.1,
            test_accuracy=test if share == 1 else 0.1,
            checkpoint_path="model.ckpt",
        )
    rows, operations = cell
    return [
        graph_hash(cell),
        epochs,
        "".join(str(bit) for row in rows for bit in row),
        ",".join(["input", *operations, "output"]),
        base64.b64encode(metrics.SerializeToString()).decode(),
    ]


def masked(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def framed(content: Iterable[Any]) -> bytes:
    """A TFRecord file of JSON texts."""
    out = b""
    for part in content:
        data = json.dumps(part).encode()
        length = struct.pack("<Q", len(data))
        out += length + masked(length) + data + masked(data)
    return out


def some_cells() -> dict[str, tuple[Cell, int]]:
    """Hash -> a cell of the shipped table and its row; each cell once."""
    found: dict[str, tuple[Cell, int]] = {}
    for row in range(0, len(SHIPPED), 97):
        cell = cell_of(SHIPPED.architecture(row))
        found.setdefault(graph_hash(cell), (cell, row))
    return found


CELLS = some_cells()
LARGER = cell_of(S3.sample(np.random.default_rng(1)))


def trainings() -> list[list[Any]]:
    """Three trainings of each cell after 108 and after 4 epochs, in an order of chance."""
    out = []
    for run in range(3):
        for cell, row in CELLS.values():
            valid, test = (1 - SHIPPED.runs(f"{s}_error")[row, run] for s in ("valid", "test"))
            # The authors' figures are means of float32.
            valid, test = float(np.float32(valid)), float(np.float32(test))
            out.append(record(cell, 108, valid, test, params=1_000 + row, seconds=900.0 + run))
            out.append(record(cell, 4, 0.5 + run / 9_984, 0.4))
        for other in (CHAIN, LARGER):
            out += [record(other, epochs, 0.9, 0.8) for epochs in (4, 108)]
    return out


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nasbench101")
    source, target = folder / "full.tfrecord", folder / "table.parquet"
    source.write_bytes(framed(trainings()))
    found = nasbench101.convert(source, target)
    assert found.records == 6 * (len(CELLS) + 2)
    assert found.cells == len(CELLS) + 2
    assert found.kept["nasbench1shot1-s2"] == len(CELLS)
    assert found.kept["nasbench1shot1-s3"] >= 1
    assert found.epochs == (4, 108)
    return target


# -- what is read --------------------------------------------------------------------------------


def test_figures_are_those_of_the_shipped_table(table: Path) -> None:
    ours = nasbench101.load(table, S2)
    assert len(ours) == len(CELLS)
    for _, row in CELLS.values():
        arch = SHIPPED.architecture(row)
        known, theirs = ours.query(arch), SHIPPED.query(arch)
        for metric in ("valid_error", "test_error"):
            assert known[metric] == theirs[metric]
            assert known.runs[metric] == theirs.runs[metric]
        assert known["params"] == 1_000 + row
        assert known["seconds"] == 901
        assert known["valid_error_4"] == pytest.approx(0.5 - 1 / 9_984)
        # What the table calls this cell is an architecture of it.
        assert graph_hash(cell_of(ours.architecture(ours.index(arch)))) in CELLS
    assert [m.name for m in ours.metrics.values() if not m.for_search] == [
        "test_error",
        "test_error_4",
    ]


def test_every_architecture_of_a_cell_is_found_and_no_other(table: Path) -> None:
    for space in (S1, S2, S3):
        if not any(space.find(cell) for cell, _ in CELLS.values()):
            continue
        ours = nasbench101.load(table, space)
        rng = np.random.default_rng(0)
        for arch in (space.sample(rng) for _ in range(300)):
            key = graph_hash(cell_of(arch))
            assert (arch in ours) == (key in CELLS or key == graph_hash(LARGER))
    outside = next(a for a in S2.enumerate() if graph_hash(cell_of(a)) not in CELLS)
    with pytest.raises(ArchitectureError, match="is not among the"):
        nasbench101.load(table, S2).query(outside)


def test_larger_cells_belong_to_space_3(table: Path) -> None:
    ours = nasbench101.load(table, S3)
    arch = S3.find(LARGER)
    assert arch is not None
    assert ours.query(arch)["test_error"] == pytest.approx(0.2, abs=1e-4)


def test_regret_is_the_mean_of_three_minus_the_authors_minimum(table: Path) -> None:
    ours = nasbench101.load(table, S2)
    for _, row in list(CELLS.values())[:5]:
        arch = SHIPPED.architecture(row)
        for split, least in (("valid", 0.051582515239715576), ("test", 0.057592153549194336)):
            expected = SHIPPED.runs(f"{split}_error")[row].mean() - least
            assert nasbench101.authors_regret(ours, arch, split) == pytest.approx(expected)


# -- checksums and messages ------------------------------------------------------------------------


def test_checksums_are_those_of_googles_library() -> None:
    rng = np.random.default_rng(0)
    blocks = [rng.bytes(int(n)) for n in [0, 1, 2, 8, *rng.integers(0, 900, 60)]]
    assert [int(c).to_bytes(4, "little") for c in masked_checksums(blocks)] == [
        masked(b) for b in blocks
    ]


def test_records_of_several_batches_are_read(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("morphogen.benchmarks.tfrecord.BATCH", 3)
    file = tmp_path / "few"
    file.write_bytes(framed(["x" * n for n in range(8)]))
    assert [json.loads(r) for r in records(file)] == ["x" * n for n in range(8)]


def test_wire_format_of_protocol_buffers() -> None:
    metrics = ModelMetrics(trainable_parameters=8_555_530, total_time=0.1)
    metrics.evaluation_data.add(current_epoch=108.0, checkpoint_path="päth")
    fields = dict(wire_fields(metrics.SerializeToString()))
    assert fields[2] == 8_555_530
    assert fields[3] == 0.1
    assert dict(wire_fields(fields[1])) == {1: 108.0, 6: "päth".encode()}
    # A negative number has ten bytes; fixed 32 bits are a float.
    assert dict(wire_fields(ModelMetrics(trainable_parameters=-1).SerializeToString())) == {
        2: 2**64 - 1
    }
    assert dict(wire_fields(b"\x0d" + struct.pack("<f", 0.5))) == {1: 0.5}
    for broken in (b"\x08", b"\x0a\x05abc", b"\x0b", b"\x08" + b"\xff" * 11, b"\x09abc"):
        with pytest.raises(ValueError, match=r"cut off|wire type|ten bytes"):
            list(wire_fields(broken))


# -- what is refused -------------------------------------------------------------------------------

GOOD = framed(trainings()[:9])
FIRST = next(iter(CELLS.values()))[0]


def changed(**parts: Any) -> bytes:
    """One record with other parts."""
    names = ("key", "epochs", "adjacency", "operations", "message")
    whole = dict(zip(names, record(FIRST, 108, 0.9, 0.9), strict=True))
    return framed([list((whole | parts).values())])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD[:-1], "record 9 of {file} is cut off: download the file again"),
        (GOOD[:5], "record 1 of {file} is cut off: download the file again"),
        (
            GOOD[:40] + bytes([GOOD[40] ^ 1]) + GOOD[41:],
            "record 1 of {file} has not the checksum that stands with it: download the file again",
        ),
        (
            b"hash,valid,test\nabc,1,2\n",
            "record 1 of {file} does not begin as a TFRecord does; accepted: a TFRecord file that "
            "is whole (download it again)",
        ),
        (b"", "{file} has no cell of NAS-Bench-1Shot1 in its 0 records"),
        (framed([record(CHAIN, 108, 0.9, 0.9)]), "{file} has no cell of NAS-Bench-1Shot1 in its 1"),
        (
            framed([{"a": 1}]),
            "record 1 of {file} is none of NAS-Bench-101; accepted: nasbench_only",
        ),
        (changed(epochs="108"), "record 1 of {file} is none of NAS-Bench-101; accepted: "),
        (changed(adjacency="012"), "record 1 of {file} is none of NAS-Bench-101; accepted: "),
        (changed(operations="input,x,output"), "record 1 of {file} is none of NAS-Bench-101"),
        (changed(key="0" * 32), "record 1 of {file} has a cell that does not fit its hash '000"),
        (changed(message="!"), "record 1 of {file} has no measurements that can be read"),
        (changed(message="CAE="), "record 1 of {file} has no measurements that can be read"),
        (
            framed([record(FIRST, 108, 1.5, 0.9)]),
            "record 1 of {file} has accuracies 1.5 and 0.9; accepted: fractions from 0 to 1",
        ),
        (
            framed([record(FIRST, 108, 0.9, 0.9)] * 2),
            "{file} has 2 trainings of 108 epochs for cell ",
        ),
        (framed([record(FIRST, 4, 0.9, 0.9)] * 3), "{file} has trainings of 4 epochs; accepted: 1"),
    ],
)
def test_damaged_files_are_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    file, target = tmp_path / "file", tmp_path / "out.parquet"
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        nasbench101.convert(file, target)
    assert str(caught.value).startswith(message.format(file=file))
    assert "\n" not in str(caught.value)
    assert not target.exists()


def test_a_length_of_terabytes_is_not_read(tmp_path: Path) -> None:
    length = struct.pack("<Q", 1 << 40)
    (tmp_path / "file").write_bytes(length + masked(length))
    with pytest.raises(DataError, match="does not begin as a TFRecord does"):
        list(records(tmp_path / "file"))


@pytest.mark.parametrize(
    "make", [lambda p: p.write_bytes(b"PAR1no"), lambda p: None, Path.mkdir, os.mkfifo]
)
def test_other_files_are_no_table(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "file")
    with pytest.raises(DataError, match=r"is no table of NAS-Bench-101|cannot read"):
        nasbench101.load(tmp_path / "file", S1)


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"module_hash": ["a"]},
        {"module_hash": ["a"], S1.name: ["x"], "params": ["many"]},
        {"module_hash": ["a"], S1.name: ["x"], "params": [1], "valid_error_108_0": [0.1]},
        {"module_hash": ["a"], S1.name: ["x"], "params": [None], "valid_error_x_0": [0.1]},
    ],
)
def test_an_edited_table_is_one_sentence(columns: dict[str, Any], tmp_path: Path) -> None:
    table = pa.table(columns).replace_schema_metadata({b"format": nasbench101.FORMAT})
    pq.write_table(table, tmp_path / "file")
    with pytest.raises(DataError, match=r"file is no table of NAS-Bench-101; accepted: a file"):
        nasbench101.load(tmp_path / "file", S1)


def test_parquet_of_something_else_is_no_table() -> None:
    path = benchmarks.shipped.TABLES / "nasbench_macro.parquet"
    with pytest.raises(DataError, match=r"is no table of NAS-Bench-101; accepted: a file written"):
        nasbench101.load(path, S1)


def test_a_table_is_not_written_over(table: Path) -> None:
    with pytest.raises(ConfigError, match="exists already"):
        nasbench101.convert(table, table)


# -- the command line ------------------------------------------------------------------------------


def test_import_and_query(tmp_path: Path, capsys: Any) -> None:
    source, target = tmp_path / "only108.tfrecord", tmp_path / "table.parquet"
    source.write_bytes(framed(trainings()))
    assert main(["import-nasbench101", str(source), "--to", str(target)]) == 0
    text = capsys.readouterr().out
    assert f"{len(CELLS) + 2} cells, after 4, 108 epochs" in text
    assert "the public ones have 423,624" in text
    arch = SHIPPED.space.format(SHIPPED.architecture(97))
    assert main(["query", "nasbench1shot1-s2", arch, "--table", str(target), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["metrics"]["test_error"]["value"] == SHIPPED.query(arch)["test_error"]
    regret = found["metrics"]["test_error"]["value"] - 0.057592153549194336
    assert found["authors_regret"]["test"] == pytest.approx(regret)
    assert main(["query", "nasbench1shot1-s2", arch, "--table", str(target)]) == 0
    text = capsys.readouterr().out
    assert "NAS-Bench-1Shot1, search space 2: |" in text
    assert f"valid {found['authors_regret']['valid']:.5f}" in text


def test_searches_comparisons_and_rankings_read_it(
    table: Path, tmp_path: Path, capsys: Any
) -> None:
    name, held = "nasbench1shot1-s2", benchmarks.of(S2, str(table))
    assert held is not None

    def first(seed: int) -> Architecture:
        return S2.sample(numpy_stream(seed, "search"))

    seed = next(s for s in range(10_000) if first(s) in held)  # the file holds few of all cells
    words = ["search", "random", "--space", name, "--evaluator", "table", "--table", str(table)]
    words += ["--metric", "valid_error_4", "--evaluations", "1", "--seed", str(seed)]
    assert main([*words, "--run", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["architecture"] == S2.format(first(seed))
    (row,) = RunDirectory(tmp_path / "run").metrics()
    assert row["score"] == -held.query(first(seed))["valid_error_4"]
    assert row["score"] != -SHIPPED.query(first(seed))["valid_error"]

    trial = Trial("random", RandomSearchConfig(), name, "", seed, 1, table=str(table))
    assert held.index(first(seed)) == run_trial(trial).rows[0]
    assert replace(trial, table="").key != trial.key

    words = ["rank", "--column", "valid_error", "--metric", "test_error", "--space", name]
    assert main([*words, "--table", str(table), "--bootstrap", "20", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == len(held)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("query nasbench1shot1-s1 x", "or --table FILE (`morphogen import-nasbench101 --help`)"),
        ("query nasbench201 x --table y", "is for NAS-Bench-1Shot1, not space 'nasbench201'"),
        (f"query nasbench1shot1-s2 {S2.format(S2.enumerate()[0])} --table no", "cannot read no: "),
        ("search random --table y", "table is y, and evaluator 'training' reads none"),
        ("compare random --table y", "is for NAS-Bench-1Shot1, not space 'nasbench201'"),
        ("rank --column cifar10_valid_12 --table y", "is for NAS-Bench-1Shot1, not space"),
        ("import-nasbench101 no", "cannot read no: No such file"),
    ],
)
def test_mistakes_are_one_sentence(words: str, message: str, capsys: Any) -> None:
    assert main(words.split()) == MorphogenError.exit_code
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
