"""Two processes with half of every batch do what one process does with all of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import pair
import tiny
from morphogen.core import ConfigError, NumericalError, RunError
from morphogen.engine.search import resume, search
from morphogen.methods import methods

GRADIENT = [key for key, (config, _) in pair.cases().items() if hasattr(config, "alpha")]
STEPWISE = [
    key for key in pair.cases() if not (key[0] in methods() and methods()[key[0]].black_box)
]

WEIGHTS = 2e-6
"""Largest difference of a weight or a running statistic: ten roundings of a float32 near 1."""

GRADIENTS = 2e-6
"""Largest difference of Adam's mean gradient of alpha (its entries are up to 0.06).

Alphas themselves are compared only where no gradient is near zero: Adam divides by its size, so an
entry of gradient 1e-9 moves as far as one of 1e-2, and its rounding with it.
"""


@pytest.mark.parametrize("key", STEPWISE, ids=" on ".join)
def test_weights_are_those_of_the_joint_batch(key):
    one, two = (result["state"]["state"] for result in pair.results()[key])
    assert list(one["net"]) == list(two["net"])
    for name, weight in one["net"].items():
        torch.testing.assert_close(two["net"][name], weight, atol=WEIGHTS, rtol=0, msg=name)


@pytest.mark.parametrize("key", GRADIENT, ids=" on ".join)
def test_alpha_gradients_are_those_of_the_joint_batch(key):
    one, two = (result["state"]["state"] for result in pair.results()[key])
    for mine, theirs in zip(
        one["alpha_optimiser"]["state"].values(),
        two["alpha_optimiser"]["state"].values(),
        strict=True,
    ):
        torch.testing.assert_close(theirs["exp_avg"], mine["exp_avg"], atol=GRADIENTS, rtol=0)
        assert mine["exp_avg"].abs().max() > 20 * GRADIENTS


@pytest.mark.parametrize("key", [k for k in GRADIENT if k[0] != "gdas"], ids=" on ".join)
def test_alphas_are_those_of_the_joint_batch(key):
    one, two = (result["state"]["state"] for result in pair.results()[key])
    for mine, theirs in zip(one["alphas"], two["alphas"], strict=True):
        torch.testing.assert_close(theirs, mine, atol=2e-6, rtol=0)
    assert max(float(a.abs().max()) for a in one["alphas"]) > 0.01  # they have moved


@pytest.mark.parametrize("key", list(pair.cases()), ids=" on ".join)
def test_metrics_are_those_of_the_joint_batch(key):
    one, two = (result["metrics"] for result in pair.results()[key])
    assert len(one) == len(two)
    for mine, theirs in zip(one, two, strict=True):
        assert mine.keys() == theirs.keys()
        assert mine.get("images") == theirs.get("images")
        assert mine.get("architecture") == theirs.get("architecture")
        for name in ("train_loss", "valid_loss", "score"):
            assert theirs.get(name, 0) == pytest.approx(mine.get(name, 0), abs=1e-5)


@pytest.mark.slow
def test_a_search_on_two_processes_stops_resumes_and_fails_in_one_sentence(tmp_path):
    """Through the front door, as a user does it: processes are started five times."""
    settings = replace(tiny.SETTINGS, devices=2, epochs=2)

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

    hot = replace(tiny.config("darts"), weights=replace(tiny.config("darts").weights, lr=1e30))
    with pytest.raises(NumericalError) as caught:
        start("hot", config=hot)
    assert "\n" not in str(caught.value)

    with pytest.raises(RunError) as caught:
        start("full", watcher=Breaks(tmp_path / "full"))
    assert "cannot write" in str(caught.value)
    assert "\n" not in str(caught.value)


class Breaks(tiny.Told):
    """Puts a directory where the first checkpoint is to be written."""

    def __init__(self, run: Path) -> None:
        super().__init__()
        self.run = run

    def __call__(self) -> Breaks:
        return self

    def stepped(self, clock) -> None:
        (self.run / "checkpoint.new").mkdir(exist_ok=True)


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
            settings=replace(tiny.SETTINGS, devices=2),
            run=tmp_path / "run",
        )
    assert "\n" not in str(caught.value)
    assert "devices is 2, and an object passed cannot be sent to another process" in str(
        caught.value
    )
