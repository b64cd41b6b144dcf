"""Tasks of a user's own and modules for them; nothing here is a test. Other processes import it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_diabetes
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

import morphogen
from morphogen import Metric, OneOf, Task


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """The module with the same weights always."""
    torch.manual_seed(0)
    return make()


def absolute(output: Tensor, y: Tensor) -> Tensor:
    """Of each example, in points of the disease's progression."""
    return 100 * (output - y).abs().mean(1)


def table(**options: Any) -> Task:
    """Regression on scikit-learn's diabetes data, less is better."""
    x, y = (torch.from_numpy(np.asarray(a)).float() for a in load_diabetes(return_X_y=True))
    x, y = 20 * x, y[:, None] / 100
    mae = Metric("mae", "points", higher_is_better=False, of=absolute)
    return Task(
        **{
            "train": TensorDataset(x[:300], y[:300]),
            "test": TensorDataset(x[300:], y[300:]),
            "loss": F.mse_loss,
            "metric": mae,
            "name": "diabetes",
            **options,
        }
    )


def layers(inputs: int, outputs: int) -> nn.Module:
    """Two choices between linear layers."""
    first = {"relu": nn.ReLU(), "tanh": nn.Tanh()}
    second = {
        "layer": nn.Sequential(nn.Linear(24, 24), nn.ReLU(), nn.Dropout(0.1)),
        "none": nn.Identity(),
    }
    return nn.Sequential(
        nn.Linear(inputs, 24),
        OneOf(first, name="first"),
        OneOf(second, name="second"),
        nn.Linear(24, outputs),
    )


class Sentences:
    """Tokens 1 to 19 in sentences of 3 to 12; the label says whether 7 is among them."""

    def __init__(self, count: int, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        lengths = torch.randint(3, 13, (count,), generator=draw).tolist()
        self.texts = [torch.randint(1, 20, (length,), generator=draw) for length in lengths]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, i: int) -> Any:
        return self.texts[i], int((self.texts[i] == 7).any())


def padded(items: list[Any]) -> Any:
    tokens = nn.utils.rnn.pad_sequence([text for text, _ in items], batch_first=True)
    return {"tokens": tokens, "padding": tokens == 0}, torch.tensor([label for _, label in items])


def right(output: Tensor, y: Tensor) -> Tensor:
    return 100.0 * (output.argmax(1) == y)


class Encoder(nn.Module):
    """A small Transformer encoder whose average over the tokens is classified."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, width, padding_idx=0)
        self.attention = nn.TransformerEncoderLayer(width, 2, 16, dropout=0.0, batch_first=True)
        relu = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.mix = OneOf({"none": nn.Identity(), "relu": relu}, name="mix")
        self.head = nn.Linear(width, 2)

    def forward(self, tokens: Tensor, padding: Tensor) -> Tensor:
        x = self.attention(self.embedding(tokens), src_key_padding_mask=padding)
        x = self.mix(x).masked_fill(padding[..., None], 0.0)
        return self.head(x.sum(1) / (~padding).sum(1, keepdim=True))


def sequences() -> Task:
    accuracy = Metric("accuracy", "%", of=right)
    return Task(
        train=Sentences(160, 0),
        test=Sentences(60, 1),
        loss=F.cross_entropy,
        metric=accuracy,
        collate=padded,
        name="sentences",
    )


def waves(count: int, seed: int) -> TensorDataset:
    draw = torch.Generator().manual_seed(seed)
    frequency = 1 + 4 * torch.rand(count, 1, generator=draw)
    return TensorDataset(torch.sin(frequency * torch.linspace(0, 6, 48))[:, None], frequency)


def signals() -> Task:
    """The frequency of a wave; the metric is the loss."""
    return Task(train=waves(160, 0), test=waves(60, 1), loss=F.l1_loss, name="waves")


def convolutions() -> nn.Module:
    filters = {f"of{k}": nn.Conv1d(1, 6, k, padding=k // 2) for k in (3, 9)}
    pooled = (nn.BatchNorm1d(6), nn.ReLU(), nn.AdaptiveAvgPool1d(4), nn.Flatten())
    return nn.Sequential(OneOf(filters, name="filter"), *pooled, nn.Linear(24, 1))


class Houses:
    """A picture and three numbers of each, and a price made of both."""

    def __init__(self, count: int, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.pictures = torch.rand(count, 1, 6, 6, generator=draw)
        self.facts = torch.rand(count, 3, generator=draw)
        self.prices = 8 * self.pictures.mean((1, 2, 3)) + self.facts.sum(1)

    def __len__(self) -> int:
        return len(self.prices)

    def __getitem__(self, i: int) -> Any:
        return (self.pictures[i], self.facts[i]), self.prices[i : i + 1]


class Both(nn.Module):
    """A network of a picture and of numbers."""

    def __init__(self) -> None:
        super().__init__()
        deep = nn.Sequential(nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, 8))
        self.picture = OneOf({"linear": nn.Linear(36, 8), "deep": deep}, name="picture")
        self.facts, self.head = nn.Linear(3, 8), nn.Linear(16, 1)

    def forward(self, picture: Tensor, facts: Tensor) -> Tensor:
        both = torch.cat([self.picture(picture.flatten(1)), self.facts(facts)], dim=1)
        return self.head(both.relu())


def pairs() -> Task:
    return Task(train=Houses(160, 0), test=Houses(60, 1), loss=F.mse_loss, name="houses")


class Signed:
    """Of ten numbers the first, and whether the second is positive."""

    def __init__(self, count: int, seed: int) -> None:
        self.x = torch.randn(count, 10, generator=torch.Generator().manual_seed(seed))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Any:
        return self.x[i], {"number": self.x[i, :1], "sign": int(self.x[i, 1] > 0)}


class Heads(nn.Module):
    """A network with two outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.body = layers(10, 8)
        self.number, self.sign = nn.Linear(8, 1), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.body(x).relu()
        return {"number": self.number(x), "sign": self.sign(x)}


def both(output: dict[str, Tensor], y: dict[str, Tensor]) -> Tensor:
    number = F.mse_loss(output["number"], y["number"])
    return number + F.cross_entropy(output["sign"], y["sign"])


def heads() -> Task:
    return Task(train=Signed(160, 0), test=Signed(60, 1), loss=both, name="signed")


class Tags(Task):
    """Labels of which several may hold, weighted for training, judged by F1 over all of them."""

    metric = Metric("f1", "%")

    def counts(self, output: Tensor, y: Tensor) -> dict[str, Tensor]:
        said, true = output > 0, y > 0.5
        held = {"right": said & true, "said": said, "true": true}
        return {name: hits.sum().double() for name, hits in held.items()}

    def value(self, sums: Any) -> float:
        return float(200 * sums["right"] / (sums["said"] + sums["true"]).clamp(min=1))


def tagged(count: int, seed: int) -> TensorDataset:
    x = torch.randn(count, 10, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, (x[:, :3] + x[:, 3:6] > 1).float())


def labels() -> Task:
    weighted = nn.BCEWithLogitsLoss(pos_weight=torch.full((3,), 3.0))
    return Tags(
        train=tagged(160, 0),
        test=tagged(60, 1),
        loss=nn.BCEWithLogitsLoss(),
        train_loss=weighted,
        name="tags",
    )


TASKS: dict[str, tuple[Callable[[], Task], Callable[[], nn.Module]]] = {
    "table": (table, lambda: layers(10, 1)),
    "sequences": (sequences, Encoder),
    "signals": (signals, convolutions),
    "two inputs": (pairs, Both),
    "two outputs": (heads, Heads),
    "labels": (labels, lambda: layers(10, 3)),
}
"""By kind: the task and a module to search."""

SETTINGS = {"batch_size": 16, "steps_per_epoch": 2, "hardware": {"threads": 1}}
TRAINING = {"batch_size": 32, "hardware": {"threads": 1}}


def search(method: str, kind: str, run: Any, **settings: Any) -> morphogen.SearchResult:
    """A tiny search for the task of a kind."""
    task, module = TASKS[kind]
    held = morphogen.Settings(**{**SETTINGS, **settings})
    return morphogen.search(method, space=seeded(module), task=task(), settings=held, run=run)
