"""What a reader of the engine finds: few calls from data to a gradient, and no text read twice."""

import sys

import torch
from torch import nn
from torch.utils.data import TensorDataset

import morphogen
import tiny
from morphogen.spaces.nasbench201 import NASBench201


def called(frame):
    """Functions of the package around a frame, the outermost first."""
    names = []
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("morphogen."):
            names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names[::-1]


def test_six_calls_from_the_data_to_the_gradient_of_alpha(tmp_path):
    chains = []

    def loss(output, y):
        chains.append(called(sys._getframe()))
        return nn.functional.cross_entropy(output, y)

    g = torch.Generator().manual_seed(0)
    pairs = TensorDataset(torch.randn(64, 1, 8, 8, generator=g), torch.arange(64) % 4)
    task = morphogen.Task(train=pairs, loss=loss, outputs=4)
    settings = morphogen.Settings(
        epochs=1,
        steps_per_epoch=1,
        batch_size=8,
        network={"channels": 2},
        hardware={"threads": 1},
        diagnostics={"images": 0},
    )
    morphogen.search("darts", task=task, settings=settings, run=tmp_path / "run")
    (chain,) = {tuple(c[: c.index("first_order") + 1]) for c in chains if "first_order" in c}
    assert chain[:4] == ("search", "run_job", "run_steps", "step")
    assert len(chain) <= 6


class Counting(NASBench201):
    """Counts how often a text is read."""

    parsed = 0

    def parse(self, text):
        type(self).parsed += 1
        return super().parse(text)


def test_a_run_reads_no_text_of_an_architecture_that_it_derived(tmp_path):
    result = morphogen.search(
        tiny.config("gdas"),
        space=Counting(),
        data=tiny.images(),
        settings=tiny.SETTINGS,
        run=tmp_path / "run",
    )
    assert len(result.history) == 3
    assert Counting.parsed == 0
