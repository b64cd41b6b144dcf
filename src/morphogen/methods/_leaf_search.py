"""What few-shot NAS and GM-NAS share: the search inside a leaf, and one ranking of all leaves.

A leaf is searched as a whole supernet is: by single paths, by DARTS, by GDAS, or by SNAS' sampled
gates, within the options that it has. What the leaves propose is measured on the same
search-validation examples, each candidate with the weights of its own leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from torch import Tensor

from morphogen.bilevel.gates import concrete_gates, probabilities, sampled_path, softmax_gates
from morphogen.bilevel.hypergradient import first_order
from morphogen.bilevel.leaves import Leaf, Leaves
from morphogen.bilevel.optimisers import SGD, Adam
from morphogen.bilevel.state import alpha_step, new_supernet, weight_step
from morphogen.core import Architecture, CapabilityError, ConfigError
from morphogen.core.config import Count, Images, Positive, config
from morphogen.evaluators.single_path import agreement
from morphogen.evaluators.supernet import Norms, SupernetEvaluator
from morphogen.methods._contract import Candidate, Metrics, Phase
from morphogen.methods.darts import DARTS, DARTSConfig
from morphogen.methods.gdas import GDAS, GDASConfig
from morphogen.spaces import Constrained, Differentiable, SearchSpace
from morphogen.supernets import Gates, Supernet
from morphogen.tasks.problem import Clock, Problem

TRIES = 10
"""Draws for each candidate that is wanted and not yet drawn."""

SELECTION = "selection"
"""The phase in which candidates are measured, a leaf an epoch."""


@config
class LeafSearchConfig:
    """The search inside a leaf."""

    searcher: Literal["single-path", "darts", "gdas", "snas"] = "single-path"
    """what trains a leaf: uniformly drawn single paths, or one with alphas of the leaf's own"""
    second_order: bool = False
    """of darts: the gradient through one unrolled weight step"""
    tau_start: Positive = 10.0
    """of gdas and snas: temperature of a leaf's first epoch (gdas: 10; snas: 1)"""
    tau_end: Positive = 0.1
    """of gdas and snas: temperature of its last epoch (both: 0.1)"""
    connected: bool = False
    """of single paths: draw only networks whose output sees their input, where a space may have
    others"""
    alpha: Adam = Adam()


@config
class LeavesConfig:
    """Training of the sub-supernets, and the choice among their candidates."""

    weights: SGD = SGD()
    leaf_epochs: Count = 300
    """epochs of each leaf"""
    candidates: Count = 200
    """of single paths: architectures drawn from each leaf and measured (GM-NAS' code: 200)"""
    norms: Norms = "batch"
    """batch norms of a candidate: statistics of each batch, or recalibrated on training images"""
    recalibration_images: Images = 1000
    """training examples for that"""
    fitness_images: Images = 1000
    """search-validation examples a candidate is measured on"""
    kept: Count = 10
    """candidates that the result offers, the best of all leaves"""
    leaf: LeafSearchConfig = LeafSearchConfig()


@dataclass
class Ranking:
    """Candidates of all leaves in one order; in the space's notation."""

    keys: dict[str, list[float]] = field(default_factory=dict)
    """What each is ranked by, compared from left to right; higher is better."""
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    """What is told of each."""
    drawn: list[str] = field(default_factory=list)
    """Candidates of the leaf whose turn it is."""
    halves: dict[str, list[float]] = field(default_factory=dict)
    """Of each random architecture its score on both halves of the examples."""

    def record(self, text: str, key: Sequence[float], figures: dict[str, float]) -> None:
        """One that two leaves propose stands with the better of them."""
        if text not in self.keys or list(key) > self.keys[text]:
            self.keys[text], self.figures[text] = list(key), figures

    def best(self, count: int = 1) -> list[str]:
        """The first `count`; of equals the earliest."""
        return sorted(self.keys, key=lambda text: self.keys[text], reverse=True)[:count]


@dataclass
class LeavesState:
    """One supernet, the leaves it is split into, and their candidates."""

    net: Supernet
    """Of whichever leaf is attached; when the search has ended, the one that was split first."""
    leaves: Leaves
    ranking: Ranking
    evaluator: SupernetEvaluator = field(metadata={"checkpoint": False})

    @classmethod
    def start(cls, problem: Problem, c: LeavesConfig, **more: Any) -> Self:
        """A supernet, which is its only leaf.

        Raises:
            CapabilityError: the space has no gates, and the searcher has alphas.
            ConfigError: the space is under limits, which such a searcher does not keep.
        """
        if c.leaf.searcher != "single-path":
            if not isinstance(problem.space, Differentiable):
                raise CapabilityError(
                    f"searcher {c.leaf.searcher!r} needs a Differentiable space, and "
                    f"{problem.space.name!r} is none; accepted: searcher single-path"
                )
            if isinstance(problem.space, Constrained):
                raise ConfigError(
                    f"searcher is {c.leaf.searcher!r}, which keeps no limit; accepted under "
                    f"{problem.space.words}: searcher single-path"
                )
        net = new_supernet(problem)
        evaluator = SupernetEvaluator(
            problem,
            norms=c.norms,
            recalibration_examples=c.recalibration_images,
            examples=c.fitness_images,
        )
        leaves = Leaves(problem, net, c.weights, c.leaf.alpha)
        return cls(net, leaves, Ranking(), evaluator, **more)

    def offered(self, space: SearchSpace, count: int) -> list[Candidate]:
        """The best candidates of all leaves."""
        texts = self.ranking.best(count)
        return [Candidate(space.parse(t), self.ranking.figures[t]) for t in texts]

    def winner(self, space: SearchSpace) -> Architecture | None:
        """The best candidate; None while nothing is measured."""
        best = self.ranking.best()
        return space.parse(best[0]) if best else None


class LeafSearch:
    """Trains a leaf, and has it propose architectures.

    Args:
        c: what is common to the methods that split supernets.
    """

    def __init__(self, c: LeavesConfig) -> None:
        self.config, self.leaf = c, c.leaf
        inside = c.leaf
        self._darts = DARTS(
            DARTSConfig(
                second_order=inside.second_order,
                order="alpha-first",
                weights=c.weights,
                alpha=inside.alpha,
            )
        )
        self._gdas = GDAS(
            GDASConfig(
                tau_start=inside.tau_start,
                tau_end=inside.tau_end,
                weights=c.weights,
                alpha=inside.alpha,
            )
        )

    @property
    def relaxed(self) -> bool:
        """Whether leaves have alphas, and propose one architecture each."""
        return self.leaf.searcher != "single-path"

    # -- training ----------------------------------------------------------------------------

    def step(self, leaf: Leaf, problem: Problem, clock: Clock) -> Metrics:
        """A step of the search inside the leaf."""
        steps: dict[str, Callable[[Leaf, Problem, Clock], Metrics]] = {
            "single-path": self._path_step,
            "darts": self._darts.step,
            "gdas": self._gdas.step,
            "snas": self._snas_step,
        }
        return steps[self.leaf.searcher](leaf, problem, clock)

    def train(self, leaf: Leaf, problem: Problem, clock: Clock) -> Tensor:
        """A step of the leaf's weights alone, its alphas as they began; returns the loss."""
        gates = self.draw(leaf, problem)
        batch = problem.batch("train")
        return weight_step(leaf, problem, batch, gates, self.config.weights, clock)

    def draw(self, leaf: Leaf, problem: Problem) -> Gates:
        """Gates as the searcher has them before it has learnt: a uniform path, say."""
        space, masks, tau = problem.space, leaf.option_masks, self.leaf.tau_start
        match self.leaf.searcher:
            case "single-path":
                return Gates.of(space, self._path(leaf, problem), problem.devices.device)
            case "darts":
                return softmax_gates(space, leaf.alphas, masks)
            case "gdas":
                return sampled_path(space, leaf.alphas, tau, problem.search_rng, masks)
            case "snas":
                return concrete_gates(space, leaf.alphas, tau, problem.search_rng, masks)

    def _path(self, leaf: Leaf, problem: Problem) -> Architecture:
        valid = problem.space.connected if self.leaf.connected else None
        return leaf.mask.sample(problem.numpy_rng, valid, "what is connected")

    def _path_step(self, leaf: Leaf, problem: Problem, clock: Clock) -> Metrics:
        return {"train_loss": self.train(leaf, problem, clock)}

    def _snas_step(self, leaf: Leaf, problem: Problem, clock: Clock) -> Metrics:
        """Alphas on a validation batch, weights on a training batch, each under a sample."""
        tau = clock.linear(self.leaf.tau_start, self.leaf.tau_end)

        def drawn(alphas: Sequence[Tensor]) -> Gates:
            masks = leaf.option_masks
            return concrete_gates(problem.space, alphas, tau, problem.search_rng, masks)

        gradient = first_order(
            problem.bilevel_loss(leaf.net, drawn, problem.batch("valid")),
            leaf.weights,
            leaf.alphas,
            reduce=problem.mean_over_ranks,
        )
        alpha_step(leaf, problem, gradient.total, self.leaf.alpha, clock)
        batch, weights = problem.batch("train"), self.config.weights
        loss = weight_step(leaf, problem, batch, drawn(leaf.alphas), weights, clock)
        return {"train_loss": loss, "valid_loss": gradient.loss, "tau": tau}

    # -- selection ---------------------------------------------------------------------------

    def selection(self, leaves: int) -> Phase:
        """The phase in which every leaf proposes, and all is measured."""
        return Phase(SELECTION, leaves, 1 if self.relaxed else self.config.candidates)

    def select(self, state: LeavesState, problem: Problem, clock: Clock) -> Metrics:
        """Measure a candidate of the leaf whose number is the epoch's."""
        if clock.epoch >= len(state.leaves.leaves):
            return {}
        leaf = state.leaves.attach(state.leaves.leaves[clock.epoch])
        ranking, told = state.ranking, {"leaf": float(clock.epoch + 1)}
        if clock.step == 0:
            ranking.drawn = self._proposals(leaf, problem)
        if clock.step < len(ranking.drawn):
            text = ranking.drawn[clock.step]
            found = state.evaluator.measure(state.net, problem.space.parse(text))
            metric = problem.task.metric
            figures = {metric.name: metric.score(found.score), **told}
            key: Sequence[float] = found.key
            if self.relaxed:
                gates = softmax_gates(problem.space, leaf.alphas, leaf.option_masks)
                loss = state.evaluator.under(state.net, gates).loss
                key, figures["leaf_loss"] = (-loss,), loss
                told["leaf_loss"] = loss
            elif found.halves is not None:
                ranking.halves[text] = list(found.halves)
            ranking.record(text, key, figures)
            told |= state.evaluator.row(found)
        if clock.last:
            state.leaves.attach(state.leaves.root)
            name = problem.task.metric.name
            for best in ranking.best():
                told[f"best_{name}"] = ranking.figures[best][name]
            told["evaluated"] = float(len(ranking.keys))
            if clock.epoch == len(state.leaves.leaves) - 1:
                told |= agreement(ranking.halves)
        return told

    def _proposals(self, leaf: Leaf, problem: Problem) -> list[str]:
        """Different architectures of a leaf: drawn ones, or the one that its alphas stand for."""
        space = problem.space
        if self.relaxed:
            scores = probabilities(space, leaf.alphas, leaf.option_masks)
            return [space.format(leaf.mask.derive(scores))]
        wanted = min(self.config.candidates, leaf.mask.count())
        found: dict[str, None] = {}
        for _ in range(TRIES * wanted):
            if len(found) == wanted:
                break
            found[space.format(self._path(leaf, problem))] = None
        return list(found)


def own_clock(clock: Clock, epochs: int) -> Clock:
    """The clock of the leaf whose turn it is, each having so many epochs one after the other."""
    return replace(clock, epoch=clock.epoch % epochs, epochs=epochs)
