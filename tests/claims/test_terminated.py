"""SIGTERM at any moment ends a search within seconds, with a checkpoint to go on from."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from morphogen.cli.terminal.interrupts import GRACE, INTERRUPTED
from morphogen.engine.record.recorder import last_checkpoint
from morphogen.runs.config import identity
from morphogen.runs.directory import RunDirectory

WORDS = ("search", "idarts", "--epochs", "400", "--steps-per-epoch", "1", "--image-size", "8")
WORDS += ("--channels", "4", "--train-images", "100", "--valid-images", "100", "--batch-size", "16")
WORDS += ("--diagnostic-images", "0")


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_a_search_that_is_told_to_end_ends_at_any_moment(threads: int, tmp_path: Path) -> None:
    moments = random.Random(threads)
    whole = 0
    for number in range(6):
        run = tmp_path / f"run-{number}"
        process = subprocess.Popen(
            [sys.executable, "-m", "morphogen", *WORDS, "--run", str(run)],
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert process.stdout is not None
        if number % 3 == 0:  # while Python imports, reads the data, builds the supernet
            time.sleep(1 + moments.random() * 4)
        else:
            while not process.stdout.readline().startswith("epoch"):
                assert process.poll() is None
            time.sleep(moments.random())
        told = time.monotonic()
        for _ in range(moments.choice([1, 2, 10])):
            process.send_signal(moments.choice([signal.SIGTERM, signal.SIGINT]))
        _, err = process.communicate(timeout=60)
        assert time.monotonic() - told < GRACE + 5
        assert process.returncode == INTERRUPTED
        assert err.startswith("morphogen: interrupted")
        assert err.count("\n") == 1
        if (run / "config.yaml").exists():
            assert f"continue with: morphogen resume {run}" in err
            name = identity(yaml.safe_load((run / "config.yaml").read_text()))
            content, _ = last_checkpoint(RunDirectory(run), name)
            whole += content is not None
        else:
            assert not run.exists()
    assert whole >= 4
