"""Convolutions as torch's, with a quick weight gradient where that of a depthwise one is slow.

And with a right one where oneDNN's writes past its memory (`guarded`).

On a CPU with AVX-512 oneDNN computes the weight gradient of a depthwise kernel more than three
columns wide some ten times slower than that of a narrow one (with AVX2 it is as quick), that of a
dilated one slower still, and none of them is quick where the image is lower than the kernel; of a
dilated one the input's gradient is slow, too.
So where there will be a gradient

- that of a kernel is put together from those of narrow ones: of 5x5 from two of 5x3;
- a convolution of dilation 2 becomes one of dilation 1 on the grids of every second pixel
  (`split_phases`);
- padding is made part of the image where it is in the way.

Kernels of one row are those of signals as images of one row (`dimensions.ROWS`).
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class Conv2d(nn.Conv2d):
    """nn.Conv2d; a depthwise one without bias that keeps the image's size is as `depthwise`.

    One of a single pixel and a stride is as `guarded`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._depthwise = _is_depthwise(self)

    def forward(self, x: Tensor) -> Tensor:
        """[n, c_in, h, w] -> [n, c_out, h / stride, w / stride]."""
        if not self._depthwise or x.ndim != 4:
            return super().forward(without_unseen(self, x))
        steps = list(self.stride), _sides(self), list(self.dilation)
        return _depthwise(x, self.weight, steps)


class Conv1d(nn.Conv1d):
    """nn.Conv1d; as `Conv2d`, on images of one row."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._depthwise = _is_depthwise(self)

    def forward(self, x: Tensor) -> Tensor:
        """[n, c_in, t] -> [n, c_out, t / stride]."""
        if not self._depthwise or x.ndim != 3:
            return super().forward(x)
        steps = [1, *self.stride], [0, *_sides(self)], [1, *self.dilation]
        return _depthwise(x.unsqueeze(2), self.weight.unsqueeze(2), steps).squeeze(2)


def guarded(net: ModuleT) -> ModuleT:
    """`net`, each convolution of which takes its images without the pixels it does not see.

    The weight gradient that oneDNN has for a 1x1 convolution with a stride and few channels writes
    past its memory (github.com/uxlfoundation/oneDNN/issues/6035): it crashes or is wrong. It is not
    taken for images that end with the last pixel seen.
    """
    for module in net.modules():
        # Not those that compute in a way of their own; ours do it themselves.
        if type(module).forward is nn.Conv2d.forward and _skips(cast(nn.Conv2d, module)):
            module.register_forward_pre_hook(_without_unseen, with_kwargs=True)
    return net


def _without_unseen(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    conv = cast(nn.Conv2d, module)
    if args:
        args = without_unseen(conv, args[0]), *args[1:]
    elif "input" in kwargs:
        kwargs = kwargs | {"input": without_unseen(conv, kwargs["input"])}
    return args, kwargs


def without_unseen(module: nn.Conv2d, x: Tensor) -> Tensor:
    """[n, c, h, w] without the last rows and columns, if they are between the pixels it sees.

    Where this changes what oneDNN does; other images are returned as they are.
    """
    if x.ndim != 4 or not (_skips(module) and _has_gradients(x)):
        return x
    high, wide = (
        (n - 1) // step * step + 1 for n, step in zip(x.shape[2:], module.stride, strict=True)
    )
    return x[:, :, :high, :wide]


BLOCK = 16
"""Channels that oneDNN takes together at most: 8 with AVX2, 16 with AVX-512."""


def _skips(module: nn.Conv2d) -> bool:
    """Whether it is a 1x1 convolution of few channels that does not see every pixel."""
    return (
        module.in_channels < BLOCK  # a lazy one does not know yet, and says 0
        and module.kernel_size == (1, 1)
        and max(module.stride) > 1
        and module.groups == 1
        and module.padding in ((0, 0), "valid")
    )


def _is_depthwise(module: nn.Conv1d | nn.Conv2d) -> bool:
    """Whether it is a depthwise convolution of same padding, without bias."""
    return (
        module.groups == module.in_channels == module.out_channels
        and module.bias is None
        and module.padding == tuple(_sides(module))
        and module.padding_mode == "zeros"
        and all(k % 2 for k in module.kernel_size)
    )


def _sides(module: nn.Conv1d | nn.Conv2d) -> list[int]:
    """Same padding."""
    return [d * (k // 2) for d, k in zip(module.dilation, module.kernel_size, strict=True)]


_Steps = tuple[list[int], list[int], list[int]]
"""Strides, padding and dilation of a convolution, down and along."""


def depthwise(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """F.conv2d, depthwise with same padding, with a quick weight gradient; twice differentiable.

    Args:
        x: [n, c, h, w]; channels-last is quickest.
        weight: [c, 1, k, k], k odd; or [c, 1, 1, k], on images of one row, which stay one.
        stride: 1 or 2.
    """
    high, wide = weight.shape[2:]
    return _depthwise(x, weight, ([min(stride, high), stride], [high // 2, wide // 2], [1, 1]))


def _depthwise(x: Tensor, weight: Tensor, steps: _Steps) -> Tensor:
    on_cpu = x.device.type == "cpu"
    if on_cpu and torch.is_autocast_enabled("cpu") and x.dtype != torch.float64:
        # oneDNN has no quick gradients of a strided depthwise convolution in bfloat16.
        low = torch.float32 if max(steps[0]) > 1 else torch.get_autocast_dtype("cpu")
        with torch.autocast("cpu", enabled=False):
            return _convolved(x.to(low), weight.to(low), steps)
    return _convolved(x, weight, steps)


def _convolved(x: Tensor, weight: Tensor, steps: _Steps) -> Tensor:
    if not (weight.requires_grad and _by_hand(x) and _slow(x, weight, steps)):
        return F.conv2d(x, weight, None, *steps, x.shape[1])
    if steps[2][1] == 2:
        return _on_every_second(x, weight, steps)
    # Two nodes of the graph, so that a pass that asks for no weight gradient computes none: torch
    # skips whole nodes, but computes everything that a hand-written one returns. The tensors that
    # a node needs but has no gradient for are held, not passed: no edge of the graph leads there.
    result: Tensor = _ByInput.apply(x, _Held(weight), steps)  # type: ignore[no-untyped-call]
    tap = _ByWeight.apply(weight, _Held(x), steps, result.shape)  # type: ignore[no-untyped-call]
    joined: Tensor = _Join.apply(result, tap)  # type: ignore[no-untyped-call]
    return joined


def _on_every_second(x: Tensor, weight: Tensor, steps: _Steps) -> Tensor:
    """A convolution of dilation 2 as one without dilation."""
    high, wide = weight.shape[2:]
    undilated: _Steps = [1, 1], [high // 2, wide // 2], [1, 1]
    (down, along), _, _ = steps
    if along == 2:  # only every second pixel is seen
        seen = x[:, :, ::down, ::2].contiguous(memory_format=torch.channels_last)
        return _convolved(seen, weight, undilated)
    rows, (h, w) = high == 1, x.shape[2:]
    even = F.pad(x, (0, w % 2, 0, 0 if rows else h % 2))
    split = _convolved(split_phases(even, rows=rows), weight, undilated)
    return join_phases(split, rows=rows)[:, :, :h, :w]


NARROW = 3
"""Columns of a kernel whose weight gradient oneDNN computes quickly."""


def _slow(x: Tensor, weight: Tensor, steps: _Steps) -> bool:
    """Whether the weight gradient is slow as it is, and can be had quickly."""
    (down, along), _, dilations = steps
    high, wide = weight.shape[2:]
    dilation = dilations[1]
    if wide < NARROW or dilation > 2 or (high > 1 and (down, dilation) != (along, dilations[0])):
        return False
    return wide > NARROW or dilation == 2 or x.shape[2] < high


def _has_gradients(x: Tensor) -> bool:
    """Whether there may be gradients, by oneDNN; not while torch traces."""
    return (
        x.device.type == "cpu"
        and torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    )


def _by_hand(x: Tensor) -> bool:
    """Whether gradients are ours to compute: not while torch traces, or transforms functions."""
    return (
        _has_gradients(x)
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )


class _Held:
    """A tensor that autograd does not look into."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class _ByInput(torch.autograd.Function):
    """The convolution; knows the gradient of its input only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: _Held, steps: _Steps) -> Tensor:
        ctx.weight, ctx.steps, ctx.like = weight, steps, torch.empty_like(x, device="meta")
        return F.conv2d(x, weight.tensor, None, *steps, x.shape[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        # Only shape and layout of the input matter.
        like = torch.empty_like(ctx.like, dtype=grad.dtype, device=grad.device)
        return _backward(grad, like, ctx.weight.tensor, ctx.steps, 0), None, None


class _ByWeight(torch.autograd.Function):
    """Zeros of the result's shape; knows the gradient of the weight."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: _Held, steps: _Steps, shape: torch.Size) -> Tensor:
        ctx.x, ctx.steps, ctx.kernel = x, steps, weight.shape
        return weight.new_zeros(()).expand(shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return _by_weight(grad, ctx.x.tensor, ctx.kernel, ctx.steps), None, None, None


class _Join(torch.autograd.Function):
    """The first tensor; its gradient goes to both."""

    @staticmethod
    def forward(ctx: Any, result: Tensor, tap: Tensor) -> Tensor:
        return result.view_as(result)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        return grad, grad


def _by_weight(grad: Tensor, x: Tensor, kernel: torch.Size, steps: _Steps) -> Tensor:
    """Gradient of the weight, without dilation, from those of narrow kernels."""
    high, wide = kernel[2:]
    (down, along), _, _ = steps
    c, pad = x.shape[1], high // 2
    # Padding belongs to the image, too, where the image is lower than the kernel, and where the
    # stride does not divide it: slow otherwise.
    above = pad if x.shape[2] < high or pad % down else 0
    before = max(wide // 2, NARROW - 1)
    rows = _Padded(x, above, before)
    # Where that leaves places which no kernel has seen, nothing came back from them.
    beside = (rows.width - NARROW) // along + 1 - grad.shape[3]
    grad = F.pad(grad, (0, beside)) if beside else grad
    grad = grad.contiguous(memory_format=torch.channels_last)
    narrow = grad.new_empty(()).expand(c, 1, high, NARROW)
    inner: _Steps = [down, along], [pad - above, 0], [1, 1]
    found: list[Tensor] = []
    for left in range(0, wide - NARROW + 1, NARROW - 1):  # neighbours share a column
        part = _backward(grad, rows.starting(before - wide // 2 + left), narrow, inner, 1)
        found.append(part[..., 1:] if found else part)
    return torch.cat(found, -1)


class _Padded:
    """Images one after the other, channels innermost, with zeros before each row.

    The zeros before a row are also those behind the row above it, so that images which begin some
    columns further on are the same memory, read from another place.

    Args:
        x: [n, c, h, w].
        above: rows of zeros above and below each image.
        before: columns of zeros before each row, and behind it.
    """

    def __init__(self, x: Tensor, above: int, before: int) -> None:
        n, c, h, w = x.shape
        self.width = w + before
        self._shape = n, c, h + 2 * above, self.width
        size = n * (h + 2 * above) * self.width * c
        # More than the images take: they are read beyond the end of the last one.
        self._memory = x.new_empty(size + 2 * before * c)
        rows = self._memory[:size].view(n, h + 2 * above, self.width, c)
        rows[:, :, :before] = 0
        rows[:, :above] = 0
        rows[:, above + h :] = 0
        self._memory[size:] = 0
        rows[:, above : above + h, before:] = x.permute(0, 2, 3, 1)

    def starting(self, column: int) -> Tensor:
        """The images [n, c, h, w + before] from a column of the padded ones on."""
        n, c, h, w = self._shape
        strides = h * w * c, 1, w * c, c
        return self._memory.as_strided((n, c, h, w), strides, column * c)


def _backward(grad: Tensor, x: Tensor, kernel: Tensor, steps: _Steps, which: int) -> Tensor:
    """Gradient of a depthwise convolution: of its input (`which` 0) or its weight (1)."""
    mask = [which == 0, which == 1, False]
    found = torch.ops.aten.convolution_backward(
        grad, x, kernel, None, *steps, False, [0, 0], x.shape[1], mask
    )
    result: Tensor = found[which]
    return result


# -- every second pixel --------------------------------------------------------------------------


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
