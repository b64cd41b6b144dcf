"""From alphas to gates and scores: relaxations applied to the groups of a space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from morphogen.bilevel.relaxations import gumbel_hard, init_alpha, jitter, softmax
from morphogen.spaces import SearchSpace
from morphogen.supernets import Gates


def start_alphas(
    space: SearchSpace, generator: Generator, device: torch.device, scale: float = 1e-3
) -> list[Tensor]:
    """Scale * N(0, 1) for every option: one leaf [choices, widest] per group, in group order."""
    masks = (torch.from_numpy(m) for m in space.masks.values())
    drawn = (init_alpha(m.shape, generator, scale, m) for m in masks)
    return [alpha.to(device).requires_grad_() for alpha in drawn]


def softmax_gates(space: SearchSpace, alphas: Sequence[Tensor]) -> Gates:
    """Every option live, weighted by the softmax of its row (DARTS, Eq. 2)."""
    return Gates.dense(space, _each(space, alphas, softmax))


def sampled_path(
    space: SearchSpace, alphas: Sequence[Tensor], tau: float, generator: Generator
) -> Gates:
    """One option per choice, drawn from softmax(alpha), with the gradient of a concrete sample.

    Only the drawn options are live (GDAS, section 3.2).
    """
    hard = _each(space, alphas, lambda a, m: gumbel_hard(a, tau, generator, m))
    drawn = {g: w.detach().argmax(dim=-1).tolist() for g, w in hard.items()}
    return Gates(hard, {g: tuple((i,) for i in rows) for g, rows in drawn.items()})


def moved(space: SearchSpace, gates: Gates, epsilon: float, generator: Generator) -> Gates:
    """Every weight moved at random by at most `epsilon`, rows sum to 1 again (SDARTS-RS)."""
    weights = {
        group: jitter(w, epsilon, generator, torch.from_numpy(space.masks[group]).to(w.device))
        for group, w in gates.weights.items()
    }
    return Gates(weights, gates.live)


def probabilities(space: SearchSpace, alphas: Sequence[Tensor]) -> dict[str, NDArray[np.floating]]:
    """The softmax of alpha as arrays: the scores that a space's `derive` reads."""
    with torch.no_grad():
        return {g: w.cpu().numpy() for g, w in _each(space, alphas, softmax).items()}


def _each(space: SearchSpace, alphas: Sequence[Tensor], relaxation) -> Mapping[str, Tensor]:  # type: ignore[no-untyped-def]
    return {
        group: relaxation(alpha, torch.from_numpy(mask).to(alpha.device))
        for (group, mask), alpha in zip(space.masks.items(), alphas, strict=True)
    }
