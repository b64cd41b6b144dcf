"""GOLD-NAS: gradual, one-level, differentiable.

Paper: Bi, Xie, Chen, Wei, Tian. 2020. arXiv 2007.03331.

    lambda = 0, dlambda = lambda0, t = 0, S = {}; all operations are live, with gates sigma(alpha)
    repeat
        1. one epoch on all training data; for each batch one backward pass of
               loss(w, sigma(alpha)) + lambda * R(alpha)
           and SGD on w as well as on alpha, at constant rates
        2. E_min = the n0 live operations of the whole network with the smallest p; prune those of
           E_min with p < xi_max, and every live operation with p < xi_min
        3. if n0 or more were pruned: dlambda = lambda0, lambda = lambda / c0;
           otherwise: dlambda = c0 * dlambda, lambda = lambda + dlambda
        4. if none was pruned: t = t + 1; otherwise, if t > t0, the network as it stood before the
           pruning joins S, and t = 0
        5. stop when the network's multiply-adds are below the smallest wanted; it joins S
    return S, from accurate to small

p is the share of an operation's gate in the gates of its node: of all live operations on all edges
into it. With n live operations in a node, R is the sum over nodes and their live operations of
ln(1 + n p) (b + mu F), F an operation's millions of multiply-adds. It is concave: it pushes down
what is below the average of its node, and is indifferent where all are equal.

Each gate is its own where each cell has its own choices, as in the space `darts-gold-nas`; where
cells share them, an operation goes in all cells at once. What a space cannot have as an
architecture (two operations on an edge of NAS-Bench-201) is searched all the same, and its own rule
reads p in the end. A choice that has to keep an option keeps its last; one that may have `none`
starts without it and ends with it if all else is pruned.

Departures. The paper's text was not at hand; the algorithm is that of an unofficial implementation
(sunsmarterjie/GOLD_NAS) without its slips: p is taken over the whole node on every edge, operations
go at the end of an epoch only, and a network joins S as it stood before the pruning. xi_max is at
most half the mean share of the largest node, as 0.05 is with ten operations, so that a node never
loses all. The end is a share of the supernet's multiply-adds instead of a number (240 M of 780 M),
and epochs are the most there can be: where they are over first, the last network is the smallest.
The search has no auxiliary head (its loss weighs 0.4 in the paper); AutoAugment and Cutout are in
the paper's preset and not in the quick one. Both parts of the search data train; accuracies during
the search are therefore of training data. alpha is 0 in the beginning, as in the code. Norms of
stand-alone networks are affine. Weights of pruned operations stay in the supernet, and are not
executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from morphogen.bilevel.gates import carrying, derive_live, least_live, relaxed_gates
from morphogen.bilevel.nodes import Nodes, flat
from morphogen.bilevel.optimisers import SGD
from morphogen.bilevel.state import BilevelState, joint_step
from morphogen.core import Architecture
from morphogen.core.config import Amount, Count, Natural, Positive, Share, config
from morphogen.cost import OptionCosts, of_options
from morphogen.methods._contract import Candidate, Metrics, Phase, method
from morphogen.spaces import Differentiable, SearchSpace
from morphogen.supernets import Gates
from morphogen.supernets.relaxations import sigmoid
from morphogen.tasks.problem import Clock, Problem

MILLION = 1e6


@config
class GOLDNASConfig:
    """GOLD-NAS, as on CIFAR-10."""

    lambda0: Positive = 1e-5
    """first increase of the weight of the resource term (code: 1e-5)"""
    growth: Positive = 2.0
    """c0, by which the increase grows and the weight falls (code: 2)"""
    per_round: Count = 4
    """n0, operations that a round should prune (code: 4)"""
    xi_min: Share = 0.01
    """share of its node below which every operation is pruned (code: 0.01)"""
    xi_max: Share = 0.05
    """share below which the n0 weakest are pruned (code: 0.05)"""
    stable_rounds: Natural = 3
    """t0, rounds without pruning after which a network joins the series (code: 3)"""
    uniform: Amount = 1.0
    """b, what every operation costs in the resource term (code: 1)"""
    mu: Amount = 0.0
    """what a million multiply-adds cost in the resource term (code: 0; other runs: 1)"""
    smallest: Share = 0.308
    """share of the supernet's multiply-adds at which the search ends (code: 240 M of 779.5 M)"""
    weights: SGD = SGD(lr=0.01, lr_end=0.01, nesterov=False, weight_decay=3e-4)
    alpha: SGD = SGD(lr=1.0, lr_end=1.0, nesterov=False, weight_decay=0.0, clip=0.0)


@dataclass
class GOLDNASState(BilevelState):
    """Supernet and gates, what is live of them, and the networks found on the way."""

    live: list[Tensor]
    """Masks of the live operations, [choices, widest] per group, on the CPU."""
    weight: float
    """lambda, of the resource term."""
    increase: float
    """dlambda."""
    stable: int
    """t, rounds since the last pruning."""
    series: list[str]
    """S, from large to small, in the space's notation."""
    macs: list[float]
    """Of each of the series, in the supernet's size."""
    nodes: Nodes = field(metadata={"checkpoint": False})
    costs: OptionCosts = field(metadata={"checkpoint": False})
    whole: float = field(metadata={"checkpoint": False})
    """Multiply-adds with all operations live."""
    xi_max: float = field(metadata={"checkpoint": False})
    price: Tensor = field(metadata={"checkpoint": False})
    """b + mu F of every operation: [options]."""


@method(
    "gold-nas",
    config=GOLDNASConfig,
    needs=[Differentiable],
    epochs=150,
    selects=True,
    quick={"weights.lr": 0.025, "weights.lr_end": 0.025, "lambda0": 0.01, "stable_rounds": 0},
    published={
        "darts-gold-nas": {"batch_size": 96, "task.auto_augment": "cifar10", "task.cutout": 16},
    },
)
class GOLDNAS:
    """One search, which prunes a network gradually and keeps a series of what it was."""

    def __init__(self, config: GOLDNASConfig) -> None:
        self.config = config

    def phases(self, problem: Problem, epochs: int) -> Sequence[Phase]:
        """One, whose epoch is a pass over all data there are."""
        return [Phase("search", epochs, part="pool")]

    def init(self, problem: Problem) -> GOLDNASState:
        """A new supernet, all operations live with gates of a half."""
        c, space = self.config, problem.space
        start = BilevelState.start(problem, c.weights, c.alpha)
        for alpha in start.alphas:
            alpha.data.zero_()
        live, nodes = carrying(space), Nodes(space, problem.devices.device)
        costs = of_options(space, problem.spec, problem.task.example())
        macs = flat([torch.from_numpy(m) for m in costs.macs.values()])
        largest = nodes.sums(flat(live).to(start.alphas[0])).max().item()
        return GOLDNASState(
            start.net,
            start.weight_optimiser,
            start.alphas,
            start.alpha_optimiser,
            live=live,
            weight=0.0,
            increase=c.lambda0,
            stable=0,
            series=[],
            macs=[],
            nodes=nodes,
            costs=costs,
            whole=multiply_adds(costs, live),
            xi_max=min(c.xi_max, 0.5 / largest),
            price=(c.uniform + c.mu * macs / MILLION).to(start.alphas[0]),
        )

    def step(self, state: GOLDNASState, problem: Problem, clock: Clock) -> Metrics:
        """One step on weights and gates; after an epoch's last, a round of pruning."""
        c = self.config
        gates = self.gates(state, problem.space)
        loss = problem.loss(state.net, gates, problem.batch("pool"))  # 1
        weights = [gates.weights[group] for group in problem.space.groups]
        penalty = state.weight * resource_term(state.nodes, weights, state.live, state.price)
        loss = joint_step(state, problem, loss, c.weights, c.alpha, clock, penalty=penalty)
        told: dict[str, float | Tensor] = {"train_loss": loss}
        if clock.last:
            told |= self._round(state, problem.space)
        return told

    def _round(self, state: GOLDNASState, space: SearchSpace) -> dict[str, float]:
        before, macs = self.derive(state, space), multiply_adds(state.costs, state.live)
        told = {"lambda": state.weight}
        pruned = self.prune(state, space)  # 2
        state.weight, state.increase = self.reweigh(state.weight, state.increase, pruned)  # 3
        if not pruned:  # 4
            state.stable += 1
        else:
            if state.stable > self.config.stable_rounds:
                state.series.append(space.format(before))
                state.macs.append(macs)
            state.stable = 0
        live = sum(int(mask.sum()) for mask in state.live)
        macs = multiply_adds(state.costs, state.live)
        return told | {"pruned": pruned, "operations": live, "macs": macs}

    def prune(self, state: GOLDNASState, space: SearchSpace) -> int:
        """Switch weak operations off; returns how many."""
        c = self.config
        p = self.shares(state, space).tolist()
        live = flat(state.live).tolist()
        ranked = sorted((i for i, on in enumerate(live) if on), key=lambda i: p[i])
        weakest = ranked[: c.per_round]
        found = [i for i in weakest if p[i] < state.xi_max]
        found += [i for i in ranked[c.per_round :] if p[i] < c.xi_min]
        choices = list(space.groups.values())
        pruned = 0
        for group, row, column in (state.nodes.places[i] for i in found):
            mask = state.live[group][row]
            if mask.sum() > least_live(choices[group][row]):
                mask[column] = False
                pruned += 1
        return pruned

    def reweigh(self, weight: float, increase: float, pruned: int) -> tuple[float, float]:
        """The weight lambda and dlambda after a round that pruned so many operations."""
        c = self.config
        if pruned >= c.per_round:
            return weight / c.growth, c.lambda0
        increase *= c.growth
        return weight + increase, increase

    def ended(self, state: GOLDNASState, clock: Clock) -> bool:
        """Whether the network is as small as wanted."""
        return multiply_adds(state.costs, state.live) < self.config.smallest * state.whole  # 5

    def gates(self, state: GOLDNASState, space: SearchSpace) -> Gates:
        """sigma(alpha) of what is live."""
        return relaxed_gates(space, state.alphas, sigmoid, state.live)

    def derive(self, state: GOLDNASState, space: SearchSpace) -> Architecture:
        """What is live; if that is no architecture of the space, by the space's rule on p."""
        return derive_live(space, state.live, state.nodes.matrices(self.shares(state, space)))

    def shares(self, state: GOLDNASState, space: SearchSpace) -> Tensor:
        """The shares p of all options, 0 of those that are pruned: [options], on the CPU."""
        weights = self.gates(state, space).weights.values()
        return state.nodes.shares([w.detach() for w in weights]).cpu()

    def candidates(self, state: GOLDNASState, space: SearchSpace) -> Sequence[Candidate]:
        """S and the last network, from large to small."""
        series = list(zip(state.series, state.macs, strict=True))
        last = space.format(self.derive(state, space))
        if last not in state.series:
            series.append((last, multiply_adds(state.costs, state.live)))
        return [Candidate(space.parse(text), {"macs": macs}) for text, macs in series]


def resource_term(
    nodes: Nodes, weights: Sequence[Tensor], live: Sequence[Tensor], price: Tensor
) -> Tensor:
    """R, a scalar: the sum over live operations of ln(1 + n p) times their price.

    Args:
        nodes: whose gates stand side by side.
        weights: gates per group, [choices, widest], 0 where not live.
        live: masks of the same shapes.
        price: [options].
    """
    n = nodes.sums(flat(live).to(price))
    return ((n * nodes.shares(weights)).log1p() * price).sum()


def multiply_adds(costs: OptionCosts, live: Sequence[Tensor]) -> float:
    """Those of the supernet with what is live, stem and classifier included."""
    of_options = zip(costs.macs.values(), live, strict=True)
    return costs.rest["macs"] + sum(float((macs * mask.numpy()).sum()) for macs, mask in of_options)
