"""Searches that an interrupt ends with the best so far: from Python, and by real signals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import delivering
import tiny
from morphogen.core import ConfigError, RunError
from morphogen.engine.record.opened import open_run
from morphogen.engine.search.search import resume
from morphogen.exports.trained import trained_network
from morphogen.methods import _contract, method
from morphogen.methods.random import RandomSearch, RandomSearchConfig
from morphogen.runs.directory import RunDirectory
from morphogen.testing import MethodChecks


@pytest.fixture(autouse=True)
def anytime(monkeypatch):
    monkeypatch.setitem(_contract._REGISTRY, "pick", delivering.info(anytime=True))


def interrupted(path: Path, **when: int):
    return delivering.run(path, given={"watcher": tiny.Stop(**when)})


@pytest.mark.parametrize(
    "promise", [p for p in MethodChecks.promises() if "resume" in p or "interrupt" in p]
)
def test_an_anytime_method_keeps_the_promises(promise, tmp_path):
    MethodChecks(delivering.PickConfig(), tmp_path).check(promise)


def test_the_result_is_of_the_last_checkpoint_and_says_so(tmp_path):
    early = interrupted(tmp_path / "run", steps=3)  # in the second epoch of two steps
    held = json.loads((early.run / "result.json").read_text())
    assert (held["ended_early"], held["epochs"], len(early.history)) == (True, 1, 1)
    assert early.remarks[0].startswith("the search was interrupted after 1 of 3 epochs: ")
    one = delivering.run(tmp_path / "one", epochs=1)
    assert early.text == one.text
    weights = [list(r.network().parameters()) for r in (early, one)]
    assert all(a.equal(b) for a, b in zip(*weights, strict=True))
    run = open_run(early.run)
    assert run.state == "ended early"
    assert run.headline[1] == early.test["mean"] == one.test["mean"]


def test_resumed_it_ends_as_without_the_break_and_counts_every_opening(tmp_path):
    early = interrupted(tmp_path / "run", steps=3)
    again = resume(early.run, space=tiny.own(), task=delivering.task())
    whole = delivering.run(tmp_path / "whole")
    assert not again.ended_early
    aside = json.loads((early.run / "result-1-early.json").read_text())
    assert aside["architecture"] == early.text
    assert (early.run / "network-1-early.safetensors").exists()
    assert again.weights.read_bytes() == whole.weights.read_bytes()
    one, other = (json.loads((r.run / "result.json").read_text()) for r in (again, whole))
    assert [len(r.pop("test_openings")) for r in (one, other)] == [2, 1]
    for held in (one, other):
        del held["cost"]
    assert one == other


def test_ended_early_twice_and_killed_in_between_every_opening_is_on_record(monkeypatch, tmp_path):
    early = interrupted(tmp_path / "run", steps=3)
    given = {"space": tiny.own(), "task": delivering.task()}
    twice = resume(early.run, **given, watcher=tiny.Stop(steps=3))
    assert (len(early.history), len(twice.history)) == (1, 2)
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "write_result", lambda *_: sys.exit(9))  # after the weights
        with pytest.raises(SystemExit):
            resume(early.run, **given)
    assert open_run(early.run).state == "cut off"
    resume(early.run, **given)
    held = json.loads((early.run / "result.json").read_text())
    assert len(held["test_openings"]) == 3


def test_while_it_goes_on_the_network_until_then_is_there(monkeypatch, tmp_path):
    early = interrupted(tmp_path / "run", steps=3)
    monkeypatch.setitem(_contract._REGISTRY, "pick", delivering.info())  # as kill -9 would end it
    with pytest.raises(KeyboardInterrupt):
        resume(early.run, space=tiny.own(), task=delivering.task(), watcher=tiny.Stop(epochs=2))
    assert open_run(early.run).state == "cut off"
    assert trained_network(early.run, space=tiny.own())[1].architecture == early.text


def test_before_the_first_epoch_is_done_it_is_an_interrupt_as_ever(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "run", steps=1)
    assert not (tmp_path / "run" / "result.json").exists()


class Unsure(delivering.Pick):
    """It has no network yet."""

    def network(self, state, space):
        return None


def test_a_result_from_before_there_was_a_network_is_not_the_end_of_it(monkeypatch, tmp_path):
    monkeypatch.setitem(_contract._REGISTRY, "pick", delivering.info(Unsure, anytime=True))
    early = interrupted(tmp_path / "run", steps=3)
    assert early.weights is None
    with pytest.raises(RunError, match=r"is not finished; accepted: first `morphogen resume"):
        trained_network(early.run, space=tiny.own())


def test_a_method_that_asks_and_tells_cannot_say_so():
    with pytest.raises(ConfigError, match="'asks' is anytime, and asks and tells; accepted: init"):
        method("asks", config=RandomSearchConfig, needs=(), epochs=1, anytime=True)(RandomSearch)


PROGRAM = """
import sys, time
import delivering
from morphogen.cli import main
from morphogen.cli.terminal import interrupts
from morphogen.methods import _contract
interrupts.GRACE = 0.5

class Slow(delivering.Pick):
    def step(self, *rest):
        time.sleep(0.02)
        return super().step(*rest)
    def network(self, *rest):
        print("ending", flush=True)
        time.sleep({seconds})
        return super().network(*rest)

_contract._REGISTRY["pick"] = delivering.info(Slow, anytime=True)
sys.argv[1:] = ["resume", {run!r}]
sys.exit(main())
"""


def going_on(folder: Path, *, seconds: float) -> tuple[subprocess.Popen[str], Path]:
    """A process that goes on with a long search, some of whose epochs are done."""
    x, data = tiny.images().pixels[:, 0].numpy(), folder / "own.npz"
    y = tiny.images().labels.numpy()
    np.savez(data, x_train=x, y_train=y, x_test=x[:40], y_test=y[:40])
    run = folder / "run"
    given = {"space": "nasbench201", "task": None, "data": data, "watcher": tiny.Stop(steps=3)}
    delivering.run(run, epochs=5000, given=given)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(seconds=seconds, run=str(run))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(delivering.__file__).parent,
    )
    lines = run / "metrics.jsonl"
    while len(lines.read_text().splitlines()) < 4:
        assert process.poll() is None
        time.sleep(0.05)
    return process, run


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_with_a_result_however_long_that_takes(signum, tmp_path):
    process, run = going_on(tmp_path, seconds=1.5)  # longer than the grace of the process
    process.send_signal(signum)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == ""
    assert "interrupted: the search ends with the best so far" in out
    assert "Warning: the search was interrupted after" in out
    assert "Test accuracy of the trained network" in out
    held = json.loads((run / "result.json").read_text())
    assert held["ended_early"]
    assert held["epochs"] == len((run / "metrics.jsonl").read_text().splitlines())


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(tmp_path):
    process, run = going_on(tmp_path, seconds=60)
    before = (run / "result.json").read_bytes()
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    while process.stdout.readline().strip() != "ending":
        pass
    time.sleep(1)  # the grace is over, and the answer is waited for
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, err = process.communicate(timeout=20)
    assert time.monotonic() - began < 5
    assert process.returncode == 130
    assert err.startswith("morphogen: interrupted; nothing finished is lost; continue with: morph")
    assert (run / "result.json").read_bytes() == before
