"""Images, signals, scenes and tasks of any data sets keep the promises of `morphogen.testing`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

import scenes
from morphogen.supernets.nested import tensors_of
from morphogen.tasks import Metric, Task
from morphogen.tasks.classification import ImageTask
from morphogen.tasks.cut import Cut
from morphogen.tasks.policies import PolicyConfig
from morphogen.tasks.segmentation import SceneAugment, Scenes, SegmentationTask
from morphogen.tasks.signals import Signals, SignalTask
from morphogen.testing import TaskChecks
from morphogen.testing.toys import images

G = torch.Generator().manual_seed(0)
X = torch.randn(40, 3, generator=G)


def photos() -> Task:
    return ImageTask.of(images(), test=images(40), train_images=60, valid_images=40)


def signals() -> Task:
    g = torch.Generator().manual_seed(1)
    values = torch.randn(80, 2, 16, generator=g)
    held = Signals(values, torch.arange(80) % 4, tuple("abcd"))
    return SignalTask.of(held)


def masks() -> Task:
    """Images whose pixels have classes, and void."""
    held = Scenes.of(*scenes.scenes(24))
    return SegmentationTask.of(held, augment=SceneAugment(crop=0.3))


def table() -> Task:
    """Two outputs, and a metric of which less is better."""
    data = TensorDataset(X, torch.stack([X.sum(1), X.prod(1)], dim=1))
    metric = Metric("mae", "m", higher_is_better=False, of=F.l1_loss)
    return Task(train=data, test=data, loss=F.mse_loss, metric=metric, outputs=2)


class TwoInputs(nn.Module):
    """Adds what it makes of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 3), nn.Linear(1, 3)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.first(a) + self.second(b)


def pairs() -> Task:
    """Items of two inputs, several labels each."""
    items = [((x[:2], x[2:]), (x > 0).float()) for x in X]
    return Task(train=items, loss=F.binary_cross_entropy_with_logits)


def games() -> Task:
    """Examples that are gathered with the network."""
    return PolicyConfig(envs=3, horizon=8, passes=2, episodes=8).make("env:minatar/breakout", Cut())


class Tokens(nn.Module):
    """Scores of the next token by the last one and the first of the source."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.last = nn.Embedding(10, 10), nn.Embedding(10, 10)

    def forward(self, source: Tensor, decoder: Tensor) -> Tensor:
        return self.last(decoder) + self.source(source[:, :1])


NETWORKS: dict[Callable[[], Task], Callable[[], nn.Module]] = {
    photos: lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 4)),
    signals: lambda: nn.Sequential(nn.Flatten(), nn.Linear(32, 4)),
    masks: lambda: nn.Conv2d(3, 3, 3, padding=1),
    table: lambda: nn.Linear(3, 2),
    pairs: TwoInputs,
    games: lambda: nn.Sequential(nn.Flatten(), nn.Linear(400, 7)),
}


@cache
def suite(make: Callable[[], Task]) -> TaskChecks:
    return TaskChecks(make, NETWORKS[make])


@pytest.mark.parametrize("promise", TaskChecks.promises())
@pytest.mark.parametrize("make", NETWORKS)
def test_a_task_keeps_its_promises(make: Callable[[], Task], promise: str) -> None:
    suite(make).check(promise)


@pytest.mark.parametrize("make", [m for m in NETWORKS if m is not games])
def test_a_task_that_is_cut_again_has_the_parts_that_are_asked_for(
    make: Callable[[], Task],
) -> None:
    task = make()
    before = task.contents()
    parts = {part: len(task.examples(part)) for part in ("train", "valid")}
    n = task.with_all().length("pool")
    for share in (0.25, 0.0):
        cut = task.cut(Cut(held_out=share, seed=1))
        found = [len(cut.examples("train")), len(cut.examples("valid")) if share else 0]
        assert found == [n - round(share * n), round(share * n)]
        rows = torch.arange(3)
        whole = cut.batch("pool", cut.rows("train")[rows])
        alone = cut.batch("train", rows)
        pairs = zip(tensors_of(alone.x), tensors_of(whole.x), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert {part: len(task.examples(part)) for part in parts} == parts
    assert task.contents() == before
