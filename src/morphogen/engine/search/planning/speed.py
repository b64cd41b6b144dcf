"""How long the parts of a planned search take here, by a short measurement."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean, median

import numpy as np

from morphogen import cost
from morphogen.bilevel.gates import softmax_gates, start_alphas
from morphogen.bilevel.optimisers import Optimiser
from morphogen.core import Architecture
from morphogen.engine.devices import one_device
from morphogen.engine.search.evaluation import keeps_limits, share_in
from morphogen.engine.search.job import spec_of
from morphogen.engine.search.settings import Settings
from morphogen.evaluators.short import ShortTraining
from morphogen.methods.successive_halving import (
    PERTURBED,
    SuccessiveHalving,
    SuccessiveHalvingConfig,
)
from morphogen.proxies import batch_of
from morphogen.scoring import screening
from morphogen.scoring.measures import zero_cost
from morphogen.spaces import SearchSpace, reference_of
from morphogen.tasks import Task
from morphogen.tasks.problem import Problem

MEASURED = 5
"""Steps by which a step's time is known well enough to compare it."""

MOST_MEASURED = 1000
"""Steps by which it is known what so many take."""

OTHERS = 6
"""Architectures, beside the reference, by which it is known what moving memory costs."""

MOST_PER_BYTE = 1000.0
"""FLOPs that a byte may be counted as: where memory is nearly all that takes time."""


class Speed:
    """Measurements at sizes that are asked for, on one task."""

    def __init__(self, space: SearchSpace, task: Task, descent: Optimiser) -> None:
        found = reference_of(space)
        self.space = space if found is None else found.space
        self.task, self.descent = task, descent
        self._rng = np.random.default_rng(0)
        self.arch: Architecture = (
            self.space.sample(self._rng) if found is None else found.architecture
        )

    def step(
        self, settings: Settings, arch: Architecture | None = None, *, most: float = math.inf
    ) -> float:
        """Seconds of a training step, the median of a few: enough to compare one with another.

        Args:
            settings: sizes and precision.
            arch: of the network; the reference's, if no other.
            most: of interest. A step of more than twice as long ends the measurement: where
                bfloat16 is emulated one takes ten times as long as in float32.
        """
        step, taken = self._steps(settings, arch), list[float]()
        while len(taken) < MEASURED and max(taken, default=0.0) <= 2 * most:
            taken.append(_seconds(step))
        return median(taken)

    def pace(self, settings: Settings, seconds: float) -> float:
        """Seconds of a training step of the reference, the mean over so many seconds.

        By which a length is planned: the few steps of `step` were off by a quarter.
        """
        step, taken = self._steps(settings), list[float]()
        while len(taken) < MEASURED or (sum(taken) < seconds and len(taken) < MOST_MEASURED):
            taken.append(_seconds(step))
        return fmean(taken)

    def _steps(self, settings: Settings, arch: Architecture | None = None) -> Callable[[], object]:
        """What makes one step more of a training, whose first is made."""
        training = ShortTraining(
            self._problem(settings),
            self.arch if arch is None else arch,
            steps=1 + MOST_MEASURED,
            batch_size=settings.batch_size,
            descent=self.descent,
        )
        training.advance(1)  # allocates
        return lambda: training.advance(training.done + 1)

    def steps_of_pass(self, settings: Settings) -> int:
        """Over all examples of the search."""
        return max(1, self.task.length("pool") // settings.batch_size)

    def keeps_limits(self, settings: Settings) -> bool:
        """Whether the reference exceeds none of the limits, at such sizes."""
        spec = spec_of(settings, self.task)
        return keeps_limits(self.space, self.arch, self.task, spec, settings)

    def require_possible(self, settings: Settings) -> None:
        """Raise `ConfigError` where no architecture keeps the limits, at such sizes."""
        share_in(self.space, self.task, spec_of(settings, self.task), settings)

    def flops_per_byte(self, settings: Settings) -> float:
        """FLOPs that take as long as moving one byte, by steps of several architectures.

        The least squares of relative errors, with neither FLOPs nor bytes of negative cost.
        """
        from scipy.optimize import nnls  # late: it takes half a second to import

        archs = [self.arch, *(self.space.sample(self._rng) for _ in range(OTHERS))]
        rows = np.array([self._counted(settings, arch) for arch in archs], dtype=float)
        taken = np.array([self.step(settings, arch) for arch in archs])
        scale = rows.max(axis=0).clip(1.0)
        (flop, byte), _ = nnls(rows / scale / taken[:, None], np.ones(len(archs)))
        if not byte:
            return 0.0
        return float(min(MOST_PER_BYTE, byte / scale[1] / max(flop / scale[0], 1e-30)))

    def proxy(self, settings: Settings, config: SuccessiveHalvingConfig) -> float:
        """Seconds of an architecture in the screen; 0: there can be none."""
        problem = self._problem(settings)
        names = screening.computable([name.strip() for name in config.proxies.split(",")], problem)
        score = partial(screening.scores, names, problem, self.arch)
        return min((_seconds(score) for _ in range(2 if names else 0)), default=0.0)

    def perturbation(self, settings: Settings, config: SuccessiveHalvingConfig) -> float:
        """Seconds of a search of Zero-Cost-PT; 0: there can be none."""
        problem = self._problem(settings)
        if not SuccessiveHalving(config).perturbs(problem):
            return 0.0
        net = problem.supernet().eval()
        alphas = start_alphas(self.space, problem.search_rng, problem.devices.device)
        batch = batch_of(self.task, settings.batch_size, 0, problem.devices.device)
        measure = zero_cost(problem, net, PERTURBED, batch)
        each = _seconds(lambda: measure(softmax_gates(self.space, alphas)))
        return each * sum(len(choice.options) for choice in self.space.choices)

    def _counted(self, settings: Settings, arch: Architecture) -> Sequence[float]:
        counted = cost.of(self.space, arch, spec_of(settings, self.task), self.task.example())
        return counted.flops, counted.memory_access

    def _problem(self, settings: Settings) -> Problem:
        hardware = settings.hardware
        return Problem(
            self.space,
            self.task,
            spec_of(settings, self.task),
            batch_size=settings.batch_size,
            seed=settings.seed,
            devices=one_device(hardware.accelerator, hardware.precision),
        )


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
