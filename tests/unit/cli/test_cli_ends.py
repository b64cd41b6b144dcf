"""How a command ends that nobody expected to: by a signal, a fault, a stream that is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from morphogen.cli import main
from morphogen.cli.command import Command
from morphogen.cli.commands import list as listing
from morphogen.cli.terminal import interrupts


@pytest.fixture
def command(monkeypatch):
    """Makes `morphogen list` do something else."""

    def be(act: Callable[[], int]) -> None:
        monkeypatch.setattr(listing, "COMMAND", Command("list", "", "", (), lambda words: act()))

    return be


@pytest.fixture(autouse=True)
def in_the_foreground():
    """Tests in the background, or under nohup, inherit signals that are ignored."""
    usual = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {each: signal.signal(each, handler) for each, handler in usual.items()}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


# -- faults ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [RuntimeError, RecursionError, OverflowError])
def test_an_unforeseen_exception_is_one_sentence_and_its_detail_is_in_a_file(
    kind, command, capsys, tmp_path, monkeypatch
):
    def fail() -> int:
        raise kind("the first\x1b[31m line\nand more")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    command(fail)
    assert main(["list"]) == 70
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"morphogen: unexpected {kind.__name__}: the first [31m line; ")
    assert err.count("\n") == 1
    (file,) = tmp_path.iterdir()
    assert str(file) in err
    detail = file.read_text()
    assert "Traceback (most recent call last)" in detail
    assert "in fail" in detail


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate memory")])
def test_memory_that_runs_out_anywhere_is_no_fault(error, command, capsys):
    def fail() -> int:
        raise error

    command(fail)
    assert main(["list"]) == 4
    assert capsys.readouterr().err.startswith("morphogen: out of memory")


# -- streams ---------------------------------------------------------------------------------------


def test_a_full_disk_under_stdout_is_a_sentence(monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["list"]) == 74
    said = "morphogen: cannot write to standard output: No space left on device\n"
    assert capsys.readouterr().err == said


def test_a_reader_that_leaves_ends_nothing(monkeypatch, capsys, command):
    done = []

    def work() -> int:
        for number in range(10_000):
            print(number, flush=number < 3)
        done.append("all")
        return 0

    command(work)
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(["list"]) == 0
    assert done == ["all"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_stream_that_was_closed_from_the_start(stream, monkeypatch, capsys):
    monkeypatch.setattr(sys, stream, None)
    assert main(["list"]) == (74 if stream == "stdout" else 0)
    assert main(["nonsense"]) == 2


# -- signals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ten_signals_are_one_interrupt(signum, command, capsys, monkeypatch):
    monkeypatch.setattr(interrupts, "AGAIN", 60.0)  # a busy machine may pause between two of them
    closed = []

    def work() -> int:
        with interrupts.advised(lambda: "go on so"):
            try:
                signal.raise_signal(signum)
            finally:
                for _ in range(9):
                    signal.raise_signal(signal.SIGINT)
                closed.append("whole")
        return 0

    command(work)
    before = signal.getsignal(signum)
    assert main(["list"]) == 130
    assert capsys.readouterr().err == "morphogen: interrupted; go on so\n"
    assert closed == ["whole"]
    assert signal.getsignal(signum) is before


def test_what_a_library_makes_of_an_interrupt_is_an_interrupt(command, capsys):
    def work() -> int:
        with interrupts.advised(lambda: "go on so"):
            try:
                signal.raise_signal(signal.SIGTERM)
            except KeyboardInterrupt:
                raise ImportError("could not import module datetime") from None
        return 0

    command(work)
    assert main(["list"]) == 130
    assert capsys.readouterr().err == "morphogen: interrupted; go on so\n"


def test_a_signal_that_is_ignored_stays_ignored(command):
    """Of `nohup`, and of what a shell runs in the background."""

    def work() -> int:
        signal.raise_signal(signal.SIGHUP)
        return 0

    command(work)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main(["list"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


PROGRAM = """
import ctypes, sys, time
from morphogen.cli import main
from morphogen.cli.command import Command
from morphogen.cli.commands import list as listing
from morphogen.cli.terminal import interrupts
interrupts.GRACE = {grace}

class Owner:
    def __del__(self):
        time.sleep(0.4)  # where Python drops what is raised

def work(words):
    with interrupts.advised(lambda: "go on so"):
        print("ready", flush=True)
        {act}

listing.COMMAND = Command("list", "", "", (), work)
sys.argv[1:] = ["list"]
sys.exit(main())
"""

DEAD_LOCK = """
        c, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
        c.pthread_mutex_lock(mutex)
        c.pthread_mutex_lock(mutex)  # a wait for ever, which no signal ends
"""


@pytest.mark.parametrize(
    ("act", "grace"),
    [
        (DEAD_LOCK, 0.3),
        ("Owner(); time.sleep(60)", 30),
        ("\n        while True:\n            try: time.sleep(60)\n            except: pass\n", 0.3),
    ],
    ids=["a native wait", "a destructor", "swallowed"],
)
def test_no_signal_is_lost_whatever_the_process_is_doing(act, grace):
    program = PROGRAM.format(act=act, grace=grace)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "morphogen: interrupted; go on so\n")
