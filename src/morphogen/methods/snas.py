"""SNAS: stochastic neural architecture search.

Paper: Xie, Zheng, Liu, Lin. ICLR 2019. arXiv 1812.09926.

    repeat until the budget is spent, on a training batch
        1. draw Z, one row for each edge, from the concrete distribution of alpha at temperature T:
           Z = softmax((alpha + Gumbel noise) / T); one sample for the whole batch, shared by all
           cells of a type
        2. L = loss of the network under Z, every operation weighted, + eta * E[C(Z)], the expected
           resource cost of the edges
        3. one backward pass: SGD on the weights and Adam on alpha along the gradient of the same L
        T falls linearly from near 1 in the first epoch to 0.03 in the last
    return the strongest operation of every choice, `none` among them

Weights and alpha learn from the training part alone, on one level: the validation part is never
stepped on, and only measures. At the end Z is nearly one-hot, and the returned network keeps the
weights that it was sampled with: what it does without retraining stands in each line of metrics as
`recalibrated_accuracy`.

The cost of an edge is R = (ln S + ln F + ln M) / 3 (`log`), arguments below 1 replaced by 1, or
R = 0.43 (2 S + F / 4000 + M / 100) (`linear`), with its parameters S, multiply-adds F and memory
traffic M, each the sum of its operations' weighted by Z; C is the sum over the edges of a cell,
the mean over the cells of a type. Its gradient is that of the cost of the sample (`reparametrised`;
biased for T > 0), of softmax(alpha) in place of Z (`exact`; of the log of the expected cost), or of
log q(Z) weighted by R, the concrete density q (`score`).

Departures. "Strongest operation of every choice" with edges that may be `none` is the rule of the
space `darts-snas`; in `darts` its own rule of two edges per node decides. Costs are those of the
supernet's options (`morphogen.cost.of_options`), in which an identity is free and a pool has no
multiply-adds (in the authors' code an identity has memory traffic, a pool 9 multiply-adds for each
of its outputs), and M counts all that kernels move, in numbers of 4 bytes. The means are over the
real numbers of cells, and T reaches 0.03 in the last of the epochs there are; the authors' code has
6 and 2 cells and 150 epochs in its text. It trains on all 50,000 images and reports on the test
part; here 5,000 are held out. Alpha begins near 0, not near 1. Drop-path of edges, 0.3 there in the
search, is not applied. The score function sees Z as a constant; in the authors' code it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from morphogen.bilevel.categorical import concrete_log_prob
from morphogen.bilevel.gates import concrete_gates, probabilities, softmax_gates
from morphogen.bilevel.optimisers import SGD, Adam
from morphogen.bilevel.state import BilevelState, joint_step
from morphogen.core import Architecture
from morphogen.core.config import Amount, Positive, config
from morphogen.cost import OptionCosts, of_options
from morphogen.methods._contract import QUICK_RATES, Metrics, Phase, method
from morphogen.spaces import Differentiable, SearchSpace
from morphogen.supernets import Gates
from morphogen.tasks.problem import Clock, Problem

Estimator = Literal["reparametrised", "exact", "score"]


Form = Literal["log", "linear"]

BYTES = 4
"""Of a number in memory, where a cost counts numbers."""


@config
class SNASConfig:
    """SNAS, as its authors run it with 8 cells on CIFAR-10."""

    tau_start: Positive = 1.0
    """T0, from which the temperature falls (paper: 1)"""
    tau_end: Positive = 0.03
    """temperature of the last epoch (authors' code: 0.03)"""
    eta: Amount = 0.01
    """weight of the resource cost; 0: none (authors' code: 0.01, later 0.0015)"""
    cost: Form = "log"
    """cost of an edge: the mean of the logarithms of parameters, multiply-adds and memory traffic,
    or a weighted sum of the three (authors' commands: log)"""
    estimator: Estimator = "reparametrised"
    """gradient of the expected cost: through the sample, of the expectation itself, or by the score
    function (authors' commands: reparametrised)"""
    weights: SGD = SGD(nesterov=False, weight_decay=3e-4)
    alpha: Adam = Adam(clip=10.0)


@dataclass
class SNASState(BilevelState):
    """A supernet, alphas, and what operations cost."""

    costs: OptionCosts | None = field(metadata={"checkpoint": False})
    """Of each cell; None where they weigh nothing."""


@method(
    "snas",
    config=SNASConfig,
    needs=[Differentiable],
    epochs=150,
    quick=QUICK_RATES,
    published={"darts": {"split.train_images": 45000, "split.valid_images": 5000}},
    takes=("partial_channels", "stop_by_eigenvalue", "skip_penalty", "alpha_warmup"),
)
class SNAS:
    """Sampled networks, whose loss moves weights and architecture at once."""

    def __init__(self, config: SNASConfig) -> None:
        self.config = config

    def phases(self, problem: Problem, epochs: int) -> Sequence[Phase]:
        """One, whose epoch is a pass over the training part."""
        return [Phase("search", epochs, part="train")]

    def init(self, problem: Problem) -> SNASState:
        """A new supernet, alphas near zero, the costs of its operations."""
        c = self.config
        start = BilevelState.start(problem, c.weights, c.alpha)
        costs = None
        if c.eta:
            costs = of_options(problem.space, problem.spec, problem.task.example(), places=True)
        return SNASState(
            start.net, start.weight_optimiser, start.alphas, start.alpha_optimiser, costs
        )

    def step(self, state: SNASState, problem: Problem, clock: Clock) -> Metrics:
        """One step on weights and alpha, on one sample."""
        c = self.config
        tau = self.temperature(clock)
        gates = concrete_gates(problem.space, state.alphas, tau, problem.search_rng)  # 1
        loss = problem.loss(state.net, gates, problem.batch("train"))  # 2
        told: dict[str, float | Tensor] = {"tau": tau}
        penalty = None
        if state.costs is not None:
            cost, surrogate = self._cost(state, state.costs, problem.space, gates, tau)
            penalty = c.eta * surrogate
            told["cost"] = cost.detach()
        loss = joint_step(state, problem, loss, c.weights, c.alpha, clock, penalty=penalty)  # 3
        return {"train_loss": loss, **told}

    def temperature(self, clock: Clock) -> float:
        """T of the clock's epoch e of E: T0 at e = -1, falling linearly to its end at E - 1."""
        c = self.config
        return c.tau_end + (c.tau_start - c.tau_end) * (1 - (clock.epoch + 1) / clock.epochs)

    def _cost(
        self, state: SNASState, costs: OptionCosts, space: SearchSpace, gates: Gates, tau: float
    ) -> tuple[Tensor, Tensor]:
        """C, and a scalar that has the estimator's gradient of its expectation."""
        if self.config.estimator == "exact":
            gates = softmax_gates(space, state.alphas)
        of_edges = edge_costs(costs, gates, self.config.cost)
        total = torch.stack([r.sum() for r in of_edges.values()]).sum()
        if self.config.estimator != "score":
            return total, total
        surrogates = [
            of_edges[group].detach()
            * concrete_log_prob(
                gates.weights[group].detach(), alpha, tau, gates.mask(group).to(alpha.device)
            )
            for group, alpha in zip(space.groups, state.alphas, strict=True)
        ]
        return total, torch.stack([s.sum() for s in surrogates]).sum()

    def gates(self, state: SNASState, space: SearchSpace) -> Gates:
        """The expectation of the sampled paths: the softmax of alpha."""
        return softmax_gates(space, state.alphas)

    def derive(self, state: SNASState, space: SearchSpace) -> Architecture:
        """The strongest operations by the space's rule."""
        return space.derive(probabilities(space, state.alphas))


def edge_costs(costs: OptionCosts, gates: Gates, form: Form) -> dict[str, Tensor]:
    """R of every choice, the mean over its cells: group -> [choices].

    Args:
        costs: taken with `places`.
        gates: weights of the options: a sample, or probabilities.
        form: see `SNASConfig.cost`.
    """
    params, macs = costs.of_choices(gates, "params"), costs.of_choices(gates, "macs")
    traffic = costs.of_choices(gates, "memory_access")
    found = {}
    for group, stands in costs.stands.items():
        s, f, m = params[group], macs[group], traffic[group] / BYTES
        if form == "log":
            each = torch.stack([s, f, m]).clamp_min(1.0).log().mean(dim=0)
        else:
            each = 0.43 * (2 * s + f / 4000 + m / 100)
        cells = torch.as_tensor(stands, device=each.device).clamp_min(1)
        found[group] = each.sum(dim=0) / cells
    return found
