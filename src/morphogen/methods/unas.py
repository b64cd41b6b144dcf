"""UNAS: differentiable architecture search meets reinforcement learning.

Paper: Vahdat, Mallya, Liu, Kautz. CVPR 2020. arXiv 1912.07651.

    warm up: train the weights w on relaxed samples of the uniform distribution
    repeat until the budget is spent, on a training and a validation batch
        1. draw d, one-hot, from p(alpha), the choices independent of one another, and from the same
           noise its relaxation z = softmax((log p + Gumbel noise) / tau) and z~, equal to z and
           differentiable as a relaxation given d; one draw for each example, or one for all
        2. L(.) = l_train + lambda |l_valid - l_train| + 0.2 repetitions(.), at d and at z
        3. Adam on alpha along the gradient of
               (L(d) - L(z)) log p(d) + L(z - z~),    the bracket a constant,
           which is that of E[L(d)] without bias: REINFORCE, and what varies with the relaxation
           taken out of it and put back by the relaxation's own gradient (REBAR)
        4. Adam on w along the gradient of l_train at z, drawn before alpha moved
    return the strongest option of every choice

Of a latency with a target T there is a term beta max(0, latency - T) more in the bracket and
outside, on one more draw: measured at d, and at z by a linear model that is fitted to measurements
of sampled paths before the first step on alpha. However wrong it is, the gradient has no bias.

`repetitions` counts nodes both of whose inputs are the same operation on the same node, in spaces
where that can be (`darts-unas`). Estimators to compare with are the relaxation's gradient alone
(`gumbel`) and the score function with a moving average as baseline (`reinforce`).

Departures. No noise is clamped, and d is exactly one-hot (in the authors' code softmax(1000 z) in
the DARTS space). A choice that keeps several options is sampled as if it kept one. Options at
`threshold` or below are not run; of a pair of choices that is so of each, not of the product. Where
one is left out L(z) jumps, which no gradient sees: above 0, as the authors have it, the gradient
may be a little biased (`results/unas-estimator.json`). The nominal latency is of multiply-adds and
bytes, of the paths in the supernet. The authors' score function for latency takes the probability
of another sample than it measures; here it is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from morphogen.bilevel.categorical import entropy, sample, soften
from morphogen.bilevel.gates import probabilities
from morphogen.bilevel.joint import Joint, draw, features, repetitions, softened_gates
from morphogen.bilevel.optimisers import Adam
from morphogen.bilevel.state import BilevelState, alpha_step, weight_step
from morphogen.bilevel.surrogate import linear, ridge
from morphogen.core import Architecture, CapabilityError, ConfigError
from morphogen.core.config import Amount, Count, Natural, Positive, Share, config
from morphogen.cost import Paths, latency
from morphogen.methods._contract import Metrics, Phase, method
from morphogen.spaces import Differentiable, SearchSpace
from morphogen.supernets import Gated, Gates, frozen_statistics
from morphogen.tasks import Batch
from morphogen.tasks.problem import Clock, Problem, trainable
from morphogen.tasks.streams import share

Estimator = Literal["rebar", "gumbel", "reinforce"]

WARM_UP = "warm-up"

ROUNDS = 10
"""Passes of which a measured latency is the median."""

DECAY = 0.1
"""Of the moving averages that are the score function's baselines: what stays of the old one."""


@config
class UNASConfig:
    """UNAS, as its authors search the DARTS space on CIFAR-10."""

    estimator: Estimator = "rebar"
    """gradient of the expected loss: REBAR's, the relaxation's alone, or the score function's
    (paper: rebar)"""
    samples: Literal["example", "batch"] = "example"
    """one architecture for each example, or one for the whole batch (paper, CIFAR: example;
    ImageNet: batch)"""
    gap_weight: Amount = 0.5
    """lambda, weight of the generalisation gap (paper: 0.5)"""
    gap: Literal["example", "batch"] = "example"
    """the gap of an example to the one in its place in the validation batch, or that of the means
    (authors' code: example); batch needs samples batch"""
    tau: Positive = 0.4
    """temperature of the relaxation (authors' code: 0.4 throughout)"""
    softening: Share = 0.0
    """epsilon added to every probability (paper, CIFAR: 0; ImageNet: 0.08)"""
    threshold: Share = 0.05
    """weight at or below which a relaxed option is not run (authors' code: 0.05)"""
    repetition: Amount = 0.2
    """what a node costs both of whose inputs are the same (authors' code: 0.2)"""
    entropy: Amount = 0.0
    """weight of the entropy of the choices, which is minimised with the loss (authors' code: 0)"""
    target: Amount = 0.0
    """T, latency that costs nothing, in milliseconds; 0: no latency term (paper, ImageNet: 10)"""
    latency: Literal["measured", "nominal"] = "measured"
    """latency as measured on this machine, or that of a nominal processor, 10 G multiply-adds and
    10 GB a second, which is the same in every run (paper: measured)"""
    latency_examples: Count = 24
    """examples of the pass whose latency it is (paper: 24)"""
    latency_weight: Amount = 0.1
    """beta, what a millisecond above the target costs in the end (authors' code: 0.1)"""
    latency_ramp: Natural = 30000
    """steps in which beta rises from 0 (authors' code: 30000)"""
    fitted: Count = 10000
    """paths that the linear model of latency is fitted to (paper: 10000)"""
    warm_up: Natural = 15
    """epochs of the weights alone, before the search (paper, CIFAR: 15)"""
    weights: Adam = Adam(lr=6e-4, lr_end=1e-4, betas=(0.9, 0.999), weight_decay=3e-4, clip=5.0)
    alpha: Adam = Adam(lr=2e-3, lr_end=3e-4, betas=(0.9, 0.999), weight_decay=1e-6)

    def __post_init__(self) -> None:
        if self.gap == "batch" and self.samples == "example":
            raise ConfigError(
                "gap is 'batch' with samples 'example': the mean over a batch of many networks is "
                "that of none; accepted: samples 'batch', or gap 'example'"
            )


@dataclass
class UNASState(BilevelState):
    """What the search has learned, and what it compares with."""

    baseline: float
    """Moving average of the loss, for the score function."""
    latency_baseline: float
    """Likewise of the latency term."""
    surrogate: Tensor
    """[options + 1] on the CPU, the linear model of latency; zeros until it is fitted."""
    paths: Paths | None = field(metadata={"checkpoint": False})
    """Of the nominal latency."""


@method(
    "unas",
    config=UNASConfig,
    needs=[Differentiable],
    epochs=85,
    quick={
        "samples": "batch",
        "softening": 0.08,
        "warm_up": 1,
        "fitted": 300,
        "latency_ramp": 100,
        "alpha.lr": 0.02,
        "weights.lr": 2e-3,
    },
    published={
        "darts-unas": {
            "batch_size": 128,
            "split.train_images": 45000,
            "split.valid_images": 5000,
        },
        "proxylessnas-gpu": {
            "batch_size": 192,
            "epochs": 15,
            "split.train_images": 1153050,
            "split.valid_images": 128117,
            "task.flip": False,
            "task.crop": False,
            "samples": "batch",
            "softening": 0.08,
            "repetition": 0.0,
            "target": 10.0,
            "warm_up": 20,
            "weights.lr": 3e-4,
            "alpha.lr": 1e-3,
        },
    },
    takes=("partial_channels", "alpha_warmup"),
)
class UNAS:
    """Sampled networks, whose loss moves the architecture without bias."""

    def __init__(self, config: UNASConfig) -> None:
        self.config = config

    def phases(self, problem: Problem, epochs: int) -> Sequence[Phase]:
        """Weights alone, unless they are trained on these data; then weights and architecture."""
        trained = problem.start is not None and problem.start.other_outputs is None
        warm_up = Phase(WARM_UP, 0 if trained else self.config.warm_up, part="train")
        return [warm_up, Phase("search", epochs, part="train")]

    def init(self, problem: Problem) -> UNASState:
        """A new supernet, and alphas that are zero."""
        c, space = self.config, problem.space
        start = BilevelState.start(problem, c.weights, c.alpha)
        for alpha in start.alphas:
            alpha.data.zero_()
        options = sum(int(mask.sum()) for mask in space.masks.values())
        nominal = bool(c.target) and c.latency == "nominal"
        return UNASState(
            start.net,
            start.weight_optimiser,
            start.alphas,
            start.alpha_optimiser,
            baseline=0.0,
            latency_baseline=0.0,
            surrogate=torch.zeros(options + 1, dtype=torch.float64),
            paths=Paths(space, problem.spec, problem.task.example()) if nominal else None,
        )

    def step(self, state: UNASState, problem: Problem, clock: Clock) -> Metrics:
        """One step on the weights, and in the search one on the alphas before it."""
        c = self.config
        if clock.phase == WARM_UP:
            drawn = self.draw(state, problem)
            constant = replace(c.weights, lr_end=0.0)
            gates, batch = drawn.relaxed(c.threshold), problem.batch("train")
            return {"train_loss": weight_step(state, problem, batch, gates, constant, clock)}
        told: dict[str, float | Tensor] = {}
        if clock.epoch == clock.step == 0:
            state.weight_optimiser = c.weights.make(trainable(state.net).values())
            if c.target:
                told |= self._fit(state, problem)
        train, valid = problem.batch("train"), problem.batch("valid")
        drawn = self.draw(state, problem)  # 1
        objective, losses = self.objective(state, problem, drawn, train, valid)
        told |= dict(zip(losses, problem.mean_over_ranks(list(losses.values())), strict=True))
        if c.target:
            term, of_latency = self._latency_term(state, problem, clock)
            objective, told = objective + term, told | of_latency
        if c.entropy:
            objective = objective + c.entropy * self._entropy(state, problem.space)
        gradients = torch.autograd.grad(objective, state.alphas)
        alpha_step(state, problem, problem.mean_over_ranks(list(gradients)), c.alpha, clock)  # 3
        gates = drawn.relaxed(c.threshold)
        told["train_loss"] = weight_step(state, problem, train, gates, c.weights, clock)  # 4
        return told

    def draw(self, state: UNASState, problem: Problem, *, shared: bool = False) -> Joint:
        """One sample for each example of the batch, or a shared one, with its relaxation."""
        c, devices = self.config, problem.devices
        each = c.samples == "example" and not shared
        return draw(
            problem.space,
            state.alphas,
            c.tau,
            problem.search_rng,
            softening=c.softening,
            examples=problem.batch_size if each else None,
            mine=share(problem.batch_size, devices.rank, devices.world),
        )

    # -- the loss ----------------------------------------------------------------------------

    def objective(
        self, state: UNASState, problem: Problem, drawn: Joint, train: Batch, valid: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """A scalar whose gradient by alpha estimates that of the expected loss, and losses."""
        c, told = self.config, dict[str, Tensor]()
        hard = torch.zeros(())
        if c.estimator != "gumbel":
            with torch.no_grad():
                hard, valid_loss = self.loss(state, problem, drawn.discrete(), train, valid)
            told |= {"sampled_loss": hard.mean(), "valid_loss": valid_loss}
        if c.estimator == "reinforce":
            objective = score_function(hard, state.baseline, drawn.log_p)
            (mean,) = problem.mean_over_ranks([hard.mean()])
            state.baseline = DECAY * state.baseline + (1 - DECAY) * float(mean)
            return objective.mean(), told
        gates = drawn.control if c.estimator == "rebar" else drawn.relaxed
        soft, valid_loss = self.loss(state, problem, gates(c.threshold), train, valid)
        told |= {"control_loss": soft.detach().mean()}
        if c.estimator == "gumbel":
            return soft.mean(), told | {"valid_loss": valid_loss}
        return controlled(hard, soft, drawn.log_p).mean(), told

    def loss(
        self, state: UNASState, problem: Problem, gates: Gates, train: Batch, valid: Batch
    ) -> tuple[Tensor, Tensor]:
        """L of the networks of these gates, [examples] or a scalar; and the validation loss.

        Step 2. With one network for all examples, L is the mean.
        """
        c, task = self.config, problem.task
        with frozen_statistics(state.net):
            of_train, of_valid = (
                task.loss(problem.forward(state.net, gates, batch.x), batch.y, each=True)
                for batch in (train, valid)
            )
        if c.gap == "example":
            if len(of_train) != len(of_valid):
                raise CapabilityError(
                    f"gap is 'example', and batches of these data have {len(of_train)} and "
                    f"{len(of_valid)} {task.unit}; accepted: gap 'batch', or data with equal ones"
                )
            found = of_train + c.gap_weight * (of_valid - of_train).abs()
        else:
            gap = (of_valid - of_train).mean()
            # The sign of the joint batch's, so that the mean over processes is its gap.
            (joint,) = problem.mean_over_ranks([gap.detach()])
            found = of_train.mean() + c.gap_weight * joint.sign() * gap
        if c.samples == "batch":
            found = found.mean()
        if c.repetition:
            found = found + c.repetition * repetitions(problem.space, gates)
        return found, of_valid.detach().mean()

    def _entropy(self, state: UNASState, space: SearchSpace) -> Tensor:
        found = []
        for alpha, mask in zip(state.alphas, space.masks.values(), strict=True):
            live = torch.from_numpy(mask).to(alpha.device)
            found.append(entropy(soften(alpha, self.config.softening, live), live).sum())
        return torch.stack(found).sum()

    # -- latency -----------------------------------------------------------------------------

    def latency(self, state: UNASState, problem: Problem, gates: Gates) -> float:
        """Milliseconds of a pass through the options that are live."""
        c = self.config
        if state.paths is not None:
            return c.latency_examples * state.paths(gates).nominal
        net, example = Gated(state.net, gates), problem.task.example()
        (found,) = latency([net], example, batch=c.latency_examples, rounds=ROUNDS, warm_up=1)
        return found.median

    def _fit(self, state: UNASState, problem: Problem) -> dict[str, float | Tensor]:
        """Fit the linear model of latency to paths that are sampled from p."""
        c, space = self.config, problem.space
        every = {}
        for (group, mask), alpha in zip(space.masks.items(), state.alphas, strict=True):
            live = torch.from_numpy(mask).to(alpha.device)
            softened = soften(alpha.detach(), c.softening, live)
            wide = softened.expand(c.fitted, *softened.shape)
            every[group] = sample(wide, problem.search_rng, live)
        taken = [
            self.latency(state, problem, Gates.above({g: w[i] for g, w in every.items()}))
            for i in range(c.fitted)
        ]
        values = torch.tensor(taken, dtype=torch.float64)
        found = ridge(features(space, Gates.above(every)).cpu(), values)
        state.surrogate = found.weights
        return {"fit_error": found.held_out, "fit_latency": float(values.mean())}

    def _latency_term(
        self, state: UNASState, problem: Problem, clock: Clock
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """What latency above the target costs, a scalar for alpha's gradient; and figures."""
        c = self.config
        done = clock.epoch * clock.steps + clock.step
        beta = c.latency_weight * (min(done / c.latency_ramp, 1.0) if c.latency_ramp else 1.0)
        drawn = self.draw(state, problem, shared=True)
        discrete = drawn.discrete()
        measured = self.latency(state, problem, discrete)
        modelled = linear(state.surrogate, features(problem.space, drawn.control()))
        told: dict[str, float | Tensor] = {
            "latency": measured,
            "latency_error": (measured - modelled.detach()).abs(),
        }
        hard = torch.as_tensor(measured, dtype=modelled.dtype, device=modelled.device)
        if c.estimator == "reinforce":
            term = score_function(beta * hard, state.latency_baseline, drawn.log_p)
            state.latency_baseline *= DECAY
            state.latency_baseline += (1 - DECAY) * beta * measured
            return term, told
        if c.estimator == "gumbel":
            modelled = linear(state.surrogate, features(problem.space, drawn.relaxed()))
            return beta * torch.relu(modelled - c.target), told
        above = beta * torch.relu(modelled - c.target)
        return controlled(beta * torch.relu(hard - c.target), above, drawn.log_p), told

    # -- results -----------------------------------------------------------------------------

    def gates(self, state: UNASState, space: SearchSpace) -> Gates:
        """The expectation of the sampled networks."""
        return softened_gates(space, state.alphas, self.config.softening)

    def derive(self, state: UNASState, space: SearchSpace) -> Architecture:
        """The strongest option of every choice, by the space's rule."""
        return space.derive(probabilities(space, state.alphas))


def controlled(hard: Tensor, soft: Tensor, log_p: Tensor) -> Tensor:
    """The objective of step 3: its gradient is an unbiased estimate of that of E[hard].

    Args:
        hard: losses of the samples.
        soft: losses, or a model of them, under the gates of `Joint.control`.
        log_p: of the samples.
    """
    return (hard - soft).detach() * log_p + soft


def score_function(hard: Tensor, baseline: float, log_p: Tensor) -> Tensor:
    """REINFORCE: likewise, from the losses of the samples alone."""
    return (hard - baseline).detach() * log_p
