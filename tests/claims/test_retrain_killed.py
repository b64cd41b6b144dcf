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
from morphogen.engine.search.search import search
from morphogen.engine.train.retrain import train
from morphogen.engine.train.training import Training
from morphogen.testing.toys import SETTINGS

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

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __call__(self) -> Killed:
        return self

    def stepped(self, clock: Any) -> None:
        self.steps -= 1
        if not self.steps:
            os.kill(os.getpid(), signal.SIGKILL)


def doomed(run: str) -> None:
    # Eleven steps an epoch: in the third, the first of the second seed.
    train(ARCH, data=tiny.images(), training=TINY, run=run, watcher=Killed(27))


SEARCH = tiny.changed(SETTINGS, evaluations=2)


def doomed_search(run: str, steps: int) -> None:
    search(
        "random",
        data=tiny.images(),
        settings=SEARCH,
        run=run,
        baseline=TINY,
        watcher=Killed(steps),
    )


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


@pytest.mark.slow
def test_a_search_with_its_comparison_is_killed_again_and_again(tmp_path: Path) -> None:
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    found = search(
        "random", data=tiny.images(), settings=SEARCH, run=whole, baseline=TINY
    ).comparison
    # Two evaluations, then three trainings of 44 steps: killed in the second of them.
    process = forked.process(doomed_search, str(cut), 2 + 44 + 20)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with pytest.raises(KeyboardInterrupt):  # and once more, in the third
        resume(cut, data=tiny.images(), watcher=tiny.Stop(steps=44))
    assert resume(cut, data=tiny.images()).comparison == found is not None
    for folder in ("trained", "trained/reference", "trained/random"):
        tiny.assert_same_run(whole / folder, cut / folder)
