"""Relaxations: plain functions from architecture parameters alpha to the weight of each option.

All take alpha [..., choices, options] and return weights of the same shape, one row per choice. A
boolean `mask` (True where an option is live, broadcastable to alpha) stands for padding and removed
options: a masked option has weight exactly 0 and its alpha gradient exactly 0, and a row with no
live option is all zeros. Randomness is drawn from the generator given and on its device; a CPU
generator gives the same draw on every device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from morphogen.core.errors import ConfigError

Relaxation = Callable[[Tensor, Tensor | None], Tensor]
"""(alpha [..., choices, options], mask or None) -> weights of the same shape."""


def softmax(alpha: Tensor, mask: Tensor | None = None) -> Tensor:
    """Row-wise softmax over the live options (DARTS, Eq. 2); rows sum to 1."""
    return _drop(torch.softmax(_exclude(alpha, mask), dim=-1), mask)


def log_softmax(alpha: Tensor, mask: Tensor | None = None) -> Tensor:
    """The logarithm of `softmax`; finite and without meaning where masked."""
    return torch.log_softmax(_exclude(alpha, mask), dim=-1)


def tempered(scores: Tensor, tau: float, mask: Tensor | None = None) -> Tensor:
    """Softmax of scores / tau over the live options.

    Raises:
        ConfigError: tau is not above 0.
    """
    if not tau > 0:
        raise ConfigError(f"tau is {tau}; accepted: above 0")
    return softmax(scores / tau, mask)


def sigmoid(alpha: Tensor, mask: Tensor | None = None) -> Tensor:
    """Each option by itself between 0 and 1, without competition inside a row."""
    return _drop(torch.sigmoid(alpha), mask)


def clipped(alpha: Tensor, mask: Tensor | None = None) -> Tensor:
    """Each option by itself, alpha between 0 and 1; without gradient beyond (DARTS-PRIME's CRB)."""
    return _drop(alpha.clamp(0.0, 1.0), mask)


def gumbel_soft(
    alpha: Tensor, tau: float, generator: Generator, mask: Tensor | None = None
) -> Tensor:
    """A sample h = softmax((log_softmax(alpha) + g) / tau) of the concrete distribution.

    g is standard Gumbel noise. Rows sum to 1; argmax h is distributed as softmax(alpha) whatever
    tau is. GDAS, Dong and Yang, CVPR 2019, arXiv 1910.04465, Eq. 3-4; SNAS uses the same h.

    Args:
        alpha: [..., choices, options].
        tau: temperature; weights are near one-hot for small tau, near uniform for large.
        generator: source of the noise.
        mask: live options.

    Raises:
        ConfigError: tau is not above 0.
    """
    # Masked before and after: before, the normaliser must not see a masked option; after, noise
    # and temperature must not bring one back.
    return tempered(log_softmax(alpha, mask) + gumbel(alpha, generator), tau, mask)


def gumbel_hard(
    alpha: Tensor, tau: float, generator: Generator, mask: Tensor | None = None
) -> Tensor:
    """A one-hot sample with the gradient of h of `gumbel_soft` (GDAS, Eq. 3-5; straight-through).

    The value is exactly one-hot, in every precision. All entries carry the gradient of h: who runs
    only the selected option uses only that entry, and then with r = <dL/d output, option(x)> the
    gradient is dL/d alpha_k = r h_s (delta_sk - h_k) / tau, s the selected option.

    Args and errors as in `gumbel_soft`.
    """
    return straight_through(gumbel_soft(alpha, tau, generator, mask), mask)


def straight_through(h: Tensor, mask: Tensor | None = None) -> Tensor:
    """One-hot rows, 1 at the largest entry of `h` and with the gradient of `h` in all of them."""
    # In this order: h - h is exactly 0, while (one_hot + h) - h would be off by rounding.
    return _drop(one_hot(h) + (h - h.detach()), mask)


def one_hot(scores: Tensor, mask: Tensor | None = None) -> Tensor:
    """Rows with 1 at the largest live score, without gradient."""
    place = _exclude(scores.detach(), mask).argmax(dim=-1, keepdim=True)
    return _drop(torch.zeros_like(scores).scatter_(-1, place, 1.0), mask)


def jitter(
    weights: Tensor, epsilon: float, generator: Generator, mask: Tensor | None = None
) -> Tensor:
    """Rows of weights, each entry moved by at most `epsilon`, again between 0 and 1 with sum 1.

    The random smoothing of SDARTS (Chen, Hsieh, ICML 2020, arXiv 2002.05283): uniform noise, then
    `to_shares`.
    """
    noise = torch.rand(weights.shape, generator=generator, device=generator.device)
    return to_shares(weights + epsilon * (2 * noise.to(weights.device) - 1), mask)


def to_shares(moved: Tensor, mask: Tensor | None = None) -> Tensor:
    """Rows of weights that were moved, clamped to 0 and 1 and divided by their sum (SDARTS).

    Of a row that is all zero then, the entry that was the largest is 1.
    """
    noisy = moved
    moved = _drop(noisy.clamp(0.0, 1.0), mask)
    largest = one_hot(noisy, mask)
    total = moved.sum(dim=-1, keepdim=True)
    return torch.where(total > 0, moved / total.clamp_min(torch.finfo(moved.dtype).tiny), largest)


def init_alpha(
    shape: Sequence[int], generator: Generator, scale: float = 1e-3, mask: Tensor | None = None
) -> Tensor:
    """Initial alpha, scale * N(0, 1), on the generator's device (DARTS, authors' code).

    The whole shape is drawn whatever the mask, so that removing an option does not change the
    others; masked entries are 0. float32, without requires_grad.
    """
    noise = torch.randn(tuple(shape), generator=generator, device=generator.device)
    return _drop(scale * noise, mask)


def _exclude(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Scores that softmax turns into 0 where masked; finite, so that an empty row gives no NaN."""
    return scores if mask is None else scores.masked_fill(~mask, torch.finfo(scores.dtype).min)


def _drop(weights: Tensor, mask: Tensor | None) -> Tensor:
    return weights if mask is None else weights.masked_fill(~mask, 0.0)


def gumbel(alpha: Tensor, generator: Generator) -> Tensor:
    """Standard Gumbel noise, -log of Exponential(1), of alpha's shape.

    Only the noise is redrawn if not finite (an exponential of 0): no draw cures an alpha that is
    NaN, which must reach the loss and be reported there.
    """
    while True:
        noise = torch.empty(alpha.shape, dtype=alpha.dtype, device=generator.device)
        found = -noise.exponential_(generator=generator).log()
        if bool(torch.isfinite(found).all()):
            return found.to(alpha.device)
