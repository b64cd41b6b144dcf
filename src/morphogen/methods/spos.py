"""SPOS: single path one-shot neural architecture search with uniform sampling.

Paper: Guo, Zhang, Mu, Heng, Liu, Wei, Sun. ECCV 2020. arXiv 1904.00420.

    train the supernet (Eq. 7), on a training batch a step
        1. draw a path uniformly; one step of SGD on its weights and no others
    search by evolution (Algorithm 1) with inherited weights (Eq. 6), for T generations
        2. the first generation: P random architectures within the limits
           the others: mutants and crossovers of the k best so far, and random ones
        3. score each on search-validation images, batch norms recalibrated on training images
    return the best of all that were scored

With `--limit`, paths too are drawn within the limits, as the paper's own runs do ("uniform
constrained"). A search that begins with a trained supernet of the same data (`--from`) goes to 2 at
once: one supernet serves any number of limits.

Departures. The learning rate falls along a cosine by epochs, as in the re-implementation for
CIFAR-10, not linearly by steps; no label smoothing. Batch norms are recalibrated by a cumulative
mean over one fixed set of images; the authors' code takes an exponential mean over fresh ones. A
mutant takes binomially many, and at least one, of the space's own mutations: resampling every gene,
as the authors do, often gives the parent back, which is refused. Candidates are scored on one fixed
set of held-out training images; the authors' code used slices of the test images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from morphogen.bilevel.state import SGD, SupernetState, new_supernet, optimiser_of, weight_step
from morphogen.core import Architecture
from morphogen.core.config import config
from morphogen.evaluators.supernet import Norms, SupernetEvaluator
from morphogen.evolution import Generations
from morphogen.methods._contract import Metrics, Phase, method
from morphogen.spaces import Discrete, SearchSpace
from morphogen.supernets import Gates
from morphogen.tasks.problem import Clock, Problem

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]


@config
class SPOSConfig:
    """SPOS, its search as published; the optimiser is that of its runs in NAS-Bench-201."""

    weights: SGD = SGD(lr=0.05, lr_end=0.0, nesterov=False, weight_decay=2.5e-4)
    population: Count = 50
    """P, architectures of a generation (paper: 50)"""
    generations: Count = 21
    """generations, the random one included (paper: 20 after it)"""
    parents: Count = 10
    """k, best architectures so far that a generation is bred from (paper: 10)"""
    mutants: Natural = 25
    """mutants in a generation (paper: 25)"""
    crossovers: Natural = 25
    """crossovers in a generation (paper: 25); the rest is random"""
    mutation: Annotated[float, Field(ge=0, le=1)] = 0.1
    """probability of a mutation, for each choice (paper: 0.1)"""
    norms: Norms = "recalibrate"
    """batch norms of a candidate: recalibrated on training images (paper), or batch statistics"""
    recalibration_images: Count = 1000
    """training images for that (paper: about 20,000)"""
    fitness_images: Count = 1000
    """search-validation images a candidate is scored on (paper: all; its code: 8,000)"""


@dataclass
class SPOSState(SupernetState):
    """The supernet, and how far evolution is."""

    evolution: Generations
    evaluator: SupernetEvaluator = field(metadata={"checkpoint": False})


@method("spos", config=SPOSConfig, needs=[Discrete], epochs=250, limits=True, quick_epochs=60)
class SPOS:
    """A supernet trained path by path, then evolution over its paths."""

    def __init__(self, config: SPOSConfig) -> None:
        self.config = config

    def phases(self, problem: Problem, epochs: int, steps: int) -> Sequence[Phase]:
        """Training, unless the supernet is trained on these data, then a generation an epoch."""
        trained = problem.start is not None and problem.start.other_classes is None
        return (
            Phase("supernet", 0 if trained else epochs, steps),
            Phase("evolution", self.config.generations, self.config.population),
        )

    def init(self, problem: Problem) -> SPOSState:
        """A supernet and no generation yet."""
        c = self.config
        net = new_supernet(problem)
        evaluator = SupernetEvaluator(
            problem,
            norms=c.norms,
            recalibration_images=c.recalibration_images,
            images=c.fitness_images,
        )
        evolution = Generations(c.population, c.parents, c.mutants, c.crossovers, c.mutation)
        return SPOSState(net, optimiser_of(net, c.weights), evolution, evaluator)

    def step(self, state: SPOSState, problem: Problem, clock: Clock) -> Metrics:
        """A step of a path's weights, or the score of a candidate."""
        if clock.phase == "supernet":
            path = problem.space.sample(problem.numpy_rng)  # 1
            gates = Gates.of(problem.space, path, problem.devices.device)
            batch = problem.train_batch()
            loss = weight_step(state, problem, batch, gates, self.config.weights, clock)
            return {"train_loss": loss}
        return self._evolve(state, problem, clock)

    def _evolve(self, state: SPOSState, problem: Problem, clock: Clock) -> Metrics:
        evolution = state.evolution
        if clock.step == 0:
            evolution.breed(problem.space, problem.numpy_rng)  # 2
        told: dict[str, float] = {}
        if clock.step < len(evolution.members):
            text = evolution.members[clock.step]
            found = state.evaluator.measure(state.net, problem.space.parse(text))  # 3
            evolution.record(text, found.key)
            told["candidate_accuracy"] = found.accuracy
        if clock.step == clock.steps - 1:
            told["best_accuracy"] = evolution.fitness[evolution.best()[0]][0]
            told["evaluated"] = len(evolution.fitness)
        return told

    def derive(self, state: SPOSState, space: SearchSpace) -> Architecture | None:
        """The best architecture scored; None before the first."""
        return state.evolution.winner(space)
