"""Score an architecture with the weights that it inherits from a supernet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch

from morphogen.core import Architecture, ConfigError
from morphogen.evaluators.recalibration import (
    batch_statistics,
    kept_statistics,
    recalibrate,
)
from morphogen.supernets import Gates, Supernet, evaluating, frozen_statistics
from morphogen.supernets.global_rng import forked_rng
from morphogen.tasks import Batch, Sums
from morphogen.tasks.metric import added
from morphogen.tasks.problem import Problem

Norms = Literal["recalibrate", "batch"]
"""What batch norms use: running statistics of the path, made anew, or those of each batch."""


class Inherited(NamedTuple):
    """What an architecture does with inherited weights, on the evaluator's validation examples."""

    score: float
    """The task's metric, with a minus where less of it is better."""
    loss: float
    """Mean of the task's loss; infinite where it is not finite."""
    halves: tuple[float, float] | None = None
    """The score on every other batch of the examples and on the rest, by one process; None of one
    batch alone, or of several processes."""

    @property
    def key(self) -> tuple[float, float]:
        """For sorting, best last: by score, at equal score by loss (SPOS: by two errors)."""
        return self.score, -self.loss


class SupernetEvaluator:
    """Measures architectures of a supernet, all on the same examples; never touches test data.

    The examples are drawn once, from the seed, as the task chooses them (the classes in their own
    proportions, say), and prepared once, without augmentation. Scoring leaves the supernet as it
    is, to the bit, statistics of its norms included; the same supernet and architecture give the
    same numbers.

    Args:
        problem: space, data and devices.
        norms: `recalibrate` estimates the statistics of the path's norms from training examples
            before each architecture (SPOS); `batch` uses those of each validation batch, which is
            faster and is how NAS-Bench-201 supernets are scored, but lets examples of a batch see
            each other.
        recalibration_examples: examples of the train part for `recalibrate`; more than there are is
            all of them, and 0 is too.
        examples: of the search-validation part; more than there are is all, and 0 is too.
        batch_size: examples per pass, over all processes; a batch norm sees this many.

    Raises:
        ConfigError: a number is out of range.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        norms: Norms = "recalibrate",
        recalibration_examples: int = 1000,
        examples: int = 1000,
        batch_size: int = 250,
    ) -> None:
        if norms not in ("recalibrate", "batch"):
            raise ConfigError(f"norms is {norms!r}; accepted: recalibrate, batch")
        for field, value, least in (
            ("recalibration_examples", recalibration_examples, 0),
            ("examples", examples, 0),
            ("batch_size", batch_size, 2 * problem.devices.world),
        ):
            if value < least:
                raise ConfigError(f"{field} is {value}; accepted: {least} or more")
        self.problem, self.norms = problem, norms
        self._counts: dict[str, int] = {}
        batch_size = min(batch_size, problem.task.at_once * problem.devices.world)
        self._valid = self._prepared("valid", examples, batch_size)
        self._train = (
            self._prepared("train", recalibration_examples, batch_size)
            if norms == "recalibrate"
            else []
        )

    def measure(self, net: Supernet, arch: Architecture) -> Inherited:
        """Score and loss of `arch` with the weights of `net`; the same on all processes."""
        gates = Gates.of(self.problem.space, arch, self.problem.devices.device)
        if self.norms == "batch":
            return self.under(net, gates)
        with self._asking(), kept_statistics(net):
            self.recalibrate(net, arch)
            with evaluating(net):
                return self._scores(net, gates)

    def under(self, net: Supernet, gates: Gates) -> Inherited:
        """Score and loss of `net` under any gates; norms use the statistics of each batch."""
        with self._asking(), batch_statistics(net), frozen_statistics(net):
            return self._scores(net, gates)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        # Every architecture meets the same draws of modules that draw by themselves: noise, say.
        with torch.no_grad(), forked_rng(self.problem.devices.device, seed=self.problem.seed):
            yield

    def row(self, found: Inherited) -> dict[str, float]:
        """What is recorded of a candidate: the metric in its unit, by its name."""
        metric = self.problem.task.metric
        return {f"candidate_{metric.name}": metric.score(found.score)}

    def recalibrate(self, net: Supernet, arch: Architecture) -> None:
        """Give the norms on the path of `arch` its own statistics, of the fixed train examples."""
        problem = self.problem
        gates = Gates.of(problem.space, arch, problem.devices.device)
        recalibrate(net, lambda x: problem.forward(net, gates, x), (b.x for b in self._train))
        problem.count_measured("train", self._counts.get("train", 0))
        if problem.devices.world > 1:  # norms that do not themselves share their batches
            buffers = [b for b in net.buffers() if b.is_floating_point()]
            for buffer, mean in zip(buffers, problem.mean_over_ranks(buffers), strict=True):
                buffer.copy_(mean)

    def _scores(self, net: Supernet, gates: Gates) -> Inherited:
        problem, task = self.problem, self.problem.task
        each = [
            task.measure(lambda x: problem.forward(net, gates, x), [batch]) for batch in self._valid
        ]
        sums = _total(each)
        problem.count_measured("valid", self._counts["valid"])
        means = problem.mean_over_ranks(list(sums.values()))
        shared = dict(zip(sums, means, strict=True))
        loss = float(shared["loss"] / shared["size"])
        value = task.metric.score(task.value(shared))
        halves = None
        if len(each) > 1 and problem.devices.world == 1:
            first, second = (task.value(_total(each[i::2])) for i in (0, 1))
            halves = task.metric.score(first), task.metric.score(second)
        return Inherited(value, loss if math.isfinite(loss) else math.inf, halves)

    def _prepared(self, part: str, count: int, batch_size: int) -> list[Batch]:
        """This process's share of `count` examples of a part, in batches of nearly equal size."""
        task, devices = self.problem.task, self.problem.devices
        rows = self.problem.chosen(part, count, f"evaluation/{part}")
        self._counts[part] = len(rows)
        examples = task.examples(part, device=devices.device)
        pieces = rows.tensor_split(math.ceil(len(rows) / batch_size))
        shares = (piece[devices.rank :: devices.world] for piece in pieces)
        return [examples.batch(mine) for mine in shares if len(mine)]


def _total(parts: Iterable[Sums]) -> Sums:
    """Sums of batches, added up in their order."""
    total: Sums = {}
    for part in parts:
        total = added(total, part)
    return total
