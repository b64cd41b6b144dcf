"""Operations and blocks of the DARTS space as plain modules.

Composition, strides and norms as in the authors' cnn/operations.py and model.py (Liu, Simonyan and
Yang, ICLR 2019, arXiv 1806.09055). Convolutions have no bias. Batch norms are not affine in a
supernet and affine in a stand-alone network, where pools have none at all.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.core import ConfigError, DataError, UnknownNameError
from morphogen.supernets import fused
from morphogen.supernets.dimensions import IMAGES, Dimensions


class ReLUConvBN(nn.Module):
    """ReLU, 1x1 convolution, batch norm.

    Args:
        c_in: input channels.
        c_out: output channels.
        affine: whether the batch norm has scale and shift.
        dims: for images or signals.
    """

    def __init__(self, c_in: int, c_out: int, *, affine: bool, dims: Dimensions = IMAGES) -> None:
        super().__init__()
        self.conv = dims.conv(c_in, c_out, 1)
        self.norm = dims.norm(c_out, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """[n, c_in, h, w] -> [n, c_out, h, w]."""
        result: Tensor = self.norm(self.conv(F.relu(x)))
        return result


class FactorizedReduce(nn.Module):
    """ReLU, two 1x1 convolutions of stride 2 (the second a pixel further), concatenation, norm.

    Args:
        c_in: input channels.
        c_out: output channels, even.
        affine: whether the batch norm has scale and shift.
        dims: for images or signals.

    Raises:
        ConfigError: `c_out` is odd.
    """

    def __init__(self, c_in: int, c_out: int, *, affine: bool, dims: Dimensions = IMAGES) -> None:
        super().__init__()
        if c_out % 2:
            raise ConfigError(
                f"channels {c_out}: a cell that halves the image needs an even number"
            )
        self.dims = dims
        self.conv_a = dims.conv(c_in, c_out // 2, 1, stride=2)
        self.conv_b = dims.conv(c_in, c_out // 2, 1, stride=2)
        self.norm = dims.norm(c_out, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """[n, c_in, h, w] -> [n, c_out, h / 2, w / 2]; a `DataError` if h or w is odd.

        A signal may have an odd length: it is taken to end with one zero more.
        """
        result: Tensor = self.norm(self.convolve(F.relu(x)))
        return result

    def convolve(self, active: Tensor) -> Tensor:
        """The part between ReLU and norm."""
        if self.dims.spatial == 1:
            further = F.pad(active[..., 1:], (0, active.shape[-1] % 2))
            return torch.cat([self.conv_a(active), self.conv_b(further)], 1)
        if active.shape[2] % 2 or active.shape[3] % 2:
            raise DataError(
                f"features of {active.shape[2]}x{active.shape[3]} pixels cannot be halved; "
                "accepted by the DARTS space: image height and width that are multiples of 4"
            )
        return torch.cat([self.conv_a(active), self.conv_b(active[:, :, 1:, 1:])], 1)


class SepConv(nn.Module):
    """Twice: ReLU, depthwise k x k convolution, 1x1 convolution, norm; the first may stride.

    Args:
        channels: input and output channels.
        size: k, odd; the image keeps its size at stride 1.
        stride: of the first depthwise convolution.
        affine: whether batch norms have scale and shift.
        dims: for images or signals.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        stride: int,
        *,
        affine: bool,
        dims: Dimensions = IMAGES,
    ) -> None:
        super().__init__()
        self.depthwise1 = dims.conv(channels, channels, size, stride=stride, groups=channels)
        self.pointwise1 = dims.conv(channels, channels, 1)
        self.norm1 = dims.norm(channels, affine=affine)
        self.depthwise2 = dims.conv(channels, channels, size, groups=channels)
        self.pointwise2 = dims.conv(channels, channels, 1)
        self.norm2 = dims.norm(channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] -> [n, channels, h / stride, w / stride]."""
        x = self.norm1(self.pointwise1(self.depthwise1(F.relu(x))))
        result: Tensor = self.norm2(self.pointwise2(self.depthwise2(F.relu(x))))
        return result


class DilConv(nn.Module):
    """ReLU, depthwise k x k convolution of dilation 2, 1x1 convolution, norm.

    Args:
        channels: input and output channels.
        size: k, odd; the image keeps its size at stride 1.
        stride: of the depthwise convolution.
        affine: whether the batch norm has scale and shift.
        dims: for images or signals.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        stride: int,
        *,
        affine: bool,
        dims: Dimensions = IMAGES,
    ) -> None:
        super().__init__()
        self.depthwise = dims.conv(
            channels, channels, size, stride=stride, dilation=2, groups=channels
        )
        self.pointwise = dims.conv(channels, channels, 1)
        self.norm = dims.norm(channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] -> [n, channels, h / stride, w / stride]."""
        result: Tensor = self.norm(self.pointwise(self.depthwise(F.relu(x))))
        return result


class Pool(nn.Module):
    """3x3 pooling, maximum or average (padding not counted), with or without batch norm.

    Args:
        kind: "max" or "avg".
        stride: 1 or 2.
        norm: a batch norm (supernets, never affine), or None (stand-alone networks).
        dims: for images or signals.
    """

    def __init__(
        self, kind: str, stride: int, norm: nn.Module | None, dims: Dimensions = IMAGES
    ) -> None:
        super().__init__()
        self.pool = (dims.max_pool if kind == "max" else dims.avg_pool)(3, stride, 1)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] -> [n, channels, h / stride, w / stride]."""
        x = self.pool(x)
        return x if self.norm is None else self.norm(x)


class Zero(nn.Module):
    """Zeros of the (strided) input's shape, whatever the input: no NaN passes through it.

    Args:
        stride: 1 or 2.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] -> [n, channels, h / stride, w / stride]."""
        return torch.zeros_like(strided(x, self.stride))


class Noise(nn.Module):
    """S4's operation: fresh standard normal noise of the (strided) input's shape, also in eval.

    Drawn from torch's default generator of the input's device, whose state a checkpoint must hold
    for a resumed run to be the same.

    Args:
        stride: 1 or 2.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] -> [n, channels, h / stride, w / stride]."""
        # One order of numbers, whatever the memory layout of the input.
        drawn = torch.randn(strided(x, self.stride).shape, dtype=x.dtype, device=x.device)
        return fused.quick_layout(drawn)


def strided(x: Tensor, stride: int) -> Tensor:
    """Every `stride`-th pixel of images [n, c, h, w], or point of time of signals [n, c, t]."""
    return x[:, :, ::stride, ::stride] if x.ndim == 4 else x[:, :, ::stride]


def drop_path(x: Tensor, probability: float) -> Tensor:
    """`x` with whole samples set to zero at `probability`, the others scaled to keep the mean."""
    if not 0.0 <= probability < 1.0:
        raise ConfigError(f"drop_path {probability}: accepted are 0 <= drop_path < 1")
    if probability == 0.0:
        return x
    kept = torch.rand((len(x), *[1] * (x.ndim - 1)), device=x.device) >= probability
    return x * (kept.to(x.dtype) / (1.0 - probability))


# -- by name -----------------------------------------------------------------------------------


def _pool(kind: str) -> Callable[..., nn.Module]:
    def build(channels: int, stride: int, *, affine: bool, dims: Dimensions) -> nn.Module:
        return Pool(kind, stride, None if affine else dims.norm(channels, affine=False), dims)

    return build


def _sep(size: int) -> Callable[..., nn.Module]:
    def build(channels: int, stride: int, *, affine: bool, dims: Dimensions) -> nn.Module:
        return SepConv(channels, size, stride, affine=affine, dims=dims)

    return build


def _dil(size: int) -> Callable[..., nn.Module]:
    def build(channels: int, stride: int, *, affine: bool, dims: Dimensions) -> nn.Module:
        return DilConv(channels, size, stride, affine=affine, dims=dims)

    return build


def _skip(channels: int, stride: int, *, affine: bool, dims: Dimensions) -> nn.Module:
    if stride == 1:
        return nn.Identity()
    return FactorizedReduce(channels, channels, affine=affine, dims=dims)


BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "none": lambda channels, stride, **_: Zero(stride),
    "max_pool_3x3": _pool("max"),
    "avg_pool_3x3": _pool("avg"),
    "skip_connect": _skip,
    "sep_conv_3x3": _sep(3),
    "sep_conv_5x5": _sep(5),
    "sep_conv_7x7": _sep(7),
    "dil_conv_3x3": _dil(3),
    "dil_conv_5x5": _dil(5),
    "noise": lambda channels, stride, **_: Noise(stride),
}
"""Operation name -> builder(channels, stride, affine=, dims=)."""


def operation(
    name: str, channels: int, stride: int, *, affine: bool, dims: Dimensions = IMAGES
) -> nn.Module:
    """The module of one operation, channels in = channels out.

    Args:
        name: a key of `BUILDERS`; an `UnknownNameError` names the nearest otherwise.
        channels: of input and output.
        stride: 1 or 2.
        affine: False in supernets (norms without scale and shift, and norms after pools), True in
            stand-alone networks (norms with both, none after pools).
        dims: for images or signals.
    """
    if name not in BUILDERS:
        raise UnknownNameError("operation", name, BUILDERS)
    return BUILDERS[name](channels, stride, affine=affine, dims=dims)
