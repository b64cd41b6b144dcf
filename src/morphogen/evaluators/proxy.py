"""Score an architecture by a zero-cost proxy of its untrained network."""

from __future__ import annotations

from collections.abc import Sequence

from morphogen.core import Architecture
from morphogen.proxies import batch_of, named, score_architecture
from morphogen.tasks.problem import Problem


class ProxyEvaluator:
    """One minibatch through a fresh network; nothing is trained.

    An architecture's score depends on the run's seed and on the architecture, not on what was
    evaluated before it. All architectures see the same batch, of the train part.

    Args:
        problem: space, data and size of the networks.
        proxy: its name, a key of `proxies.PROXIES`.
        batch_size: examples of the minibatch.

    Raises:
        UnknownNameError: there is no such proxy.
        DataError: the train part has fewer examples.
    """

    def __init__(self, problem: Problem, proxy: str, batch_size: int) -> None:
        named([proxy])
        self.problem, self.proxy = problem, proxy
        self._batch = batch_of(problem.task, batch_size, problem.seed, problem.devices.device)

    def __call__(self, archs: Sequence[Architecture]) -> list[float]:
        """One score per architecture, higher is better; minus infinity where there is none."""
        p, batch = self.problem, self._batch
        return [
            score_architecture(
                [self.proxy], p.space, arch, batch, p.spec, p.seed, loss=p.task.loss
            )[self.proxy]
            for arch in archs
        ]
