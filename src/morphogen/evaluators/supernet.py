"""Score an architecture with the weights that it inherits from a supernet."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from morphogen.core import Architecture, ConfigError
from morphogen.core.rng import numpy_stream
from morphogen.evaluators.recalibration import (
    batch_statistics,
    evaluating,
    kept_statistics,
    recalibrate,
)
from morphogen.supernets import Gates, Supernet, frozen_statistics
from morphogen.supernets.draws import aside
from morphogen.tasks import Images
from morphogen.tasks.problem import Problem, running
from morphogen.tasks.split import apportion

Norms = Literal["recalibrate", "batch"]
"""What batch norms use: running statistics of the path, made anew, or those of each batch."""


class Inherited(NamedTuple):
    """What an architecture does with inherited weights, on the evaluator's validation images."""

    accuracy: float
    """In percent; an image whose scores are not finite counts as wrong."""
    loss: float
    """Mean of the task's loss in nats; infinite where the scores are not finite."""

    @property
    def key(self) -> tuple[float, float]:
        """For sorting, best last: by accuracy, at equal accuracy by loss (SPOS: by two errors)."""
        return self.accuracy, -self.loss


class SupernetEvaluator:
    """Measures architectures of a supernet, all on the same images; never touches test data.

    The images are drawn once, from the seed, in the classes' proportions, and prepared once,
    without augmentation. Scoring leaves the supernet as it is, to the bit, statistics of its norms
    included; the same supernet and architecture give the same numbers.

    Args:
        problem: space, data and devices.
        norms: `recalibrate` estimates the statistics of the path's norms from training images
            before each architecture (SPOS); `batch` uses those of each validation batch, which is
            faster and is how NAS-Bench-201 supernets are scored, but lets images of a batch see
            each other.
        recalibration_images: images of the train part for `recalibrate`; more than there are is
            all of them, and 0 is too.
        images: images of the search-validation part; more than there are is all, and 0 is too.
        batch_size: images per pass, over all processes; a batch norm sees this many.

    Raises:
        ConfigError: a number is out of range.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        norms: Norms = "recalibrate",
        recalibration_images: int = 1000,
        images: int = 1000,
        batch_size: int = 250,
    ) -> None:
        if norms not in ("recalibrate", "batch"):
            raise ConfigError(f"norms is {norms!r}; accepted: recalibrate, batch")
        for field, value, least in (
            ("recalibration_images", recalibration_images, 0),
            ("images", images, 0),
            ("batch_size", batch_size, 2 * problem.devices.world),
        ):
            if value < least:
                raise ConfigError(f"{field} is {value}; accepted: {least} or more")
        self.problem, self.norms = problem, norms
        self._valid = self._prepared("valid", images, batch_size)
        self._train = (
            self._prepared("train", recalibration_images, batch_size)
            if norms == "recalibrate"
            else []
        )

    def measure(self, net: Supernet, arch: Architecture) -> Inherited:
        """Accuracy and loss of `arch` with the weights of `net`; the same on all processes."""
        gates = Gates.of(self.problem.space, arch, self.problem.devices.device)
        if self.norms == "batch":
            return self.under(net, gates)
        with self._asking(), kept_statistics(net):
            self.recalibrate(net, arch)
            with evaluating(net):
                return self._scores(net, gates)

    def under(self, net: Supernet, gates: Gates) -> Inherited:
        """Accuracy and loss of `net` under any gates; norms use the statistics of each batch."""
        with self._asking(), batch_statistics(net), frozen_statistics(net):
            return self._scores(net, gates)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        # Every architecture meets the same draws of modules that draw by themselves: noise, say.
        with torch.no_grad(), aside(self.problem.devices.device, seed=self.problem.seed):
            yield

    def recalibrate(self, net: Supernet, arch: Architecture) -> None:
        """Give the norms on the path of `arch` its own statistics, over the fixed train images."""
        problem = self.problem
        gates = Gates.of(problem.space, arch, problem.devices.device)

        def forward(x: Tensor) -> Tensor:
            with running(net, x), problem.devices.autocast():
                return net(x, gates)  # type: ignore[no-any-return]

        recalibrate(net, forward, (x for x, _ in self._train))
        if problem.devices.world > 1:  # norms that do not themselves share their batches
            buffers = [b for b in net.buffers() if b.is_floating_point()]
            for buffer, mean in zip(buffers, problem.mean_over_ranks(buffers), strict=True):
                buffer.copy_(mean)

    def _scores(self, net: Supernet, gates: Gates) -> Inherited:
        problem = self.problem
        device = problem.devices.device
        loss = torch.zeros((), dtype=torch.float64, device=device)
        right, seen = torch.zeros_like(loss), torch.zeros_like(loss)
        for x, y in self._valid:
            with running(net, x), problem.devices.autocast():
                scores = net(x, gates)
            scores = scores.float()
            loss += problem.task.loss(scores, y).double() * len(y)
            right += ((scores.argmax(dim=1) == y) & scores.isfinite().all(dim=1)).sum()
            seen += len(y)
        loss, right, seen = problem.mean_over_ranks([loss, right, seen])
        mean = float(loss / seen)
        return Inherited(float(100.0 * right / seen), mean if math.isfinite(mean) else math.inf)

    def _prepared(self, part: str, count: int, batch_size: int) -> list[tuple[Tensor, Tensor]]:
        """This process's share of `count` images of a part, in batches of nearly equal size."""
        problem, devices = self.problem, self.problem.devices
        images = problem.task.train if part == "train" else problem.task.valid
        rows = chosen_rows(images, count, numpy_stream(problem.seed, f"evaluation/{part}"))
        batches = []
        for some in np.array_split(rows, math.ceil(len(rows) / batch_size)):
            mine = torch.from_numpy(some[devices.rank :: devices.world])
            taken = images.take(mine)
            batches += list(problem.task.sequential(taken, len(taken), device=devices.device))
        return batches


def chosen_rows(images: Images, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` rows of `images`, the classes mixed evenly from first to last; 0 is all rows.

    The classes come in their own proportions as nearly as whole numbers allow, in the whole and in
    every stretch of it: equally many of each if the images have them so.
    """
    labels = images.labels.numpy()
    order = rng.permutation(len(labels))
    count = min(count, len(labels)) or len(labels)
    present, counts = np.unique(labels, return_counts=True)
    shares = apportion(count, counts)
    rows, places = [], []
    for label, share in zip(present, shares, strict=True):
        rows.append(order[labels[order] == label][:share])
        places.append((np.arange(share) + 0.5) / max(share, 1))
    return np.concatenate(rows)[np.argsort(np.concatenate(places), kind="stable")]
