"""The run directory: made once, read back exactly, never half written."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

import run_directories as made
from morphogen.core import RunError
from morphogen.core.files import write_anew
from morphogen.runs.directory import RunDirectory

RESULT = {
    "architecture": "x",
    "method": "darts",
    "space": "nasbench201",
    "seed": 0,
    "epochs": 2,
    "remarks": [],
    "split": "search data only",
    "cost": {"seconds": 1.5, "cpu_seconds": 2},
}


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    path = tmp_path / "a" / "run"
    path.mkdir(parents=True)
    return RunDirectory(path)


def claimed(path: Path | None) -> ExitStack:
    """A claim that is held until it is closed."""
    stack = ExitStack()
    stack.enter_context(RunDirectory.claimed(path, "darts-own"))
    return stack


def test_a_new_directory_is_empty_and_an_empty_one_is_taken(run, tmp_path):
    for path in (tmp_path / "new" / "run", run.path):
        with RunDirectory.claimed(path, "label") as got:
            assert list(got.path.iterdir()) == []
            got.begin(made.config("darts"))
        assert RunDirectory.open(path).config() == made.config("darts")


def test_without_a_path_the_name_is_made_and_never_taken_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        runs = [stack.enter_context(RunDirectory.claimed(None, "darts-own")) for _ in range(4)]
        assert len({r.path for r in runs}) == 4
        assert all(r.path.parent.name == "runs" for r in runs)
        assert all(r.path.name.startswith("darts-own-2") for r in runs)


def test_a_directory_has_one_owner_from_before_anything_is_in_it(tmp_path):
    with RunDirectory.claimed(tmp_path / "run", "") as first:
        with pytest.raises(RunError, match="another process works on"):
            claimed(tmp_path / "run")
        first.begin(made.config())
        with pytest.raises(RunError, match="holds a run already"):
            claimed(tmp_path / "run")
    assert first.config() == made.config()


def test_what_is_claimed_and_not_begun_is_as_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "mine"
    mine.mkdir()
    claimed(mine).close()
    assert mine.is_dir()
    claimed(mine / "deep" / "er").close()
    assert list(mine.iterdir()) == []
    with claimed(None), claimed(None):
        assert len(list((tmp_path / "runs").iterdir())) == 2
    assert not (tmp_path / "runs").exists()
    with RunDirectory.claimed(mine / "from", "") as run:
        run.start_file.write_bytes(b"weights")
    assert list(mine.iterdir()) == []


def test_a_directory_that_vanishes_under_a_claim_is_made_again(run, monkeypatch):
    """Its maker was refused and removes it, between our look at it and our lock."""
    real = os.open

    def late(path, *args, **kwargs):
        handle = real(path, *args, **kwargs)
        if path == run.path and not gone:
            gone.append(run.path.rmdir())
        return handle

    gone: list[None] = []
    monkeypatch.setattr(os, "open", late)
    with RunDirectory.claimed(run.path, "") as got:
        got.begin(made.config())
    assert gone
    assert RunDirectory.open(run.path).config() == made.config()


def test_what_is_written_is_read_back(run):
    settings = {"seed": 0, "hardware": {"accelerator": "cpu", "devices": 1}}
    settings |= {"lr": 5e-5, "big": 1e30, "n": 3, "on": True, "s": "", "evaluation": {}}
    config = made.config("darts") | {"settings": settings}
    run.write_config(config)
    assert run.config() == config
    rows = [{"epoch": 1, "loss": 0.1 + 0.2}, {"epoch": 2, "loss": 1e-300, "none": None}]
    for row in rows:
        run.append(row)
    assert run.metrics() == rows
    run.keep(rows[:1])
    assert run.metrics() == rows[:1]
    run.append(rows[1])
    assert run.metrics() == rows
    assert run.result() is None
    run.write_result(RESULT)
    assert run.result() == RESULT
    assert RunDirectory.open(run.path).metrics() == rows


@pytest.mark.parametrize(
    ("tail", "whole"),
    [
        (b'{"epoch": 3', 2),
        (b'{"epoch": 3}', 3),
        (b'7\n{"epoch": 3}\n', 2),
        (b"\xff\n", 2),
        (b'\n{"epoch": 3}\n', 2),
        ('{"epoch": 3, "architecture": "a\u2028b"}\n'.encode(), 3),
    ],
)
def test_metrics_are_read_up_to_the_first_line_that_is_not_whole(run, tail, whole):
    text = b'{"epoch": 1}\n{"epoch": 2}\n'
    run.metrics_file.write_bytes(text + tail)
    assert [row["epoch"] for row in run.metrics()] == [1, 2, 3][:whole]


def test_a_damaged_result_counts_as_none(run):
    for raw in (b"", b"{", b"[1]", b"\xff"):
        run.result_file.write_bytes(raw)
        assert run.result() is None


def test_a_file_that_cannot_be_replaced_stays_as_it_was(run, monkeypatch):
    run.write_result(RESULT)

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match=r"^cannot write .*result\.json: No space left on device; "):
        run.write_result(RESULT | {"seed": 1})
    with pytest.raises(RunError, match=r"metrics\.jsonl: No space left"):
        run.append({"epoch": 1})
    assert run.result() == RESULT
    assert sorted(p.name for p in run.path.iterdir()) == [
        "metrics.jsonl",
        "result.json",
    ]  # no temporary file


def test_only_one_can_hold_the_lock_and_it_is_let_go(run):
    with run.locked():
        with (
            pytest.raises(RunError, match="another process works on"),
            RunDirectory(run.path).locked(),
        ):
            pass
        assert json.dumps([p.name for p in run.path.iterdir()]) == "[]"  # no file is left behind
    with run.locked():
        pass


def test_what_an_interrupted_write_has_left_is_swept_by_who_works_on_the_run(run):
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = run.path / f".result.{dead.pid}.0.new.json"
    written_now = run.path / f".report.{os.getpid()}.9.new.html"
    for file in (left, written_now):
        file.touch()
    with run.locked():
        assert list(run.path.iterdir()) == [written_now]


@pytest.mark.parametrize(
    ("make", "what"),
    [(os.mkfifo, "a named pipe"), (lambda p: p.symlink_to("/dev/null"), "a device")],
)
def test_a_result_is_not_written_into_what_is_no_file(make, what, tmp_path):
    # A pipe would be waited for without end, a device would swallow the result without a word.
    make(tmp_path / "result.json")
    with pytest.raises(RunError, match=f"cannot write .*result.json: {what}, not a file; accepted"):
        write_anew(tmp_path / "result.json", "{}")
    assert [f.name for f in tmp_path.iterdir()] == ["result.json"]
