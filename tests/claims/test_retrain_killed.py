"""A training whose process is killed (SIGKILL, no chance to tidy up) ends at the same bits."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

import forked
import tiny
from morphogen.engine.record.watch import Silent
from morphogen.engine.resume import resume
from morphogen.engine.train.retrain import train
from morphogen.engine.train.training import Training

ARCH = "|skip_connect~0|+|nor_conv_1x1~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
TINY = Training(
    epochs=2,
    batch_size=16,
    seeds=2,
    task={"image_size": 8},
    network={"channels": 2, "depth": 1},
    hardware={"threads": 1},
)


class Killed(Silent):
    """Kills its own process in the middle of an epoch."""

    def __init__(self) -> None:
        self.steps = 0

    def stepped(self, clock: Any) -> None:
        self.steps += 1
        if self.steps == 27:  # eleven steps an epoch: in the third, the first of the second seed
            os.kill(os.getpid(), signal.SIGKILL)


def doomed(run: str) -> None:
    train(ARCH, data=tiny.images(), training=TINY, run=run, watcher=Killed)


@pytest.mark.slow
def test_killed_and_resumed(tmp_path: Path) -> None:
    process = forked.process(doomed, str(tmp_path / "cut"))
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(tiny.metrics(tmp_path / "cut")) == 2
    resume(tmp_path / "cut", data=tiny.images())
    train(ARCH, data=tiny.images(), training=TINY, run=tmp_path / "whole")
    tiny.assert_same_run(tmp_path / "whole", tmp_path / "cut")
    for file in (tmp_path / "whole").glob("*.safetensors"):
        assert file.read_bytes() == (tmp_path / "cut" / file.name).read_bytes()
