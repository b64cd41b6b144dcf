"""Score an architecture by training its stand-alone network for a short while."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from morphogen.bilevel.state import SGD
from morphogen.core import Architecture, NumericalError
from morphogen.core.rng import seed_for
from morphogen.supernets import network
from morphogen.tasks.problem import Clock, Problem


class TrainingEvaluator:
    """Trains on the train part, scores on the search-validation part; never touches test data.

    An architecture's score depends on the run's seed and on the architecture, not on what was
    evaluated before it.

    Args:
        problem: space, data and size of the networks.
        epochs: passes over the train part.
        batch_size: images per step.
        sgd: optimiser; cosine to its floor over the epochs.
        patience: epochs without a rise of the search-validation accuracy after which the training
            ends; the score is then its best. It looks at no other architecture, so that scores do
            not depend on the order of evaluations. 0: all epochs, and the score is the last.
    """

    def __init__(
        self,
        problem: Problem,
        epochs: int,
        batch_size: int,
        sgd: SGD | None = None,
        *,
        patience: int = 0,
    ) -> None:
        self.problem, self.epochs, self.batch_size = problem, epochs, batch_size
        self.sgd, self.patience = sgd or SGD(lr_end=0.0), patience

    def __call__(self, archs: Sequence[Architecture]) -> list[float]:
        """Search-validation accuracy in percent after training, one per architecture."""
        return [self._score(arch) for arch in archs]

    def _score(self, arch: Architecture) -> float:
        problem, device = self.problem, self.problem.devices.device
        text = problem.space.format(arch)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(problem.seed, f"evaluation/{text}"))
            net = network(problem.space, arch, problem.spec).to(device).train()
        stream = problem.stream("train", self.batch_size, f"evaluation/{text}")
        weights = [w for w in net.parameters() if w.requires_grad]
        optimiser = torch.optim.SGD(
            weights,
            lr=self.sgd.lr,
            momentum=self.sgd.momentum,
            nesterov=self.sgd.nesterov and self.sgd.momentum > 0,
            weight_decay=self.sgd.weight_decay,
        )
        steps = stream.steps_per_epoch
        curve: list[float] = []
        for epoch in range(self.epochs):
            for group in optimiser.param_groups:
                group["lr"] = self.sgd.at(Clock(epoch, self.epochs, 0, steps))
            for _ in range(steps):
                x, y = stream.next()
                with problem.devices.autocast():
                    scores = net(x)
                loss = problem.task.loss(scores.float(), y)
                gradients = torch.autograd.grad(loss, weights, allow_unused=True)
                used = [(w, g) for w, g in zip(weights, gradients, strict=True) if g is not None]
                means = problem.mean_over_ranks([g for _, g in used])
                for (weight, _), mean in zip(used, means, strict=True):
                    weight.grad = mean
                torch.nn.utils.clip_grad_norm_(weights, self.sgd.clip or float("inf"))
                optimiser.step()
            (mean,) = problem.mean_over_ranks([loss.detach()])
            if not torch.isfinite(mean):
                raise NumericalError(
                    f"training {text} gave a loss of {mean.item()} in epoch {epoch + 1}; "
                    "a smaller weights.lr may help"
                )
            if self.patience:
                curve.append(self._accuracy(net.eval()))
                net.train()
                if epoch - curve.index(max(curve)) >= self.patience:
                    break
        return max(curve) if curve else self._accuracy(net)

    def _accuracy(self, net: torch.nn.Module) -> float:
        """The same on all processes: each measures a share, with the mean running statistics."""
        problem, devices = self.problem, self.problem.devices
        buffers = [b for b in net.buffers() if b.is_floating_point()]
        right = torch.zeros((), dtype=torch.float64, device=devices.device)
        net.eval()
        with torch.no_grad():
            for buffer, mean in zip(buffers, problem.mean_over_ranks(buffers), strict=True):
                buffer.copy_(mean)
            for x, y in problem.task.sequential(
                "valid", 500, device=devices.device, rank=devices.rank, world=devices.world
            ):
                with devices.autocast():
                    scores = net(x)
                right += (scores.argmax(dim=1) == y).sum()
        (mean,) = problem.mean_over_ranks([right])
        return 100.0 * float(mean) * devices.world / len(problem.task.valid)
