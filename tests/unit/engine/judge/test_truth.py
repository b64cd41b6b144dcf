"""Truth tables as spreadsheets save them: read as the plain file is, or refused by name."""

from __future__ import annotations

import codecs

import pyarrow
import pyarrow.parquet
import pytest

from morphogen import spaces
from morphogen.core import DataError
from morphogen.engine.judge.truth import file_truth

SPACE = spaces.make("nasbench-macro")
ROWS = [("00000000", "91.25"), ("11111111", "84.5"), ("00000000", "91.75")]
FIGURES = {"00000000": 91.5, "11111111": 84.5}
"""By hand: the first is the mean of its two trainings."""


def text(separator: str = ",", *, decimal: str = ".", end: str = "\n", head: str = "") -> str:
    lines = [head or separator.join(("architecture", "accuracy"))]
    lines += [separator.join((a, v.replace(".", decimal))) for a, v in ROWS]
    return end.join(lines) + end


PLAIN = text()


@pytest.mark.parametrize(
    "raw",
    [
        PLAIN.encode(),
        PLAIN.encode("utf-8-sig"),
        codecs.BOM_UTF16_LE + PLAIN.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + text("\t").encode("utf-16-be"),
        codecs.BOM_UTF32_LE + PLAIN.encode("utf-32-le"),
        text(";").encode(),
        text(";", decimal=",").encode("utf-8-sig"),
        text("\t", decimal=",").encode(),
        text(end="\r\n").encode(),
        text(end="\r").encode(),
        text(end="\n\n,\n").encode(),
        text(end=",,\n", head="architecture,accuracy").encode(),
        text(";", head="sep=;\narchitecture;accuracy").encode(),
        text(head=" Architecture , ACCURACY ").encode(),
        text(head='"architecture","accuracy"').encode(),
        PLAIN.replace("91.25", '" 91.25 "').encode(),
        PLAIN.replace("5\n", "5 %\n").encode(),
        PLAIN.replace("5\n", "5\N{NO-BREAK SPACE}%\n").encode(),
    ],
)
def test_a_table_is_read_whatever_program_saved_it(raw, tmp_path):
    (tmp_path / "t.csv").write_bytes(raw)
    truth = file_truth(tmp_path / "t.csv", SPACE)
    read = {SPACE.format(a): v for a, v in zip(truth.archs, truth.figures.tolist(), strict=True)}
    assert read == FIGURES


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (PLAIN.encode("utf-16-le"), "null bytes in it, as UTF-16 without a byte order mark"),
        (codecs.BOM_UTF16_LE + b"a\xd8", "byte 2 is no UTF-16"),
        ("architecture,accuracy\n00000000,\xe9".encode("latin-1"), "byte 31 is no UTF-8"),
        (text(",", decimal=",").encode(), "line 2 of .* has 3 cells between commas, and its first"),
        (PLAIN.replace("91.25", '"91,25"').encode(), "line 2 of .*has a comma"),
        (text(";").replace("91.25", "1.091,25").encode(), "line 2 of .*has a comma"),
        (PLAIN.replace("91.75", "91.75 %").encode(), "line 4 .*the lines before are without a per"),
        (PLAIN.replace("91.25", "").encode(), "line 2 of .*'' is no number"),
        (PLAIN.replace("91.25", "9_1.25").encode(), "line 2 of .*'9_1.25' is no number"),
        (PLAIN.replace("91.25", "1e999").encode(), "accuracy inf; accepted: a number"),
        (text(head="00000000,91.2").encode(), "has the columns 00000000, 91.2; accepted: arch"),
        (text(head="architecture,score").encode(), "has the columns architecture, score; accepted"),
        (text(head="accuracy,accuracy").encode(), "has two columns 'accuracy'"),
        (b"", "has the columns of nothing"),
        (text(":").encode(), "with commas, semicolons or tabs between them"),
        (b"architecture,accuracy\n" + b"0" * 200_000 + b",1\n", "line 2 of .*field larger than"),
    ],
)
def test_what_is_left_open_is_refused_by_line_and_reason(raw, message, tmp_path):
    (tmp_path / "t.csv").write_bytes(raw)
    with pytest.raises(DataError, match=message) as caught:
        file_truth(tmp_path / "t.csv", SPACE)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("values", "message"),
    [([91.5, None], "row 2 of .*None is no number"), ([True, False], "True is no number")],
)
def test_a_parquet_file_has_numbers_in_it(values, message, tmp_path):
    table = pyarrow.table({"architecture": ["00000000", "11111111"], "accuracy": values})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(DataError, match=message):
        file_truth(tmp_path / "t.parquet", SPACE)
