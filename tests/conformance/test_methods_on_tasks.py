"""Every method searches a task of one's own: inputs by name, several labels, an error metric."""

import math

import pytest
import torch
from torch import Tensor, nn

import tiny
from morphogen import Metric, OneOf, Settings, Task
from morphogen.core import DataError
from morphogen.engine.search.search import search
from morphogen.methods import find, methods

N = 60
G = torch.Generator().manual_seed(0)
LEFT, RIGHT = torch.randn(N, 4, generator=G), torch.randn(N, 3, generator=G)
LABELS = torch.stack([LEFT[:, 0] > 0, RIGHT[:, 1] > 0], 1).float()


def wrong(output: Tensor, y: Tensor) -> Tensor:
    return ((output > 0) != (y > 0)).float().mean(1)


class Pairs:
    """Items of two inputs by name, and several labels."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, i: int):
        if i >= N:
            raise IndexError(i)
        return {"left": LEFT[i], "right": RIGHT[i]}, LABELS[i]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        deep = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 24))
        self.first = OneOf({"linear": nn.Linear(4, 24), "deep": deep}, name="first")
        self.other, self.norm = nn.Linear(3, 24), nn.BatchNorm1d(24)
        self.act = OneOf({"relu": nn.ReLU(), "leaky": nn.LeakyReLU()}, name="act")
        self.head = nn.Linear(24, 2)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.head(self.act(self.norm(self.first(left) + self.other(right))))


def net() -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Net()


def task() -> Task:
    metric = Metric("hamming", "", higher_is_better=False, of=wrong)
    return Task(train=Pairs(), test=Pairs(), loss=nn.BCEWithLogitsLoss(), metric=metric)


@pytest.mark.parametrize("name", sorted(methods()))
def test_every_method_searches_it_and_records_its_metric(name, tmp_path):
    settings = Settings(
        epochs=1,
        steps_per_epoch=2,
        batch_size=8,
        hardware={"threads": 1},
        diagnostics={"images": 16},
        evaluation={"budget": 3},
    )
    held = task()
    found = search(
        tiny.config(name), space=net(), task=held, settings=settings, run=tmp_path / "run"
    )
    assert found.space.format(found.architecture) == found.text
    assert len(held.test_openings) == find(name).delivers_in(found.space)
    if name != "zero-cost-pt":  # it trains nothing and measures nothing
        values = [v for row in found.history for k, v in row.items() if "hamming" in k]
        assert values
        assert all(0 <= v <= 1 for v in values)
    scores = [row["score"] for row in found.history if "score" in row]
    assert all(score <= 0 and math.isfinite(score) for score in scores)  # less is better
    with held.sealed("the search"), pytest.raises(DataError, match="is closed"):
        held.open_test("to cheat")
