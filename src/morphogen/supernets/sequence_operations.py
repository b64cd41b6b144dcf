"""Operations on sequences of vectors [n, t, c], for encoders and decoders.

Each mixes, or does not, what the t places of a sequence hold. A causal one sees no later place:
before the first place a convolution finds zeros, and of a sequence that goes on place by place the
operation keeps what it still needs (`begin`, `step`). One that is not causal has the whole sequence
before it, and places that are padding hold nothing for it: it gives the same in any batch.

Sources: standard and dynamic convolutions (Wu, Fan, Baevski, Dauphin and Auli, ICLR 2019, arXiv
1901.10430, section 4), attention (Vaswani et al., NeurIPS 2017, arXiv 1706.03762, section 3.2),
gated linear units (Dauphin et al., ICML 2017, arXiv 1612.08083). Which there are is as in
DARTSformer (Zhao et al., Findings of ACL 2021, arXiv 2105.14669).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.core import SpaceError, UnknownNameError
from morphogen.supernets.attention import Attention, future, grown

Past = tuple[Tensor, ...]
"""What a causal operation keeps of the places before; sequences along the first axis of each."""


class Context(NamedTuple):
    """What operations read beside their input; a field is None where there is no such thing."""

    padding: Tensor | None = None
    """bool [n, 1, 1, t]: the places of the input that hold nothing; causal operations do not ask"""
    memory: Tensor | None = None
    """[n, s, d]: what the encoder gives, for cross-attention"""
    memory_padding: Tensor | None = None
    """bool [n, 1, 1, s]: likewise of the memory"""


class Sizes(NamedTuple):
    """Of an operation."""

    width: int
    """c, of input and output"""
    memory: int
    """d, of what the encoder gives"""
    heads: int
    """of attention; of dynamic convolutions, kernels"""
    expansion: int
    """r: the inner width of a feed-forward network, as a multiple of c"""
    dropout: float
    """inside of operations (feed-forward, kernels of dynamic convolutions) and after them"""
    causal: bool


class Operation(nn.Module):
    """Base: an operation on one place each, with nothing to keep."""

    def begin(self, h: Tensor, context: Context) -> Past:
        """What is kept before the first place; `h` says how many sequences, and of what kind."""
        return ()

    def step(self, h: Tensor, context: Context, past: Past) -> tuple[Tensor, Past]:
        """The output at some more places, [n, t, c] -> [n, t, c], and what is kept then."""
        raise NotImplementedError

    def forward(self, h: Tensor, context: Context) -> Tensor:
        """The output for whole sequences, [n, t, c] -> [n, t, c]."""
        return self.step(h, context, self.begin(h, context))[0]


class _Windowed(Operation):
    """An operation with `size` places in view: the last ones, or as many on both sides.

    Args:
        size: w, odd.
        sizes: as of all operations.
    """

    def __init__(self, size: int, sizes: Sizes) -> None:
        super().__init__()
        self.size, self.causal, self.width = size, sizes.causal, sizes.width

    def begin(self, h: Tensor, context: Context) -> Past:
        before = self.size - 1 if self.causal else self.size // 2
        return (h.new_zeros(h.shape[0], before, self.width),)

    def window(self, x: Tensor, context: Context, past: Past) -> tuple[Tensor, Past]:
        """All that is in view of the places of `x`, [n, t + w - 1, c], and the next past."""
        if not self.causal:
            if context.padding is not None:
                x = x.masked_fill(context.padding[:, 0, 0, :, None], 0)
            x = F.pad(x, (0, 0, 0, self.size // 2))
        x = torch.cat([past[0].to(x.dtype), x], 1)
        return x, (x[:, x.shape[1] - self.size + 1 :],)


class Convolution(_Windowed):
    """A convolution of c to c channels over time, with bias and no activation."""

    def __init__(self, size: int, sizes: Sizes) -> None:
        super().__init__(size, sizes)
        self.conv = nn.Conv1d(sizes.width, sizes.width, size)

    def step(self, h: Tensor, context: Context, past: Past) -> tuple[Tensor, Past]:
        """See `Operation`."""
        x, past = self.window(h, context, past)
        return self.conv(x.transpose(1, 2)).transpose(1, 2), past


class DynamicConvolution(_Windowed):
    """A convolution whose kernel each place makes itself; c / H channels share one.

    A gated linear layer, the kernel softmax(W h) over the w places in view, and a linear layer; in
    training entries of the kernel are dropped.
    """

    def __init__(self, size: int, sizes: Sizes) -> None:
        super().__init__(size, sizes)
        c = sizes.width
        self.heads, self.dropout = sizes.heads, sizes.dropout
        self.first, self.last = nn.Linear(c, 2 * c), nn.Linear(c, c)
        self.kernel = nn.Linear(c, sizes.heads * size)

    def step(self, h: Tensor, context: Context, past: Past) -> tuple[Tensor, Past]:
        """See `Operation`."""
        gated = F.glu(self.first(h), dim=-1)
        x, past = self.window(gated, context, past)
        kernel = self.kernel(gated).view(*gated.shape[:2], self.heads, self.size).softmax(-1)
        kernel = F.dropout(kernel, self.dropout, self.training)
        parts = x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)
        mixed = band(kernel.transpose(1, 2)).to(parts.dtype) @ parts
        return self.last(mixed.transpose(1, 2).flatten(2)), past


def band(kernel: Tensor) -> Tensor:
    """The matrices that apply kernels, one to each place: [..., t, w] -> [..., t, t + w - 1].

    Row i has kernel i in its columns i to i + w - 1 and zeros elsewhere. For sequences of some
    dozens of places quicker than to gather w places for each.
    """
    *lead, t, w = kernel.shape
    rows = F.pad(kernel, (0, t)).reshape(*lead, t * (t + w))
    return rows[..., : t * (t + w - 1)].reshape(*lead, t, t + w - 1)


class SelfAttention(Operation):
    """Attention among the places."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.attention, self.causal = Attention(sizes.width, sizes.heads), sizes.causal

    def begin(self, h: Tensor, context: Context) -> Past:
        """No keys and values yet."""
        return self.attention.keys(h[:, :0])

    def step(self, h: Tensor, context: Context, past: Past) -> tuple[Tensor, Past]:
        """See `Operation`."""
        new, before = self.attention.keys(h), past[0].shape[2]
        keys = grown((past[0], past[1]), new) if before else new
        hidden = context.padding
        if self.causal:
            hidden = future(keys[0].shape[2], h.device)[before:] if h.shape[1] > 1 else None
        return self.attention(h, keys, hidden), keys


class CrossAttention(Operation):
    """Attention from the places to the memory."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.attention = Attention(sizes.width, sizes.heads, memory=sizes.memory)

    def begin(self, h: Tensor, context: Context) -> Past:
        """Keys and values of the memory, which stay."""
        if context.memory is None:
            raise SpaceError("cross-attention without a memory; accepted: the encoder's output")
        return self.attention.keys(context.memory)

    def step(self, h: Tensor, context: Context, past: Past) -> tuple[Tensor, Past]:
        """See `Operation`."""
        return self.attention(h, (past[0], past[1]), context.memory_padding), past


class GLU(Operation):
    """(W_1 h + b_1) * sigmoid(W_2 h + b_2)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.linear = nn.Linear(sizes.width, 2 * sizes.width)

    def step(self, h: Tensor, context: Context, past: Past) -> tuple[Tensor, Past]:
        """See `Operation`."""
        return F.glu(self.linear(h), dim=-1), past


class FeedForward(Operation):
    """Linear c to r c, ReLU, dropout, linear r c to c."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        inner = sizes.expansion * sizes.width
        self.first, self.last = nn.Linear(sizes.width, inner), nn.Linear(inner, sizes.width)
        self.dropout = nn.Dropout(sizes.dropout)

    def step(self, h: Tensor, context: Context, past: Past) -> tuple[Tensor, Past]:
        """See `Operation`."""
        return self.last(self.dropout(F.relu(self.first(h)))), past


class Normed(Operation):
    """o~(h) = LayerNorm(h + dropout(o(h))): how every operation with weights stands (section 3).

    Args:
        inner: o.
        sizes: its sizes.
    """

    def __init__(self, inner: Operation, sizes: Sizes) -> None:
        super().__init__()
        self.inner, self.norm = inner, nn.LayerNorm(sizes.width)
        self.dropout = nn.Dropout(sizes.dropout)

    def begin(self, h: Tensor, context: Context) -> Past:
        """That of the operation."""
        return self.inner.begin(h, context)

    def step(self, h: Tensor, context: Context, past: Past) -> tuple[Tensor, Past]:
        """See `Operation`."""
        new, past = self.inner.step(h, context, past)
        return self.norm(h + self.dropout(new)), past


class Zero(Operation):
    """Zeros."""

    def step(self, h: Tensor, context: Context, past: Past) -> tuple[Tensor, Past]:
        """See `Operation`."""
        return torch.zeros_like(h), past


class Identity(Operation):
    """The input."""

    def step(self, h: Tensor, context: Context, past: Past) -> tuple[Tensor, Past]:
        """See `Operation`."""
        return h, past


NAMED: dict[str, type[Operation]] = {
    "self_attention": SelfAttention,
    "cross_attention": CrossAttention,
    "glu": GLU,
    "ffn": FeedForward,
}
WINDOWED: dict[str, type[_Windowed]] = {"conv": Convolution, "dynamic_conv": DynamicConvolution}
"""By the name before the number of places."""


def operation(name: str, sizes: Sizes) -> Operation:
    """An operation by its name: `conv_3`, `dynamic_conv_7`, `self_attention`, `zero`.

    Raises:
        UnknownNameError: there is none.
        ConfigError: heads cannot share the channels equally.
    """
    if name in ("zero", "identity"):
        return Zero() if name == "zero" else Identity()
    kind, _, size = name.rpartition("_")
    if name not in NAMED and not (kind in WINDOWED and size.isdecimal() and int(size) % 2):
        known = (*NAMED, "zero", "identity", *(f"{windowed}_3" for windowed in WINDOWED))
        raise UnknownNameError("operation", name, known)
    if name in NAMED:
        return Normed(NAMED[name](sizes), sizes)
    return Normed(WINDOWED[kind](int(size), sizes), sizes)
