"""What one-shot methods share: training by single paths, and evolution over inherited weights.

Guo et al., ECCV 2020, arXiv 1904.00420, Eq. 7 and Algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from torch import Tensor

from morphogen.bilevel.optimisers import SGD, Optimiser
from morphogen.bilevel.state import SupernetState, new_supernet, weight_step
from morphogen.core.config import Count, Images, Natural, Probability, config
from morphogen.core.ranking import SMALLEST, correlation
from morphogen.evaluators.supernet import Inherited, Norms, SupernetEvaluator
from morphogen.evolution import Generations
from morphogen.supernets import Gates
from morphogen.tasks.problem import Clock, Problem, trainable

# 5,000 training images are held out to score paths on.
_MOST = {"split.train_images": 45000, "split.valid_images": 5000}
PUBLISHED: dict[str, dict[str, Any]] = {
    "nasbench201": {"batch_size": 256, **_MOST},
    "shufflenet-cifar": {
        "epochs": 600,
        "batch_size": 96,
        "weights.lr": 0.025,
        "weights.weight_decay": 3e-4,
        **_MOST,
    },
}
"""By space: how the re-implementations for CIFAR-10 train the supernet."""

QUICK = {"epochs": 33, "generations": 6, "fitness_images": 500, "recalibration_images": 500}
"""About 1,500 steps, after which paths differ; the papers' 21 generations of 50 take longer than
the training of a small supernet."""


@config
class SinglePathConfig:
    """Evolution with SPOS' numbers; the optimiser is that of its runs in NAS-Bench-201."""

    weights: Optimiser = SGD(lr=0.05, lr_end=0.0, nesterov=False, weight_decay=2.5e-4)
    """optimiser of the supernet's weights (paper: SGD); Adam from Python"""
    population: Count = 50
    """P, architectures of a generation (paper: 50)"""
    generations: Count = 21
    """generations, the random one included (paper: 20 after it)"""
    parents: Count = 10
    """k, best architectures so far that a generation is bred from (paper: 10)"""
    mutants: Natural = 25
    """mutants in a generation, as far as they fit in it (paper: 25)"""
    crossovers: Natural = 25
    """crossovers in a generation, likewise (paper: 25); the rest is random"""
    mutation: Probability = 0.1
    """probability of a mutation, for each choice (paper: 0.1)"""
    norms: Norms = "recalibrate"
    """batch norms of a candidate: recalibrated on training images (paper), or batch statistics"""
    recalibration_images: Images = 1000
    """training examples for that (paper: about 20,000)"""
    fitness_images: Images = 1000
    """search-validation examples a candidate is scored on (paper: all; its code: 8,000)"""


@dataclass
class SinglePathState(SupernetState):
    """The supernet, and how far evolution is."""

    evolution: Generations
    evaluator: SupernetEvaluator = field(metadata={"checkpoint": False})
    halves: dict[str, list[float]] = field(default_factory=dict)
    """Of each architecture of the first generation, which is random: its score on both halves of
    the examples."""

    @classmethod
    def start(cls, problem: Problem, c: SinglePathConfig, *, again: bool, **more: Any) -> Self:
        """A supernet and no generation yet.

        Args:
            problem: space, data, start of the supernet.
            c: sizes and rates.
            again: whether an architecture may come again in a later generation.
            more: fields of a subclass.
        """
        net = new_supernet(problem)
        evaluator = SupernetEvaluator(
            problem,
            norms=c.norms,
            recalibration_examples=c.recalibration_images,
            examples=c.fitness_images,
        )
        evolution = Generations(
            c.population, c.parents, c.mutants, c.crossovers, c.mutation, again=again
        )
        return cls(net, c.weights.make(trainable(net).values()), evolution, evaluator, **more)

    def record(self, text: str, found: Inherited) -> None:
        """The fitness of a member."""
        self.evolution.record(text, found.key)
        if not self.evolution.top and found.halves is not None:
            self.halves[text] = list(found.halves)

    def best(self, count: int = 1) -> list[tuple[str, dict[str, float]]]:
        """The fittest of all evaluated, in the space's notation, each with the task's metric."""
        metric, fitness = self.evaluator.problem.task.metric, self.evolution.fitness
        best = self.evolution.best(count)
        return [(text, {metric.name: metric.score(fitness[text][0])}) for text in best]

    def standing(self) -> dict[str, float]:
        """What is told at the end of a generation."""
        ((_, figures),) = self.best()
        best = {f"best_{name}": value for name, value in figures.items()}
        first = {} if self.evolution.top else agreement(self.halves)
        return {**best, "evaluated": float(len(self.evolution.fitness)), **first}


def agreement(halves: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Spearman's correlation of the scores on two halves of the examples, with its interval.

    Over random architectures, since those that evolution picks differ too little. Of scores that
    order nothing it is 0 on average: which examples were drawn is then all there is in them. It
    says nothing of how near the order is to the true one, which is another matter.

    Args:
        halves: of each architecture both scores.

    Returns:
        Nothing of fewer than ten; 0 where all architectures score alike; `agreement_of`, their
        number.
    """
    if len(halves) < SMALLEST:
        return {}
    first, second = np.array(list(halves.values()), np.float64).T
    found = correlation(first, second)
    value, low, high = (
        number if math.isfinite(number) else usual
        for number, usual in ((found.value, 0.0), (found.low, -1.0), (found.high, 1.0))
    )
    return {
        "agreement": value,
        "agreement_low": low,
        "agreement_high": high,
        "agreement_of": float(len(halves)),
    }


def path_step(state: SupernetState, problem: Problem, weights: Optimiser, clock: Clock) -> Tensor:
    """One SGD step of the weights of a path drawn uniformly from the space; returns the loss."""
    path = problem.space.sample(problem.numpy_rng)
    gates = Gates.of(problem.space, path, problem.devices.device)
    return weight_step(state, problem, problem.batch("train"), gates, weights, clock)
