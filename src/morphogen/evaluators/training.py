"""Score an architecture by training its stand-alone network for a short while."""

from __future__ import annotations

import math
from collections.abc import Sequence

from morphogen.bilevel.optimisers import SGD, Optimiser
from morphogen.core import Architecture
from morphogen.evaluators.short import ShortTraining
from morphogen.evaluators.stage import FULL, Stage
from morphogen.evaluators.traces import Trace, train_traced
from morphogen.tasks.problem import Problem


class TrainingEvaluator:
    """Trains on the train part, scores on the search-validation part; never touches test data.

    An architecture's score depends on the run's seed and on the architecture, not on what was
    evaluated before it.

    Args:
        problem: space, data and size of the networks.
        epochs: passes over the train part.
        batch_size: examples per step.
        descent: optimiser; a cosine goes to its floor over the epochs. By default SGD.
        patience: epochs without a better search-validation metric after which the training
            ends; the score is then its best. It looks at no other architecture, so that scores do
            not depend on the order of evaluations. 0: all epochs, and the score is the last.
    """

    def __init__(
        self,
        problem: Problem,
        epochs: int,
        batch_size: int,
        descent: Optimiser | None = None,
        *,
        patience: int = 0,
    ) -> None:
        self.problem, self.epochs, self.batch_size = problem, epochs, batch_size
        self.descent, self.patience = descent or SGD(lr_end=0.0), patience

    def __call__(self, archs: Sequence[Architecture]) -> list[float]:
        """The search-validation metric after training, higher is better, one per architecture."""
        return [self.measure(arch, FULL)[0] for arch in archs]

    def measure(self, arch: Architecture, stage: Stage) -> tuple[float, Trace | None]:
        """The search-validation score after this share of the training, and its trace.

        A longer stage starts anew: it repeats the shorter one's steps to the bit, and then goes on.
        """
        training = ShortTraining(
            self.problem,
            arch,
            epochs=self.epochs,
            batch_size=self.batch_size,
            descent=self.descent,
        )
        until = math.ceil(stage.budget * training.steps)
        if stage.trace is not None:
            trace = train_traced(training, until, [stage.trace])[stage.trace]
            return training.score(), trace
        epoch = training.steps // self.epochs
        curve: list[float] = []
        for end in (*range(epoch, until, epoch), until) if self.patience else (until,):
            training.advance(end)
            curve.append(training.score())
            if self.patience and len(curve) - 1 - curve.index(max(curve)) >= self.patience:
                break
        return max(curve), None
