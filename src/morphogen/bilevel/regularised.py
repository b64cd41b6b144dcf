"""A problem that regularises whoever searches it: the method sees other gates, nets and penalties.

    weight step     gates perturbed by at most epsilon, epsilon from a tenth of its end to its end
    any step        on each edge the skip connection's gate is b larger, b from 1 to 0 (auxiliary)
    alpha step      the loss + w / E * sum over the E edges of log sum exp alpha, w from 0 (beta)
    alphas          with a column for the edges (edge normalisation)

Schedules go by `progress`, the share of the epochs that are done. Partial channels are the
supernet's (`NetworkSpec.partial_channels`).

Departures. The auxiliary skip connection of DARTS- is the option `skip_connect` itself with a
larger gate, which is the same wherever that is an identity; where it strides it has weights, and in
the authors' code the auxiliary one has others. An adversary of the gates climbs with the mean
gradient of all processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from morphogen.bilevel.gates import jittered, matrices
from morphogen.bilevel.regularisation import Regularisation
from morphogen.core import CapabilityError
from morphogen.spaces import SearchSpace, is_skip
from morphogen.supernets import Gates, Supernet, evaluating
from morphogen.supernets.relaxations import to_shares
from morphogen.tasks import Batch
from morphogen.tasks.problem import AlphasToGates, BilevelLoss, Problem

BETA, AUXILIARY = 50.0, 1.0
"""Weights of the two penalties in their papers."""


class RegularisedProblem(Problem):
    """A problem with regularisers; the arguments are those of `Problem`, and what is switched on.

    Raises:
        CapabilityError: the space has no skip connections, or no edges that are added up.
    """

    def __init__(self, *args: Any, regularisation: Regularisation, **named: Any) -> None:
        super().__init__(*args, **named)
        self.regularisation = regularisation
        require_in(self.space, regularisation)

    @property
    def edge_normalisation(self) -> bool:  # type: ignore[override]
        """Whether alphas have a column for the edges."""
        return self.regularisation.edge_normalisation == "on"

    @property
    def alpha_moves(self) -> bool:
        """Whether the warm-up of the weights is over."""
        return self.progress >= self.regularisation.alpha_warmup

    # -- perturbation ------------------------------------------------------------------------

    @property
    def epsilon(self) -> float:
        """How far a gate is moved at most: a tenth of the end in the beginning (SDARTS)."""
        end = self.regularisation.perturb_epsilon
        start = end / 10
        return start + (end - start) * self.progress

    def weight_gates(self, net: Supernet, gates: Gates, batch: Batch) -> Gates:
        """The gates, perturbed; an edge keeps its share, and what is decided is left alone."""
        soft, kind = gates.detach(), self.regularisation.perturb
        if kind == "none":
            return soft
        shares = None
        if self.edge_normalisation:
            shares = {g: w.sum(dim=-1, keepdim=True) for g, w in soft.weights.items()}
            soft = _times(soft, {g: 1 / s.clamp_min(1e-12) for g, s in shares.items()})
        if kind == "random":
            moved = _undecided(soft, jittered(soft, self.epsilon, self.search_rng))
            return _times(moved, shares)
        return _times(self._adversary(net, soft, batch, shares), shares)

    def _adversary(
        self, net: Supernet, soft: Gates, batch: Batch, shares: dict[str, Tensor] | None
    ) -> Gates:
        """Gates near `soft` at which the training loss is larger: projected sign ascent (SDARTS).

        It begins at random, goes in steps of 2 epsilon / steps with the supernet in evaluation
        mode, and is given up where it has not raised the loss.
        """
        steps, epsilon = self.regularisation.perturb_steps, self.epsilon

        def loss(gates: Gates) -> Tensor:
            return self.loss(net, _times(gates, shares), batch)

        with evaluating(net):
            with torch.no_grad():
                before = loss(soft)
            here = _undecided(soft, jittered(soft, epsilon, self.search_rng))
            for _ in range(steps):
                leaves = [w.detach().requires_grad_() for w in here.weights.values()]
                value = loss(Gates(dict(zip(here.weights, leaves, strict=True)), here.live))
                slopes = self.mean_over_ranks(
                    list(torch.autograd.grad(value, leaves, materialize_grads=True))
                )
                here = _climbed(soft, leaves, slopes, 2 * epsilon / steps, epsilon)
            with torch.no_grad():
                after = loss(here)
        before, after = self.mean_over_ranks([before, after])
        return here if bool(after >= before) else soft

    # -- skip connections --------------------------------------------------------------------

    def loss(self, net: Supernet, gates: Gates, batch: Batch, **more: Any) -> Tensor:
        """The loss with the auxiliary skip connections."""
        return super().loss(net, self.with_auxiliary(gates), batch, **more)

    def bilevel_loss(
        self, net: Supernet, gates: AlphasToGates, batch: Batch, **more: Any
    ) -> BilevelLoss:
        """The loss as a function of weights and alphas, with the auxiliary skip connections."""
        return super().bilevel_loss(net, lambda a: self.with_auxiliary(gates(a)), batch, **more)

    def with_auxiliary(self, gates: Gates) -> Gates:
        """The gates, those of skip connections larger on every edge that has a live option."""
        r = self.regularisation
        weight = (r.skip_weight or AUXILIARY) * (1 - self.progress)
        if r.skip_penalty != "auxiliary" or not weight:
            return gates
        weights, live = dict(gates.weights), dict(gates.live)
        for group, choices in self.space.groups.items():
            rows = list(live[group])
            added = torch.zeros(weights[group].shape[-2:])
            run = torch.zeros_like(added, dtype=torch.bool)
            for row, choice in enumerate(choices):
                skips = [i for i, option in enumerate(choice.options) if is_skip(option)]
                if not rows[row] or not skips:
                    continue
                added[row, skips[0]] = weight
                run[row, list(rows[row])] = True
                rows[row] = tuple(sorted({*rows[row], skips[0]}))
            w = weights[group]
            # Of an option that was not run, only the auxiliary connection counts.
            kept = w.masked_fill(~run.to(w.device), 0.0)
            weights[group] = kept + added.to(w.device, w.dtype)
            live[group] = tuple(rows)
        return Gates(weights, live)

    def alpha_penalty(self, alphas: Sequence[Tensor]) -> Tensor | None:
        """The beta decay of the alphas (beta-DARTS, Eq. 9)."""
        r = self.regularisation
        weight = (r.skip_weight or BETA) * self.progress
        if r.skip_penalty != "beta" or not weight:
            return None
        return weight * beta_decay(self.space, alphas)


def beta_decay(space: SearchSpace, alphas: Sequence[Tensor]) -> Tensor:
    """The mean over all choices of log sum exp of their alphas, a scalar (beta-DARTS)."""
    rows = [
        alpha.masked_fill(~torch.from_numpy(mask).to(alpha.device), -torch.inf).logsumexp(dim=-1)
        for alpha, mask in zip(matrices(space, alphas), space.masks.values(), strict=True)
    ]
    return torch.cat(rows).mean()


def require_in(space: SearchSpace, r: Regularisation) -> None:
    """Refuse what has no meaning in a space.

    Raises:
        CapabilityError: there are no skip connections, or no edges that are added up.
    """
    options = {option for choice in space.choices for option in choice.options}
    if r.skip_penalty == "auxiliary" and not any(map(is_skip, options)):
        raise CapabilityError(
            f"skip_penalty is 'auxiliary', and no option of space {space.name!r} is called skip or "
            "identity; accepted: none or beta, or a space with such an option"
        )
    if r.edge_normalisation == "on" and all(len(names) == 1 for names in space.summed()):
        raise CapabilityError(
            f"edge_normalisation is 'on', and no node of space {space.name!r} adds up several "
            "edges; accepted: off, or a space of cells as nasbench201 and darts"
        )


def _times(gates: Gates, factors: dict[str, Tensor] | None) -> Gates:
    """Every row of the gates times its factor [choices, 1]."""
    if factors is None:
        return gates
    return Gates({g: w * factors[g] for g, w in gates.weights.items()}, gates.live)


def _climbed(
    soft: Gates, here: Sequence[Tensor], slopes: Sequence[Tensor], step: float, epsilon: float
) -> Gates:
    """A step up from `here`, within epsilon of the gates `soft`, in rows of sum 1."""
    weights = {}
    for (group, clean), at, slope in zip(soft.weights.items(), here, slopes, strict=True):
        moved = (at.detach() + step * slope.sign() - clean).clamp(-epsilon, epsilon)
        weights[group] = to_shares(clean + moved, soft.mask(group).to(clean.device))
    return _undecided(soft, Gates(weights, soft.live))


def _undecided(soft: Gates, moved: Gates) -> Gates:
    """The gates `moved`, but for rows of `soft` whose live options all have weight 1."""
    weights = {}
    for group, clean in soft.weights.items():
        live = soft.mask(group).to(clean.device)
        decided = ((clean == 1) | ~live).all(dim=-1, keepdim=True)
        weights[group] = torch.where(decided, clean, moved.weights[group])
    return Gates(weights, soft.live)
