"""A user's own small network, in the way users write them: the choices are the only trace of us."""

from __future__ import annotations

from torch import Tensor, nn

from morphogen import OneOf


class ConvBlock(nn.Module):
    """Convolution, batch norm, ReLU at equal size."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu()


class Separable(nn.Module):
    """Depthwise and pointwise convolution, batch norm, ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depth = nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False)
        self.point = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.point(self.depth(x))).relu()


class OwnNetwork(nn.Module):
    """Three choices (3 x 3 x 2 = 18 architectures) between a stem and a classifier.

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
        x = self.block1(self.stem(x))
        x = x + 0.1 * x.mean()  # an operation between choices that no graph of cells could hold
        x = self.block2(self.down(x).relu())
        return self.classifier(self.pool(x).flatten(1))
