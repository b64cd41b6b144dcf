"""The record of a black-box search: nothing lost, nothing twice, readable by any SQLite program."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from morphogen.core import CheckpointError, RunError
from morphogen.runs import store as stores
from morphogen.runs.store import Evaluation, Store, cost, rows


def evaluation(number: int, score: float | None = 1.5, **changes) -> Evaluation:
    values = {
        "number": number,
        "architecture": f"cell {number}",
        "objectives": None if score is None else {"accuracy": score, "params": 10.0},
        "score": score,
        "error": "it died" if score is None else "",
        "attempts": 1,
        "seconds": 0.001,
        "cpu_seconds": 0.002,
        "worker": "local",
        **changes,
    }
    return Evaluation(**values)


def test_what_was_added_is_there_when_it_is_opened_again(tmp_path):
    file = tmp_path / stores.FILE
    added = [evaluation(1), evaluation(2, None), evaluation(3, 0.1 + 0.2)]
    with Store(file) as store:
        for e in added:
            store.add(e)
    with Store(file) as again:
        assert list(again.known.values()) == added  # floats to the last bit
        assert again.find(3, "cell 3") == added[2]
        assert again.find(4, "cell 4") is None


def test_rows_are_in_the_order_of_asking_with_the_best_so_far(tmp_path):
    file = tmp_path / stores.FILE
    with Store(file) as store:
        for number, score in ((2, 7.0), (4, 7.0), (1, None), (3, -1.0), (5, 9.0)):
            store.add(evaluation(number, score))
    found = rows(file)
    assert [r["epoch"] for r in found] == [1, 2, 3, 4, 5]
    assert "architecture" not in found[0]
    assert found[0]["failed"] == "it died"
    assert "score" not in found[0]
    best = [r["architecture"] for r in found[1:]]
    assert best == ["cell 2", "cell 2", "cell 2", "cell 5"]
    assert found[4]["score"] == 9.0
    assert found[4]["params"] == 10.0


def test_any_sqlite_program_reads_it_while_the_search_goes_on(tmp_path):
    file = tmp_path / stores.FILE
    with Store(file) as store:
        store.add(evaluation(1, seconds=2.0))
        with closing(sqlite3.connect(file)) as other:
            (row,) = other.execute("SELECT architecture, status, objectives FROM evaluations")
        assert row[:2] == ("cell 1", "done")
        assert json.loads(row[2]) == {"accuracy": 1.5, "params": 10.0}
        assert len(rows(file)) == 1
    assert [p.name for p in tmp_path.iterdir()] == [stores.FILE]  # one plain file


def test_no_architecture_and_no_number_is_counted_twice(tmp_path):
    with Store(tmp_path / stores.FILE) as store:
        store.add(evaluation(1))
        for twice in (evaluation(2, architecture="cell 1"), evaluation(1, architecture="other")):
            with pytest.raises(RunError, match="UNIQUE constraint failed"):
                store.add(twice)
    assert len(rows(tmp_path / stores.FILE)) == 1


def test_another_searchs_record_is_noticed(tmp_path):
    with Store(tmp_path / stores.FILE) as store:
        store.add(evaluation(1))
        for number, text in ((2, "cell 1"), (1, "cell 7")):
            with pytest.raises(CheckpointError, match=f"number {number} is not the one"):
                store.find(number, text)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_store import evaluation
from morphogen.runs.store import Store
store = Store(Path(sys.argv[1]))
for number in range(1, 6):
    store.add(evaluation(number, seconds=0.06))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_evaluation_that_took_time_is_there_after_kill_9(tmp_path):
    file = tmp_path / stores.FILE
    words = [sys.executable, "-c", KILLED, str(file), os.path.dirname(__file__)]
    assert subprocess.run(words).returncode == -signal.SIGKILL
    assert [r["epoch"] for r in rows(file)] == [1, 2, 3, 4, 5]
    with Store(file) as store:
        store.add(evaluation(6))
    assert len(rows(file)) == 6


def test_cheap_evaluations_do_not_wait_for_the_disk(tmp_path, monkeypatch):
    commits = []
    monkeypatch.setattr(
        Store, "commit", lambda self, do=Store.commit: (commits.append(1), do(self))
    )
    with Store(tmp_path / stores.FILE) as store:
        for number in range(1, 2001):
            store.add(evaluation(number))
        cheap = len(commits)
        for number in range(2001, 2011):
            store.add(evaluation(number, seconds=0.06))
    assert cheap < 200
    assert len(commits) - cheap >= 10
    assert len(rows(tmp_path / stores.FILE)) == 2010


def test_costs_add_up_over_sessions(tmp_path):
    file = tmp_path / stores.FILE
    for number in (1, 2):
        with Store(file) as store:
            time.sleep(0.01)
            store.add(evaluation(number, worker="process 7", cpu_seconds=3.0))
    found = cost(file)
    assert found["cpu_seconds"] >= 6.0  # the workers' and the search's own
    assert 0.02 <= found["seconds"] < 60
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT count(*) FROM sessions").fetchone() == (2,)


@pytest.mark.parametrize("raw", [b"x" * 5000, b"SQLite format 3\x00" + b"\xff" * 4000])
def test_a_file_that_is_no_database_is_named(tmp_path, raw):
    file = tmp_path / stores.FILE
    file.write_bytes(raw)
    for use in (rows, Store):
        with pytest.raises((CheckpointError, RunError)) as caught:
            use(file)
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert file.read_bytes() == raw


def test_a_helping_process_reads_and_only_remembers(tmp_path):
    file = tmp_path / stores.FILE
    with Store(file) as store:
        store.add(evaluation(1))
    with Store(file, writes=False) as helper:
        assert helper.find(1, "cell 1") == evaluation(1)
        helper.add(evaluation(2))
        assert helper.find(2, "cell 2") == evaluation(2)
    assert len(rows(file)) == 1
    assert Store(tmp_path / "none.sqlite", writes=False).known == {}
    assert not (tmp_path / "none.sqlite").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE evaluations SET score = 'high'", "row 1 of .* has score 'high'; accepted: a numb"),
        ("UPDATE evaluations SET score = 9e999", "has score inf; accepted: a finite number"),
        ("UPDATE evaluations SET score = 99.0", "accepted: a score that is one of the objectives"),
        ("UPDATE evaluations SET score = NULL", "accepted: a score that is one of the objectives"),
        ("UPDATE evaluations SET objectives = NULL", "accepted: a score that is one of the obj"),
        ("UPDATE evaluations SET objectives = '{\"accuracy\": NaN}'", "is damaged: expected value"),
        ("UPDATE evaluations SET objectives = '[1.5]'", "has objectives .*accepted: a mapping"),
        ("UPDATE evaluations SET objectives = x'00ff'", "has objectives .*accepted: a mapping"),
        ("UPDATE evaluations SET architecture = x'00ff'", "has architecture .*accepted: a text"),
        ("UPDATE evaluations SET number = -1", "has number -1; accepted: greater than"),
        ("UPDATE evaluations SET attempts = 1.5", "has attempts 1.5; accepted: a whole number"),
        ("UPDATE evaluations SET seconds = -1", "has seconds -1.0; accepted: greater than"),
        ("UPDATE evaluations SET budget = 2", "has budget 2.0; accepted: less than or equal to 1"),
        ("UPDATE evaluations SET trace = '[[1e999]]'", "has trace.0.0 inf; accepted: a finite"),
        ("UPDATE evaluations SET error = zeroblob(67108865)", "too big"),
        ("ALTER TABLE evaluations ADD more TEXT", "has other tables than a search makes"),
        ("CREATE TABLE more (a)", "has other tables than a search makes"),
        (
            "CREATE TRIGGER t AFTER INSERT ON evaluations BEGIN DELETE FROM sessions; END",
            "has other tables than a search makes",
        ),
        (
            "DROP TABLE evaluations; CREATE VIEW evaluations AS WITH RECURSIVE n(i) AS "
            "(SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",  # without end
            "has other tables than a search makes",
        ),
    ],
)
def test_a_record_that_was_edited_is_refused_by_row_and_field(change, said, tmp_path):
    file = tmp_path / stores.FILE
    with Store(file) as store:
        store.add(evaluation(1))
    with closing(sqlite3.connect(file)) as database, database:
        database.executescript(change)
    for use in (rows, Store):
        with pytest.raises(RunError, match=said) as caught:
            use(file)
        assert stores.FILE in str(caught.value)
        assert "\n" not in str(caught.value)


def test_what_is_no_file_is_named_and_not_waited_for(tmp_path):
    file = tmp_path / stores.FILE
    os.mkfifo(file)
    for use in (rows, Store):
        with pytest.raises(RunError, match="a named pipe, not a file"):
            use(file)
