"""Two processes with half of every batch do what one process does with all of it."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

import ports
import tiny
from morphogen.core import ConfigError, NumericalError, RunError
from morphogen.engine.search.search import resume, search


@pytest.mark.slow
def test_a_search_on_two_processes_stops_resumes_and_fails_in_one_sentence(tmp_path):
    """Through the front door, as a user does it: processes are started five times."""
    settings = tiny.changed(tiny.SETTINGS, devices=2, epochs=2)

    def start(name: str, **options):
        options = {"settings": settings, "space": tiny.own(), **options}
        config = options.pop("config", tiny.config("idarts"))
        return search(config, data=tiny.images(), run=tmp_path / name, **options)

    whole = start("whole")
    assert len(whole.history) == 2

    with pytest.raises(BaseException, match=r"KeyboardInterrupt|SIGINT|terminated"):
        start("cut", watcher=tiny.Stop(epochs=1))
    again = resume(tmp_path / "cut", space=tiny.own(), data=tiny.images())
    assert again.text == whole.text
    tiny.assert_same_run(again.run, whole.run)

    weights = replace(tiny.config("darts").weights, lr=1e3, weight_decay=1e6, clip=0.0)
    hot = replace(tiny.config("darts"), weights=weights)
    with pytest.raises(NumericalError) as caught:
        start("hot", config=hot, settings=replace(settings, steps_per_epoch=8))
    assert "\n" not in str(caught.value)

    with pytest.raises(RunError) as caught:
        start("full", watcher=Breaks(tmp_path / "full"))
    assert "cannot write" in str(caught.value)
    assert "\n" not in str(caught.value)


class Breaks(tiny.Told):
    """Puts a directory where the first line of metrics is to be written."""

    def __init__(self, run: Path) -> None:
        super().__init__()
        self.run = run

    def __call__(self) -> Breaks:
        return self

    def stepped(self, clock) -> None:
        (self.run / "metrics.jsonl").mkdir(exist_ok=True)


@pytest.mark.slow
def test_the_processes_can_be_reached_from_this_machine_alone(tmp_path):
    """All ports that are opened while two processes search, as the kernel lists them."""
    before, found, done = ports.listening(), set(), threading.Event()

    def look() -> None:
        while not done.wait(0.05):
            found.update(ports.listening() - before)

    watch = threading.Thread(target=look)
    watch.start()
    try:
        search(
            tiny.config("darts"),
            space=tiny.smooth(),
            data=tiny.images(),
            settings=tiny.changed(tiny.SETTINGS, devices=2),
            run=tmp_path / "run",
        )
    finally:
        done.set()
        watch.join()
    assert found  # the processes talk to each other
    assert [address for address in found if not address.is_loopback] == []


def test_what_cannot_be_sent_to_another_process_is_said_in_one_sentence(tmp_path):
    class Local(nn.Module):
        pass

    module = tiny.smooth()
    module.extra = Local()
    with pytest.raises(ConfigError) as caught:
        search(
            tiny.config("darts"),
            space=module,
            data=tiny.images(),
            settings=tiny.changed(tiny.SETTINGS, devices=2),
            run=tmp_path / "run",
        )
    assert "\n" not in str(caught.value)
    assert "devices is 2, and an object passed cannot be sent to another process" in str(
        caught.value
    )
