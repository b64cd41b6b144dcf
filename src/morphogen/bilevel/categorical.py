"""Categorical distributions over the options of choices: samples, densities, and control variates.

Pure functions of alpha [..., choices, options]: a row is the logits of one choice, the choices are
independent. More axes in front are more distributions, one for each example, say. A boolean `mask`
(broadcastable to alpha) stands for options that are switched off, as in `supernets.relaxations`;
a row with no live option has the empty sample, of probability 1. A sample is one-hot rows, in
alpha's type and on its device, so that it is gates at once. Noise is drawn from the generator that
is given; a CPU generator gives the same draw on every device.

Papers: SNAS, Xie et al., ICLR 2019, arXiv 1812.09926 (concrete density). UNAS, Vahdat et al., CVPR
2020, arXiv 1912.07651, and REBAR, Tucker et al., NeurIPS 2017, arXiv 1703.07370 (`rebar`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from morphogen.core.errors import ConfigError
from morphogen.supernets.relaxations import gumbel, log_softmax, one_hot, softmax, tempered


def sample(alpha: Tensor, generator: Generator, mask: Tensor | None = None) -> Tensor:
    """One option of each choice, drawn from softmax(alpha): one-hot rows, without gradient."""
    with torch.no_grad():
        scores = log_softmax(alpha, mask) + gumbel(alpha, generator)
        return one_hot(scores, mask)


def log_prob(alpha: Tensor, drawn: Tensor, mask: Tensor | None = None) -> Tensor:
    """Log p(drawn), one number [...] for all choices together; differentiable in alpha.

    Args:
        alpha: logits [..., choices, options].
        drawn: one-hot rows of the same shape.
        mask: live options.
    """
    each = log_softmax(alpha, mask)
    return torch.where(drawn > 0, each, 0.0).sum(dim=(-2, -1))


def entropy(alpha: Tensor, mask: Tensor | None = None) -> Tensor:
    """Entropy of each choice in nats, [..., choices]; 0 where one option is live, or none."""
    p = softmax(alpha, mask)
    return -torch.where(p > 0, p * log_softmax(alpha, mask), 0.0).sum(dim=-1)


def soften(alpha: Tensor, epsilon: float, mask: Tensor | None = None) -> Tensor:
    """Logits of (softmax(alpha) + epsilon) / (1 + K epsilon), K live options: none vanishes (UNAS).

    Masked entries keep their alpha. The gradient goes through the softening.
    """
    if not epsilon:
        return alpha
    softened = (softmax(alpha, mask) + epsilon).log()
    return softened if mask is None else torch.where(mask, softened, alpha)


def concrete_log_prob(
    weights: Tensor, alpha: Tensor, tau: float, mask: Tensor | None = None
) -> Tensor:
    """Log q(weights) of each choice, [..., choices]: the density of what `gumbel_soft` draws.

    For a row of K live options, a its alpha and z its weights,

        ln (K-1)! + (K-1) ln tau + sum_k (a_k - (tau+1) ln z_k) - K ln sum_k exp(a_k) z_k^-tau

    Differentiable in both: give detached weights for a score function.

    Args:
        weights: rows between 0 and 1, sum 1.
        alpha: logits of the same shape.
        tau: the temperature at which the weights were drawn.
        mask: live options.
    """
    if not tau > 0:
        raise ConfigError(f"tau is {tau}; accepted: above 0")
    live = torch.ones_like(weights, dtype=torch.bool) if mask is None else mask.expand_as(weights)
    k = live.sum(dim=-1).to(alpha.dtype)
    # A weight that has run out at a low temperature would be the logarithm of 0.
    log_z = weights.clamp_min(torch.finfo(weights.dtype).tiny).log()
    terms = torch.where(live, alpha - (tau + 1) * log_z, 0.0).sum(dim=-1)
    scores = (alpha - tau * log_z).masked_fill(~live, -math.inf)
    normaliser = torch.where(k > 0, torch.logsumexp(scores, dim=-1), 0.0)
    constant = torch.lgamma(k.clamp_min(1)) + (k - 1) * math.log(tau)
    return torch.where(k > 0, constant + terms - k * normaliser, 0.0)


@dataclass(frozen=True, eq=False)
class Rebar:
    """A sample, its relaxation, and the same relaxation as a draw given the sample.

    With L the loss, an unbiased gradient of E[L(sample)] is that of

        (L(sample) - L(control)).detach() * log_prob(alpha, sample) + L(control)

    (UNAS, Eq. 3): what the relaxation gets wrong is left to the score function.
    """

    sample: Tensor
    """One-hot rows, without gradient."""
    soft: Tensor
    """z: the concrete sample whose largest entries are those of `sample`; gradient by alpha."""
    conditional: Tensor
    """z~: equal to z, and differentiable as a concrete sample given `sample`: with the noise of
    that conditional distribution, and so the choice, held fixed."""

    @property
    def control(self) -> Tensor:
        """Weights of the value of z, with the gradient of z less that of z~."""
        return self.soft - self.conditional + self.conditional.detach()


def rebar(alpha: Tensor, tau: float, generator: Generator, mask: Tensor | None = None) -> Rebar:
    """One draw of `Rebar`.

    With g Gumbel noise, s = log p + g, k = argmax s and s_k the top score: given k, the top score
    and the noise of the others are independent of alpha, and s_i = -ln(v_i / p_i + exp(-s_k)) with
    exponential v_i. The v_i that reproduce s are held fixed. All in logarithms, so that neither a
    rare option nor a near tie overflows.

    Args:
        alpha: logits [..., choices, options].
        tau: temperature (UNAS: 0.4, constant).
        generator: source of the noise.
        mask: live options.

    Raises:
        ConfigError: tau is not above 0.
    """
    log_p = log_softmax(alpha, mask)
    noise = gumbel(alpha, generator)
    scores = log_p + noise
    with torch.no_grad():
        drawn = one_hot(scores, mask)
        top = scores.amax(dim=-1, keepdim=True)
        # ln v_i; -inf at i = k, whose score is the top score itself.
        log_v = torch.log(-torch.expm1((scores - top).clamp_max(0.0))) - noise
    given = -torch.logaddexp(log_v - log_p, -top)
    return Rebar(drawn, tempered(scores, tau, mask), tempered(given, tau, mask))
