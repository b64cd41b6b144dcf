"""Spawned processes import the program that started them only where they need an object of it."""

from __future__ import annotations

import os
import subprocess
import sys
from multiprocessing import spawn
from pathlib import Path

import pytest

from morphogen.core import processes

TESTS = Path(__file__).parents[2]


def imported() -> set[str]:
    """How a process that is spawned now would find the program: Python's own answer."""
    return {name for name in spawn.get_preparation_data("x") if name.startswith("init_main")}


@pytest.mark.parametrize("how", ["file", "module"])
def test_the_program_is_hidden_unless_an_object_of_it_is_sent(how, monkeypatch):
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__file__", __file__, raising=False)
    monkeypatch.setattr(main, "__spec__", None if how == "file" else spawn.__spec__)
    names = {"init_main_from_path"} if how == "file" else {"init_main_from_name"}
    assert imported() == names
    with processes.spawning(b"a pickle of nothing in particular"):
        assert imported() == set()
    assert imported() == names
    with processes.spawning(b"\x8c\x08__main__\x94\x8c\x03Net"):
        assert imported() == names
    assert imported() == names


def test_a_program_that_is_no_file_is_hidden_in_any_case(monkeypatch):
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__file__", "<stdin>", raising=False)
    monkeypatch.setattr(main, "__spec__", None)
    assert imported() == {"init_main_from_path"}
    with processes.spawning(b"\x8c\x08__main__\x94\x8c\x03Net"):
        assert imported() == set()
    assert main.__file__ == "<stdin>"


SCRIPT = """
import os
from morphogen.evaluators.executors import make_executor
import jobs

def job(task):
    return os.path.basename(__file__)

def make():
    return job

print("imported", flush=True)
executor = make_executor("processes", {make}, workers=2)
try:
    print([report.value for report in executor.map([("environment", "HOME")] * 3)], flush=True)
finally:
    executor.close()
"""


def ran(script: str, tmp_path: Path, *, stdin: bool = False) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "script.py"
    file.write_text(script)
    return subprocess.run(
        [sys.executable, "-" if stdin else str(file)],
        input=script if stdin else None,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    )


@pytest.mark.slow
@pytest.mark.parametrize("stdin", [False, True], ids=["file", "stdin"])
def test_a_script_without_a_guard_works_where_nothing_of_it_is_sent(stdin, tmp_path):
    done = ran(SCRIPT.replace("{make}", "jobs.make"), tmp_path, stdin=stdin)
    assert done.stdout == f"imported\n{[os.environ['HOME']] * 3}\n"
    assert done.stderr == ""


@pytest.mark.slow
def test_objects_of_a_program_on_stdin_cannot_be_sent_which_is_said(tmp_path):
    done = ran(SCRIPT.replace("{make}", "make"), tmp_path, stdin=True)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("morphogen.core.errors.RunError: a worker cannot prepare its work")
    assert "__main__" in last


@pytest.mark.slow
def test_else_the_guard_is_named_and_only_the_user_sees_a_traceback(tmp_path):
    done = ran(SCRIPT.replace("{make}", "make"), tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("morphogen.core.errors.ConfigError: objects of your script are sent")
    assert 'if __name__ == "__main__":' in last
