"""From alphas to gates and scores: relaxations applied to the groups of a space.

Alphas are one matrix [choices, widest] per group of the space, in its order. Where edges are
normalised (PC-DARTS, arXiv 1907.05737, section 3.3) they are followed by one column [choices, 1]
per group, beta: the gates of an edge are then multiplied by its share, the softmax of beta over the
edges into its node, and so are its scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from morphogen.core import Architecture, ArchitectureError, Choice
from morphogen.spaces import SearchSpace
from morphogen.supernets import Gates
from morphogen.supernets.gates import live_masks
from morphogen.supernets.relaxations import (
    Relaxation,
    gumbel_soft,
    init_alpha,
    jitter,
    softmax,
    straight_through,
)

Masks = Sequence[Tensor] | None
"""Masks of live options as of `live_masks`, one bool tensor [choices, widest] per group; None: all
that the space has. A masked option has weight 0 and gradient 0, and is not executed."""


def start_alphas(
    space: SearchSpace,
    generator: Generator,
    device: torch.device,
    scale: float = 1e-3,
    *,
    edges: bool = False,
) -> list[Tensor]:
    """Scale * N(0, 1) for every option: one leaf [choices, widest] per group, in group order.

    Args:
        space: whose choices.
        generator: of the draws, on the CPU.
        device: of the leaves.
        scale: standard deviation.
        edges: with a leaf [choices, 1] more for each group, see `edge_shares`.
    """
    masks = [torch.from_numpy(m) for m in space.masks.values()]
    drawn = [init_alpha(m.shape, generator, scale, m) for m in masks]
    if edges:
        drawn += [init_alpha((len(m), 1), generator, scale) for m in masks]
    return [alpha.to(device).requires_grad_() for alpha in drawn]


def matrices(space: SearchSpace, alphas: Sequence[Tensor]) -> Sequence[Tensor]:
    """The alphas of options, one matrix per group; without those of edges."""
    return alphas[: len(space.groups)]


def edge_shares(
    space: SearchSpace, alphas: Sequence[Tensor], live: Masks = None
) -> list[Tensor] | None:
    """Per group [..., choices, 1], the share of each edge among those into its node (PC-DARTS).

    Args:
        space: of the alphas; the edges into a node are what it adds up (`summed`).
        alphas: see the module; None is returned of those without beta.
        live: an edge without a live option has share 0.
    """
    columns = alphas[len(space.groups) :]
    if not columns:
        return None
    masks = [mask.any(dim=-1) for mask in _masks(space, live)]
    beta = torch.cat([column.squeeze(-1) for column in columns], dim=-1)
    of = {name: node for node, names in enumerate(space.summed()) for name in names}
    node = torch.tensor([of[c.name] for choices in space.groups.values() for c in choices])
    member = (node == torch.arange(len(space.summed()))[:, None]) & torch.cat(masks)
    rows = beta.unsqueeze(-2).expand(*beta.shape[:-1], *member.shape)
    shares = softmax(rows, member.to(beta.device)).sum(dim=-2)
    parts = torch.split(shares, [len(mask) for mask in masks], dim=-1)
    return [part.unsqueeze(-1) for part in parts]


def softmax_gates(space: SearchSpace, alphas: Sequence[Tensor], live: Masks = None) -> Gates:
    """Every live option weighted by the softmax of its row (DARTS, Eq. 2)."""
    return relaxed_gates(space, alphas, softmax, live)


def concrete_gates(
    space: SearchSpace,
    alphas: Sequence[Tensor],
    tau: float,
    generator: Generator,
    live: Masks = None,
    *,
    examples: int | None = None,
) -> Gates:
    """Every live option weighted by one sample of the concrete distribution (SNAS).

    Args:
        space: of the alphas.
        alphas: one matrix per group.
        tau: temperature.
        generator: source of the noise.
        live: masks of live options.
        examples: a sample for each of so many examples; None: one for all of them.
    """
    if examples is not None:
        alphas = [alpha.expand(examples, *alpha.shape) for alpha in alphas]
    return relaxed_gates(space, alphas, lambda a, m: gumbel_soft(a, tau, generator, m), live)


def relaxed_gates(
    space: SearchSpace, alphas: Sequence[Tensor], relaxation: Relaxation, live: Masks = None
) -> Gates:
    """Every live option, weighted by a relaxation of its row."""
    return Gates.dense(space, _each(space, alphas, relaxation, live), live)


def mixed_path(
    space: SearchSpace,
    arch: Architecture,
    live: Masks = None,
    device: torch.device | str = "cpu",
) -> Gates:
    """Every live option, weighted by the softmax of the one-hot rows of `arch`.

    An option that `arch` keeps alone among m has the weight e / (e + m - 1), the others have
    1 / (e + m - 1); of a choice that keeps nothing, all have the same. So NEvoNAS and pEvoNAS show
    an architecture to a supernet that has only seen mixtures (arXiv 2204.00188, authors' code).
    """
    rows = [torch.from_numpy(row).to(device) for row in space.one_hot(arch).values()]
    return relaxed_gates(space, rows, softmax, live)


def sampled_path(
    space: SearchSpace,
    alphas: Sequence[Tensor],
    tau: float,
    generator: Generator,
    live: Masks = None,
) -> Gates:
    """One live option per choice, drawn from softmax(alpha), with a concrete sample's gradient.

    Only the drawn options are executed (GDAS, section 3.2). One option is no value of a choice that
    keeps two or more: such a choice (`weighted_choices`) has the concrete sample itself, and all of
    its live options are executed.
    """
    draw = matrices(space, alphas)
    soft = relaxed_gates(space, draw, lambda a, m: gumbel_soft(a, tau, generator, m), live)
    several = weighted_choices(space)
    weights: dict[str, Tensor] = {}
    paths: dict[str, tuple[tuple[int, ...], ...]] = {}
    for (group, h), mask in zip(soft.weights.items(), _masks(space, live), strict=True):
        stays = [choice.name in several for choice in space.groups[group]]
        weights[group] = straight_through(h, mask.to(h.device))
        every, drawn = soft.live[group], h.detach().argmax(dim=-1).tolist()
        # A choice whose options are all switched off has none to draw.
        paths[group] = tuple((i,) if i in of else () for i, of in zip(drawn, every, strict=True))
        if any(stays):
            rows = torch.tensor(stays, device=h.device)[:, None]
            weights[group] = torch.where(rows, h, weights[group])
            paths[group] = tuple(
                all_of if stay else one
                for all_of, one, stay in zip(every, paths[group], stays, strict=True)
            )
    return Gates(_shared(space, weights, alphas, live), paths)


def weighted_choices(space: SearchSpace) -> frozenset[str]:
    """The choices of which a sampled path weighs the options instead of drawing one.

    Those that keep two options or more; and in their plans all that is decided after the first
    stage, such as the inputs of nodes, where some nodes may have a single one.
    """
    several = {choice.name for choice in space.choices if choice.least > 1}
    later = [
        name
        for plan in space.decision_plans()
        if several.intersection(name for stage in plan for name in stage)
        for stage in plan[1:]
        for name in stage
    ]
    return frozenset([*several, *later])


def jittered(gates: Gates, epsilon: float, generator: Generator) -> Gates:
    """Every weight moved at random by at most `epsilon`, rows sum to 1 again (SDARTS-RS)."""
    weights = {
        group: jitter(w, epsilon, generator, gates.mask(group).to(w.device))
        for group, w in gates.weights.items()
    }
    return Gates(weights, gates.live)


def probabilities(
    space: SearchSpace, alphas: Sequence[Tensor], live: Masks = None
) -> dict[str, NDArray[np.floating]]:
    """The softmax of alpha as arrays: the scores that a space's `derive` reads."""
    with torch.no_grad():
        return {g: w.cpu().numpy() for g, w in _each(space, alphas, softmax, live).items()}


NOTHING = "none"
"""The option with which a choice carries nothing."""


def carrying(space: SearchSpace) -> list[Tensor]:
    """Masks of all options but `none`, of a search that prunes: what is left of nothing is `none`.

    As `live_masks` gives them; a choice of `none` alone keeps it.
    """
    options = {c.name: [o for o in c.options if o != NOTHING] or c.options for c in space.choices}
    return live_masks(space, options)


def least_live(choice: Choice) -> int:
    """Options other than `none` that pruning must leave a choice."""
    return 0 if NOTHING in choice.options else choice.least


def derive_live(
    space: SearchSpace, live: Sequence[Tensor], scores: Sequence[Tensor]
) -> Architecture:
    """The architecture of the live options, however many a choice has.

    If the space has no such architecture, that which its own rule finds in the scores of the live
    options; `none` is below all of them.

    Args:
        space: of the masks.
        live: masks per group, as of `carrying`; a choice without a live option keeps `none`.
        scores: per group [choices, widest], not negative.
    """
    kept: dict[str, list[str]] = {}
    ranked: dict[str, NDArray[np.floating]] = {}
    for (group, choices), mask, score in zip(space.groups.items(), live, scores, strict=True):
        ranked[group] = score.masked_fill(~mask.cpu(), -1.0).numpy()
        for row, (choice, on) in enumerate(zip(choices, mask.tolist(), strict=True)):
            found = [o for i, o in enumerate(choice.options) if on[i]]
            if NOTHING in choice.options:
                found = found or [NOTHING]
                ranked[group][row, choice.index(NOTHING)] = 0.0
            kept[choice.name] = found
    try:
        return space.check(Architecture(kept))
    except ArchitectureError:
        return space.derive(ranked)


def _each(
    space: SearchSpace, alphas: Sequence[Tensor], relaxation: Relaxation, live: Masks
) -> Mapping[str, Tensor]:
    each = zip(space.groups, matrices(space, alphas), _masks(space, live), strict=True)
    weights = {g: relaxation(alpha, mask.to(alpha.device)) for g, alpha, mask in each}
    return _shared(space, weights, alphas, live)


def _shared(
    space: SearchSpace, weights: dict[str, Tensor], alphas: Sequence[Tensor], live: Masks
) -> dict[str, Tensor]:
    """The weights times the shares of their edges, where there are any."""
    shares = edge_shares(space, alphas, live)
    if shares is None:
        return weights
    return {g: w * share for (g, w), share in zip(weights.items(), shares, strict=True)}


def _masks(space: SearchSpace, live: Masks) -> Sequence[Tensor]:
    return [torch.from_numpy(m) for m in space.masks.values()] if live is None else live
