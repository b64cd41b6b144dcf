"""Executors: every task is reported once, whatever becomes of the workers that do it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import jobs
from morphogen.core import ConfigError, MorphogenError, RunError
from morphogen.evaluators.executors import Local, make_executor

TESTS = Path(jobs.__file__).parent


def processes(make=jobs.make, **options):
    options = {"workers": 2, "retries": 1, **options}
    return make_executor("processes", make, **options)


def outcome(executor, tasks):
    """The reports by task; each exactly once."""
    try:
        reports = list(executor.map(tasks))
    finally:
        executor.close()
    assert sorted(r.index for r in reports) == list(range(len(tasks)))
    return sorted(reports, key=lambda r: r.index)


@pytest.fixture(scope="module")
def pool():
    """One pool for the tests that leave it whole: workers take a second to start."""
    executor = processes(timeout=2.0)
    yield executor
    executor.close()


@pytest.mark.parametrize("kind", ["local", "processes"])
def test_values_come_back_and_failures_are_named(kind, pool):
    tasks = [("say", 1), ("raise", "text"), ("nan", 0), ("say", {"a": 2.5})]
    executor = pool if kind == "processes" else Local(jobs.job)
    reports = sorted(executor.map(tasks), key=lambda r: r.index)
    assert [r.value for r in reports] == [1, None, None, {"a": 2.5}]
    assert [r.error for r in reports] == [
        "",
        "ValueError: two lines of text",
        "accuracy is nan",
        "",
    ]
    assert [r.attempts for r in reports] == [1, 2, 2, 1]
    assert [r.failed for r in reports] == [False, True, True, False]


def pair_of(pool) -> set[int]:
    """The process ids of two workers; the second may be ready only after some rounds."""
    for _ in range(100):
        found = {r.value for r in pool.map([("process", None)] * 4)}
        if len(found) == 2:
            return found
    raise AssertionError("there is only one worker")


def test_a_pool_does_several_rounds_with_the_same_workers(pool):
    first = pair_of(pool)
    assert {r.value for r in pool.map([("process", None)] * 4)} <= first
    assert os.getpid() not in first
    assert list(pool.map([])) == []


def test_a_killed_worker_costs_its_task_one_attempt(tmp_path):
    tasks = [("die", None), ("say", 1), ("die once", str(tmp_path / "mark")), ("exit", None)]
    dead, fine, once, left = outcome(processes(), tasks)
    assert dead.error == "the worker process ended with signal SIGKILL"
    assert dead.attempts == 2
    assert (fine.value, fine.attempts) == (1, 1)
    assert (once.value, once.attempts) == ("survived", 2)
    assert left.error == "the worker process ended with exit code 3"


def test_a_worker_killed_from_outside_is_replaced(pool):
    victim = next(iter(pool.map([("process", None)]))).value
    os.kill(victim, signal.SIGKILL)
    assert victim not in pair_of(pool)


def test_a_hung_worker_is_ended_and_the_others_go_on():
    began = time.monotonic()
    hung, *fine = outcome(processes(timeout=0.5, retries=0), [("hang", None), *[("say", 1)] * 5])
    assert hung.error == "no result after 0.5 s"
    assert hung.attempts == 1
    assert [r.value for r in fine] == [1] * 5
    assert time.monotonic() - began < 60


def test_retries_are_a_setting():
    (report,) = outcome(processes(workers=1, retries=3), [("raise", 1)])
    assert report.attempts == 4
    (report,) = outcome(Local(jobs.job, retries=0), [("raise", 1)])
    assert report.attempts == 1


def test_the_users_mistake_ends_it_at_once(pool):
    with pytest.raises(ConfigError, match=r"^field is 3; accepted: another$"):
        list(Local(jobs.job).map([("mistake", 3)]))
    executor = processes(workers=1)
    with pytest.raises(ConfigError, match=r"^field is 3; accepted: another$"):
        outcome(executor, [("mistake", 3), ("say", 1)])


@pytest.mark.parametrize(
    ("make", "kind", "sentence"),
    [
        (jobs.make_mistaken, ConfigError, "data is 'nowhere'; accepted: somewhere"),
        (jobs.make_broken, RunError, "a worker cannot prepare its work: OSError: no such file"),
        (jobs.make_dying, RunError, "no worker could be started: the worker process ended with"),
    ],
)
def test_a_worker_that_cannot_start_ends_it_with_a_sentence(make, kind, sentence):
    with pytest.raises(kind) as caught:
        outcome(processes(make, workers=1), [("say", 1)])
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_threads_of_the_workers_are_pinned_and_ours_left_alone(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
    reports = outcome(processes(workers=1, threads=3), [("environment", n) for n in names])
    assert [r.value for r in reports] == ["3"] * 3
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_closing_ends_workers_in_the_middle_of_a_task():
    others = set(multiprocessing.active_children())
    executor = processes(workers=2)
    reports = executor.map([("say", 1), ("hang", None)])
    assert next(reports).value == 1
    children = set(multiprocessing.active_children()) - others
    assert children
    executor.close()
    assert not any(child.is_alive() for child in children)


def test_what_cannot_be_sent_is_refused():
    with pytest.raises(ConfigError, match=r"cannot be sent to a worker .* or executor local"):
        processes(lambda: None)


def test_local_cannot_end_what_hangs():
    with pytest.raises(MorphogenError, match="timeout is 3 with executor local"):
        make_executor("local", jobs.make, timeout=3.0)


ORPHANS = """
import sys, jobs
from morphogen.evaluators.executors import make_executor
if __name__ == "__main__":
    executor = make_executor("processes", jobs.make, workers=2)
    reports = executor.map([("process", None), ("process", None), ("hang", None), ("hang", None)])
    print(next(reports).value, next(reports).value, flush=True)
    next(reports)
"""


def test_workers_end_with_a_search_that_was_killed(tmp_path):
    """In the middle of their tasks, so that none goes on unseen."""
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    with process:
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(set(pids)) == 2
        process.kill()
    deadline = time.monotonic() + 20
    while any(map(running, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(running, pids))


def running(pid: int) -> bool:
    """Whether there is such a process, and not only its exit code that nobody has asked for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
