"""SPOS: single path one-shot neural architecture search with uniform sampling.

Paper: Guo, Zhang, Mu, Heng, Liu, Wei, Sun. ECCV 2020. arXiv 1904.00420.

    train the supernet (Eq. 7), on a training batch a step
        1. draw a path uniformly; one step of SGD on its weights and no others
    search by evolution (Algorithm 1) with inherited weights (Eq. 6), for T generations
        2. the first generation: P random architectures within the limits
           the others: mutants and crossovers of the k best so far, and random ones
        3. score each on search-validation examples, batch norms recalibrated on training examples
    return the best of all that were scored

With `--limit`, paths too are drawn within the limits, as the paper's own runs do ("uniform
constrained"). A search that begins with a trained supernet of the same data (`--from`) goes to 2 at
once: one supernet serves any number of limits.

Departures. The learning rate falls along a cosine by epochs, as in the re-implementation for
CIFAR-10, not linearly by steps; nor are labels smoothed, unless `--label-smoothing` says so (the
authors on ImageNet: 0.1). Batch norms are recalibrated by a cumulative mean over one fixed set of
images; the authors' code takes an exponential mean over fresh ones. A mutant takes binomially many,
and at least one, of the space's own mutations: resampling every gene, as the authors do, often
gives the parent back, which is refused. Candidates are scored on one fixed set of held-out training
images; the authors' code used slices of the test images.
"""

from __future__ import annotations

from collections.abc import Sequence

from morphogen.core import Architecture
from morphogen.core.config import config
from morphogen.evaluators.single_path import (
    PUBLISHED,
    QUICK,
    SinglePathConfig,
    SinglePathState,
    path_step,
)
from morphogen.methods._contract import Candidate, Metrics, Phase, method
from morphogen.spaces import Discrete, SearchSpace
from morphogen.tasks.problem import Clock, Problem


@config
class SPOSConfig(SinglePathConfig):
    """SPOS, its search as published."""


@method(
    "spos",
    config=SPOSConfig,
    needs=[Discrete],
    epochs=250,
    limits=True,
    quick=QUICK,
    published=PUBLISHED,
)
class SPOS:
    """A supernet trained path by path, then evolution over its paths."""

    def __init__(self, config: SPOSConfig) -> None:
        self.config = config

    def phases(self, problem: Problem, epochs: int) -> Sequence[Phase]:
        """Training, unless the supernet is trained on these data, then a generation an epoch."""
        trained = problem.start is not None and problem.start.other_outputs is None
        return (
            Phase("supernet", 0 if trained else epochs, part="train"),
            Phase("evolution", self.config.generations, self.config.population),
        )

    def init(self, problem: Problem) -> SinglePathState:
        """A supernet and no generation yet."""
        return SinglePathState.start(problem, self.config, again=False)

    def step(self, state: SinglePathState, problem: Problem, clock: Clock) -> Metrics:
        """A step of a path's weights, or the score of a candidate."""
        if clock.phase == "supernet":
            return {"train_loss": path_step(state, problem, self.config.weights, clock)}  # 1
        evolution = state.evolution
        if clock.step == 0:
            evolution.breed(problem.space, problem.numpy_rng)  # 2
        told: dict[str, float] = {}
        if clock.step < len(evolution.members):
            text = evolution.members[clock.step]
            found = state.evaluator.measure(state.net, problem.space.parse(text))  # 3
            state.record(text, found)
            told |= state.evaluator.row(found)
        last = clock.step == clock.steps - 1
        return {**told, **(state.standing() if last else {})}

    def ended(self, state: SinglePathState, clock: Clock) -> bool:
        """Evolution is over when the space has nothing new for a generation."""
        return clock.phase == "evolution" and not state.evolution.members

    def candidates(self, state: SinglePathState, space: SearchSpace) -> list[Candidate]:
        """The k best of all that were scored."""
        best = state.best(self.config.parents)
        return [Candidate(space.parse(text), figures) for text, figures in best]

    def derive(self, state: SinglePathState, space: SearchSpace) -> Architecture | None:
        """The best architecture scored; None before the first."""
        return state.evolution.winner(space)
