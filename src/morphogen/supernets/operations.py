"""Operations and blocks of the DARTS space as plain modules, and a quick depthwise convolution.

Composition, strides and norms as in the authors' cnn/operations.py and model.py (Liu, Simonyan and
Yang, ICLR 2019, arXiv 1806.09055). Convolutions have no bias. Batch norms are not affine in a
supernet and affine in a stand-alone network, where pools have none at all.

`depthwise` is for the CPU: oneDNN computes the weight gradient of a depthwise kernel more than
three columns wide some ten times slower than that of a narrow one, and both gradients of a dilated
one slower still. The first is avoided by cutting a 5x5 kernel in two for the gradient only; the
second by `split_phases`, on which a convolution of dilation 2 is one of dilation 1. Signals as
images of one row (`dimensions.ROWS`) have kernels of one row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.core import ConfigError, DataError, UnknownNameError
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
        return torch.randn(strided(x, self.stride).shape, dtype=x.dtype, device=x.device)


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


# -- quick depthwise convolution -----------------------------------------------------------------


def split_phases(x: Tensor, *, rows: bool = False) -> Tensor:
    """The four grids of every second pixel of `x`, as more samples; h and w must be even.

    A k x k convolution of dilation 2 and same padding on `x` is the one of dilation 1 on this.

    Args:
        x: [n, c, h, w].
        rows: `x` are signals as images of one row, of which there are two grids; w must be even.

    Returns:
        [4n, c, h / 2, w / 2], channels-last; of rows [2n, c, 1, w / 2].
    """
    n, c, h, w = x.shape
    k = 1 if rows else 2
    grid = x.permute(0, 2, 3, 1).reshape(n, h // k, k, w // 2, 2, c)
    split = grid.permute(0, 2, 4, 1, 3, 5).reshape(2 * k * n, h // k, w // 2, c)
    return split.permute(0, 3, 1, 2)


def join_phases(x: Tensor, *, rows: bool = False) -> Tensor:
    """Inverse of `split_phases`: [4n, c, h / 2, w / 2] -> [n, c, h, w], channels-last."""
    m, c, h, w = x.shape
    k = 1 if rows else 2
    n = m // (2 * k)
    grid = x.permute(0, 2, 3, 1).reshape(n, k, 2, h, w, c)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(n, k * h, 2 * w, c).permute(0, 3, 1, 2)


def depthwise(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """F.conv2d, depthwise with same padding, with a quick weight gradient; twice differentiable.

    Args:
        x: channels-last [n, c, h, w].
        weight: [c, 1, k, k], k odd; or [c, 1, 1, k], on images of one row, which stay one.
        stride: 1 or 2.
    """
    kind = x.device.type
    if torch.is_autocast_enabled(kind) and x.dtype != torch.float64:
        low = torch.get_autocast_dtype(kind)
        # oneDNN has no quick gradients of a strided depthwise convolution in bfloat16.
        low = torch.float32 if stride > 1 and kind == "cpu" else low
        with torch.autocast(kind, enabled=False):
            return _depthwise(x.to(low), weight.to(low), stride)
    return _depthwise(x, weight, stride)


def _depthwise(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    quick = weight.shape[-1] == SLOW and x.device.type == "cpu" and torch.is_grad_enabled()
    if not (quick and weight.requires_grad):
        return F.conv2d(x, weight, None, *_steps(weight.shape, stride), 1, x.shape[1])
    # Two nodes of the graph, so that a pass that asks for no weight gradient computes none: torch
    # skips whole nodes, but computes everything that a hand-written one returns. The tensors that
    # a node needs but has no gradient for are held, not passed: no edge of the graph leads there.
    result: Tensor = _ByInput.apply(x, _Held(weight), stride)  # type: ignore[no-untyped-call]
    tap = _ByWeight.apply(weight, _Held(x), stride, result.shape)  # type: ignore[no-untyped-call]
    joined: Tensor = _Join.apply(result, tap)  # type: ignore[no-untyped-call]
    return joined


SLOW = 5
"""Kernel size whose weight gradient oneDNN computes slowly: more than three columns."""


def _steps(kernel: torch.Size, stride: int) -> tuple[list[int], list[int]]:
    """Strides and same padding for a kernel [c, 1, height, width], down and along."""
    high, wide = kernel[2:]
    return [stride if high > 1 else 1, stride], [high // 2, wide // 2]


class _Held:
    """A tensor that autograd does not look into."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class _ByInput(torch.autograd.Function):
    """The convolution; knows the gradient of its input only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: _Held, stride: int) -> Tensor:
        ctx.weight, ctx.stride, ctx.shape = weight, stride, x.shape
        kernel = weight.tensor
        return F.conv2d(x, kernel, None, *_steps(kernel.shape, stride), 1, x.shape[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        kernel = ctx.weight.tensor
        # Only shape and layout of the input matter.
        like = torch.empty(
            ctx.shape, dtype=grad.dtype, device=grad.device, memory_format=torch.channels_last
        )
        return _backward(grad, like, kernel, *_steps(kernel.shape, ctx.stride), 0), None, None


class _ByWeight(torch.autograd.Function):
    """Zeros of the result's shape; knows the gradient of the weight."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: _Held, stride: int, shape: torch.Size) -> Tensor:
        ctx.x, ctx.stride, ctx.kernel = x, stride, weight.shape
        return weight.new_zeros(()).expand(shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        # A 5x5 kernel is two 5x3 kernels that share a column, on images padded on one side.
        # Likewise 1x5 and 1x3.
        x, high = ctx.x.tensor, ctx.kernel[2]
        strides, (pad, _) = _steps(ctx.kernel, ctx.stride)
        kernel = grad.new_empty(()).expand(x.shape[1], 1, high, 3)
        # Padding belongs to the images, too, where they are lower than the kernel: slow otherwise.
        above = pad if x.shape[2] < high else 0
        left, right = (
            _backward(grad, F.pad(x, (*sides, above, above)), kernel, strides, [pad - above, 0], 1)
            for sides in ((2, 0), (0, 2))
        )
        return torch.cat([left, right[..., 1:]], -1), None, None, None


class _Join(torch.autograd.Function):
    """The first tensor; its gradient goes to both."""

    @staticmethod
    def forward(ctx: Any, result: Tensor, tap: Tensor) -> Tensor:
        return result.view_as(result)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        return grad, grad


def _backward(
    grad: Tensor, x: Tensor, kernel: Tensor, stride: list[int], padding: list[int], which: int
) -> Tensor:
    """Gradient of a depthwise convolution: of its input (`which` 0) or its weight (1)."""
    mask = [which == 0, which == 1, False]
    found = torch.ops.aten.convolution_backward(
        grad, x, kernel, None, stride, padding, [1, 1], False, [0, 0], x.shape[1], mask
    )
    result: Tensor = found[which]
    return result
