"""From alphas to gates and scores: relaxations applied to the groups of a space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from morphogen.bilevel.relaxations import (
    gumbel_soft,
    init_alpha,
    jitter,
    softmax,
    straight_through,
)
from morphogen.spaces import SearchSpace
from morphogen.supernets import Gates, all_live


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

    Only the drawn options are live (GDAS, section 3.2). One option is no value of a choice that
    keeps two or more: such a choice (`weighed`) has the concrete sample itself, all options live.
    """
    soft = _each(space, alphas, lambda a, m: gumbel_soft(a, tau, generator, m))
    every, several = all_live(space), weighed(space)
    weights: dict[str, Tensor] = {}
    live: dict[str, tuple[tuple[int, ...], ...]] = {}
    for group, h in soft.items():
        stays = [choice.name in several for choice in space.groups[group]]
        mask = torch.from_numpy(space.masks[group]).to(h.device)
        weights[group] = straight_through(h, mask)
        drawn = h.detach().argmax(dim=-1).tolist()
        live[group] = tuple((i,) for i in drawn)
        if any(stays):
            rows = torch.tensor(stays, device=h.device)[:, None]
            weights[group] = torch.where(rows, h, weights[group])
            live[group] = tuple(
                all_of if stay else one
                for all_of, one, stay in zip(every[group], live[group], stays, strict=True)
            )
    return Gates(weights, live)


def weighed(space: SearchSpace) -> frozenset[str]:
    """The choices of which a sampled path weighs the options instead of drawing one.

    Those that keep two options or more; and in their lanes all that is decided after the first
    stage, such as the inputs of nodes, where some nodes may have a single one.
    """
    several = {choice.name for choice in space.choices if choice.least > 1}
    later = [
        name
        for lane in space.lanes()
        if several.intersection(name for stage in lane for name in stage)
        for stage in lane[1:]
        for name in stage
    ]
    return frozenset([*several, *later])


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
