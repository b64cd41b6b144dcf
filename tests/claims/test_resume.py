"""kill -9 at any moment, then resume: the same bits as a search that nobody interrupted."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import forked
import tiny
from morphogen.core import RunError
from morphogen.engine.search.search import resume, search


def uninterrupted(method: str, epochs: int, path: Path) -> Path:
    return tiny.go_on(str(path), method, epochs).run


def progress(run: Path) -> int:
    """How much there is of the run, in bytes and files: to wait for something to happen."""
    try:
        return sum(file.stat().st_size + 1 for file in run.iterdir())
    except FileNotFoundError:
        return 0


def kill_and_resume(
    run: Path,
    method: str,
    epochs: int,
    kills: int,
    rng: random.Random,
    longest: float,
    *delay: float,
) -> list[set[str]]:
    """Kill the search `kills` times, each time at a random moment after it has written something.

    Returns the files found after each kill. The last process is left to end by itself.
    """
    found = []
    for _ in range(kills):
        before = progress(run)
        process = forked.process(tiny.go_on, str(run), method, epochs, *delay)
        while process.is_alive() and progress(run) == before:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, longest))
        if not process.is_alive():
            break
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        found.append({file.name for file in run.iterdir()} if run.exists() else set())
    process = forked.process(tiny.go_on, str(run), method, epochs)
    process.join()
    assert process.exitcode == 0
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("method", "kills"), [("random", 2), ("supernet-shifting", 2)])
def test_killed_at_random_moments_it_ends_in_the_same_bits(method, kills, tmp_path):
    # A second or more of each.
    epochs = {"random": 150, "supernet-shifting": 20}[method]
    began = time.perf_counter()
    reference = uninterrupted(method, epochs, tmp_path / "reference")
    # On any machine the kills fall into the first quarter, so that none comes after the end.
    longest = (time.perf_counter() - began) / (4 * kills)
    rng = random.Random(f"{method} 1")
    found = kill_and_resume(tmp_path / "run", method, epochs, kills, rng, longest)
    assert len(found) == kills
    assert not any("result.json" in files for files in found)
    tiny.assert_same_run(tmp_path / "run", reference)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "epochs", "kills", "longest"),
    [
        *[(name, 60, 40, 0.25) for name in ("darts", "gdas", "idarts")],
        # Short phases of their own: most kills come before these, some in them.
        *[
            (name, 20, 12, 0.25)
            for name in ("spos", "supernet-shifting", "darts-pt", "nevonas", "pevonas")
        ],
        ("random", 18, 10, 0.02),  # the space has 18 architectures, each a round of its own
    ],
)
def test_killed_many_times_it_ends_in_the_same_bits(method, epochs, kills, longest, tmp_path):
    reference = uninterrupted(method, epochs, tmp_path / "reference")
    rng = random.Random(f"{method} 2")
    found = kill_and_resume(tmp_path / "run", method, epochs, kills, rng, longest)
    assert len(found) == kills
    tiny.assert_same_run(tmp_path / "run", reference)


@pytest.mark.slow
def test_killed_while_files_are_being_written_it_ends_in_the_same_bits(tmp_path):
    """Every write and every rename is stretched, so that most kills fall into one."""
    reference = uninterrupted("darts", 16, tmp_path / "reference")
    found = kill_and_resume(tmp_path / "run", "darts", 16, 8, random.Random(3), 0.4, 0.08)
    assert len(found) == 8
    half_written = [files for files in found if any(".new" in name for name in files)]
    assert len(half_written) >= 2
    tiny.assert_same_run(tmp_path / "run", reference)


def test_a_run_killed_between_the_two_renames_goes_on_from_the_checkpoint_before(tmp_path):
    """Where there are no hard links: the old checkpoint is moved, and the new one not yet."""
    reference = uninterrupted("darts", 3, tmp_path / "reference")
    with pytest.raises(KeyboardInterrupt):
        _search(tmp_path / "run", tiny.Stop(epochs=2))
    run = tmp_path / "run"
    (run / "checkpoint.pt").rename(run / "checkpoint.new")
    told = tiny.Told()
    resume(run, space=tiny.own(), data=tiny.images(), watcher=told)
    assert told.finished == 1
    assert len(told.notices) == 1
    assert "going on from the one before" in told.notices[0]
    tiny.assert_same_run(run, reference)


@pytest.mark.parametrize("cut", [1, 40])
def test_a_line_of_metrics_cut_short_by_a_crash_is_written_again(cut, tmp_path):
    reference = uninterrupted("darts", 3, tmp_path / "reference")
    with pytest.raises(KeyboardInterrupt):
        _search(tmp_path / "run", tiny.Stop(epochs=2))
    file = tmp_path / "run" / "metrics.jsonl"
    line = file.read_bytes().splitlines()[-1]
    with file.open("ab") as handle:  # the third epoch's line, before its checkpoint
        handle.write(line[:cut])
    told = tiny.Told()
    resume(tmp_path / "run", space=tiny.own(), data=tiny.images(), watcher=told)
    assert told.notices == []
    tiny.assert_same_run(tmp_path / "run", reference)


def test_two_processes_do_not_work_on_one_run(tmp_path):
    class Again(tiny.Told):
        def __call__(self):
            return self

        def stepped(self, clock):
            with pytest.raises(RunError) as caught:
                resume(tmp_path / "run", space=tiny.own(), data=tiny.images())
            self.notices.append(str(caught.value))

    again = Again()
    _search(tmp_path / "run", again)
    assert set(again.notices) == {
        f"another process works on {tmp_path / 'run'}; accepted: one that nobody is working on"
    }
    tiny.assert_same_run(tmp_path / "run", uninterrupted("darts", 3, tmp_path / "reference"))


def _search(run: Path, watcher):
    settings = tiny.changed(tiny.SETTINGS, epochs=3, evaluations=3)
    return search(
        tiny.config("darts"),
        space=tiny.own(),
        data=tiny.images(),
        settings=settings,
        run=run,
        watcher=watcher,
    )


@pytest.mark.slow
def test_the_command_line_killed_and_resumed_ends_in_the_same_bits(tmp_path):
    """`morphogen search`, kill -9, `morphogen resume`, as a user does it."""

    def morphogen(*words: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "morphogen", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
        )

    size = ["--epochs", "4", "--steps-per-epoch", "2", "--batch-size", "16", "--channels", "2"]
    size += ["--train-images", "100", "--valid-images", "100", "--image-size", "8"]
    whole = morphogen("search", "darts", "--run", "whole", *size)
    assert whole.communicate()[0]
    assert whole.returncode == 0
    cut = morphogen("search", "darts", "--run", "cut", *size)
    while not (tmp_path / "cut" / "checkpoint.pt").exists():
        time.sleep(0.01)
    cut.kill()
    cut.communicate()
    assert not (tmp_path / "cut" / "result.json").exists()
    again = morphogen("resume", "cut")
    output = again.communicate()[0]
    assert again.returncode == 0
    tiny.assert_same_run(tmp_path / "cut", tmp_path / "whole")
    found = json.loads((tmp_path / "cut" / "result.json").read_text())["architecture"]
    assert found in output
