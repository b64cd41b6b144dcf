"""The smallest real search: 200 grey images of 8 x 8 pixels, a network of three choices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from morphogen.core import Choice
from morphogen.core.config import from_mapping
from morphogen.engine.search.settings import Settings
from morphogen.spaces import SearchSpace
from morphogen.supernets import NetworkSpec, OneOf
from morphogen.supernets.operations import Noise
from morphogen.tasks.classification import Images, ImageTask
from morphogen.tasks.problem import Problem

CLASSES = 4

BARE = SearchSpace("bare", [Choice("only", ("a", "b"))])
"""A space with no more capabilities than any space has, and no supernet."""

SETTINGS = from_mapping(
    Settings,
    {
        "epochs": 3,
        "steps_per_epoch": 2,
        "batch_size": 16,
        "split": {"train_images": 100, "valid_images": 100},
        "task": {"image_size": 8},
        "network": {"channels": 2, "depth": 1},
        "hardware": {"threads": 1},
        "diagnostics": {"images": 40},
        "evaluation": {"budget": 3},
    },
)
"""Three epochs of two steps, or three evaluations; with these images a fraction of a second."""


def images(count: int = 200) -> Images:
    """Each class has a bright quarter of its own, in noise."""
    g = torch.Generator().manual_seed(5)
    labels = torch.arange(count) % CLASSES
    pixels = torch.randint(0, 120, (count, 1, 8, 8), generator=g)
    for label in range(CLASSES):
        top, left = 4 * (label // 2), 4 * (label % 2)
        pixels[labels == label, :, top : top + 4, left : left + 4] += 100
    return Images(pixels.to(torch.uint8), labels, tuple("abcd"))


def problem(space: Any, seed: int = 0, *, test: bool = False, **spec: Any) -> Problem:
    """What a method sees of a search on these images, without the engine.

    Args:
        space: what is searched.
        seed: of split, weights and streams.
        test: whether the task has a test part.
        **spec: fields of `NetworkSpec` that are other than the smallest.
    """
    held = images() if test else None
    task = ImageTask.of(images(), test=held, train_images=100, valid_images=100, seed=seed)
    sizes = {"channels": 2, "depth": 1, "classes": CLASSES, "in_channels": 1, **spec}
    return Problem(space, task, NetworkSpec(**sizes), batch_size=16, seed=seed)


class ConvBlock(nn.Module):
    """Convolution, batch norm, ReLU at equal size."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Images [n, channels, h, w] to as many of the same size."""
        y: Tensor = self.norm(self.conv(x))
        return y.relu()


class Separable(nn.Module):
    """Depthwise and pointwise convolution, batch norm, ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depth = nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False)
        self.point = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Images [n, channels, h, w] to as many of the same size."""
        y: Tensor = self.norm(self.point(self.depth(x)))
        return y.relu()


class OwnNetwork(nn.Module):
    """A network in the way users write them: `OneOf` is the only trace of us.

    Three choices, 3 x 3 x 2 = 18 architectures, between a stem and a classifier.

    Takes images [batch, in_channels, 16, 16] (any even size), returns scores [batch, classes].
    """

    def __init__(self, in_channels: int = 3, classes: int = 10, channels: int = 8) -> None:
        super().__init__()
        c = channels
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, c, 3, padding=1, bias=False), nn.BatchNorm2d(c), nn.ReLU()
        )
        self.block1 = OneOf(
            {"conv3": ConvBlock(c, 3), "separable": Separable(c), "skip": nn.Identity()},
            name="block1",
        )
        self.down = nn.Sequential(
            nn.Conv2d(c, 2 * c, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(2 * c)
        )
        self.block2 = OneOf(
            {"conv3": ConvBlock(2 * c, 3), "separable": Separable(2 * c), "skip": nn.Identity()},
            name="block2",
        )
        self.pool = OneOf(
            {"average": nn.AdaptiveAvgPool2d(1), "max": nn.AdaptiveMaxPool2d(1)}, name="pool"
        )
        self.classifier = nn.Linear(2 * c, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of images."""
        x = self.block1(self.stem(x))
        x = x + 0.1 * x.mean()  # an operation between choices that no graph of cells could hold
        x = self.block2(self.down(x).relu())
        scores: Tensor = self.classifier(self.pool(x).flatten(1))
        return scores


def own() -> OwnNetwork:
    """A user's module with batch norms, always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return OwnNetwork(1, CLASSES, channels=4)


class Scaled(nn.Module):
    """tanh(c x) with a trainable c: an option without a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.7))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return torch.tanh(self.scale * x)


class Drawing(nn.Module):
    """A network whose layers draw: dropout in training, noise always. No layer mixes images.

    Args:
        activation: between the layers.
    """

    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.activation = activation
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.block = OneOf(
            {
                "conv": nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Dropout(0.2)),
                "noise": Noise(1),
                "tanh": Scaled(),
            },
            name="block",
        )
        self.head = OneOf({"one": nn.Linear(4, CLASSES), "two": nn.Linear(4, CLASSES)}, name="head")

    def forward(self, x: Tensor) -> Tensor:
        """Scores of images."""
        x = nn.functional.dropout(self.activation(self.stem(x)), 0.2, self.training)
        x = nn.functional.avg_pool2d(self.activation(self.block(x)), 4)
        scores: Tensor = self.head(x.mean((2, 3)))
        return scores


def drawing(activation: Callable[[Tensor], Tensor] = nn.functional.relu) -> Drawing:
    """A `Drawing`, always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return Drawing(activation)
