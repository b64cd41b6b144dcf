"""The short training of one stand-alone network, step by step; never touches test data.

What is done to one architecture depends on the run's seed and on the architecture, not on what
was trained before it. Layers of one name start with equal weights in all architectures of a space,
and all architectures see the same batches: what differs between them is then the architectures'
own doing, as far as it can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from morphogen.bilevel.optimisers import Optimiser, gradient_step
from morphogen.core import Architecture, CheckpointError, ConfigError, NumericalError
from morphogen.core.rng import seed_for
from morphogen.spaces import ModuleSpace
from morphogen.supernets import enough_values, evaluating, network, train_mode
from morphogen.supernets.global_rng import OwnDraws, forked_rng, generators, reseed
from morphogen.supernets.nested import call, mapped
from morphogen.tasks import Batch
from morphogen.tasks.problem import Clock, Problem


class ShortTraining:
    """One network on its way through a training of `steps` steps, and its score on the way.

    Args:
        problem: space, data and size of the network.
        arch: the architecture.
        epochs: passes over the train part in the whole training; the cosine goes over all of
            them, also where the training is cut off earlier.
        batch_size: examples per step, over all processes.
        descent: optimiser; a cosine goes to its floor over the epochs.
        steps: length in steps instead of epochs; the cosine then falls from step to step.
        repetition: which of several trainings of one architecture: each has its own weights at the
            start and its own batches, the same for all architectures.
        part: of the data that is trained on, `train` or `pool`.
    """

    def __init__(
        self,
        problem: Problem,
        arch: Architecture,
        *,
        epochs: int = 1,
        batch_size: int,
        descent: Optimiser,
        steps: int = 0,
        repetition: int = 0,
        part: str = "train",
    ) -> None:
        self.problem, self.descent = problem, descent
        self.text = problem.space.format(arch)
        device = problem.devices.device
        purpose = f"evaluation/{repetition}" if repetition else "evaluation"
        self._draws = OwnDraws(device, seed=seed_for(problem.seed, f"{purpose}/torch"))
        with forked_rng(device, seed=seed_for(problem.seed, purpose)):
            net = network(problem.space, arch, problem.spec)
            if not isinstance(problem.space, ModuleSpace):  # whose layers are copies, equal already
                _start_equal(net, problem.seed, purpose, generators(device))
        self.net = train_mode(problem.devices.placed(net))
        self._stream = problem.stream(part, batch_size, purpose)
        self.epochs, self._each = (steps, 1) if steps else (epochs, self._stream.steps_per_epoch)
        self._weights = [w for w in self.net.parameters() if w.requires_grad]
        self._optimiser = descent.make(self._weights)
        self.done = 0
        """Steps so far."""

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.epochs * self._each

    @property
    def seen(self) -> int:
        """Examples drawn so far, over all processes."""
        return self._stream.seen

    def advance(self, to: int) -> Tensor | None:
        """Train until `to` steps are done.

        Returns:
            The mean loss of these steps, each before its weights were changed; None of no step.

        Raises:
            ConfigError: that is behind, or past the end.
            NumericalError: the loss is not finite.
        """
        if not self.done <= to <= self.steps:
            raise ConfigError(f"to is {to}; accepted: {self.done} to {self.steps} steps")
        losses: list[Tensor] = []
        while self.done < to:
            clock = Clock.after(self.done, self.epochs, self._each)
            loss = self._step(clock)
            losses.append(loss)
            self.done += 1
            ends = self.done == to or (clock.last and self._each > 1)
            if ends and not torch.isfinite(loss):
                raise NumericalError(
                    f"training {self.text} gave a loss of {loss.item()} in epoch "
                    f"{clock.epoch + 1}; a smaller weights.lr may help"
                )
        return torch.stack(losses).mean() if losses else None

    def _step(self, clock: Clock) -> Tensor:
        problem = self.problem
        if self.done % self._stream.steps_per_epoch == 0:
            self._stream.refresh(self._acted)
        batch = self._stream.next()
        with enough_values(batch.x), self._draws(), problem.devices.autocast():
            output = call(self.net, batch.x)
        loss = problem.task.loss(mapped(Tensor.float, output), batch.y, train=True)
        return gradient_step(
            self._optimiser, self._weights, loss, self.descent, clock, problem.mean_over_ranks
        )

    def _acted(self, x: Any) -> Any:
        """The network's output in evaluation mode, with which examples are gathered."""
        with evaluating(self.net), self._draws(), self.problem.devices.autocast():
            output = call(self.net, x)
        return mapped(Tensor.float, output)

    def score(self) -> float:
        """The search-validation metric, higher is better; the training can go on as before.

        The same on all processes: each measures a share, with the mean running statistics.
        """
        devices = self.problem.devices
        once = self.problem.task.once(
            "valid",
            self.problem.task.at_once,
            device=devices.device,
            rank=devices.rank,
            world=devices.world,
        )
        return self.scores([once])[0]

    def scores(self, parts: Iterable[Iterable[Batch]]) -> list[float]:
        """The metric, higher is better, on each of some lists of batches; see `score`.

        Args:
            parts: batches without augmentation, this process's share of each.
        """
        problem, devices = self.problem, self.problem.devices
        buffers = [b for b in self.net.buffers() if b.is_floating_point()]
        own = [b.clone() for b in buffers]
        self.net.eval()
        with torch.no_grad(), forked_rng(devices.device, seed=problem.seed):
            for buffer, mean in zip(buffers, problem.mean_over_ranks(buffers), strict=True):
                buffer.copy_(mean)
            every = [problem.task.measure(self._output, batches) for batches in parts]
            for buffer, value in zip(buffers, own, strict=True):
                buffer.copy_(value)
        train_mode(self.net)
        return [self._score(sums) for sums in every]

    def _score(self, sums: Mapping[str, Tensor]) -> float:
        task, means = self.problem.task, self.problem.mean_over_ranks(list(sums.values()))
        return task.metric.score(task.value(dict(zip(sums, means, strict=True))))

    def state_dict(self) -> dict[str, Any]:
        """From which a training of the same architecture and length goes on, bit for bit."""
        return {
            "architecture": self.text,
            "done": self.done,
            "net": self.net.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "stream": self._stream.state_dict(),
            "draws": self._draws.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            CheckpointError: it is of another architecture.
        """
        if state["architecture"] != self.text:
            raise CheckpointError(
                f"the checkpoint's training is of {state['architecture']}; accepted: {self.text}"
            )
        self.done = int(state["done"])
        self.net.load_state_dict(state["net"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._stream.load_state_dict(state["stream"])
        self._draws.load_state_dict(state["draws"])

    def _output(self, x: Any) -> Any:
        with self.problem.devices.autocast():
            output = call(self.net, x)
        return mapped(Tensor.float, output)


def _start_equal(
    net: nn.Module, seed: int, purpose: str, drawn_from: Sequence[torch.Generator]
) -> None:
    """Draw each layer's weights from a stream of its own name."""
    for name, module in net.named_modules():
        draw = getattr(module, "reset_parameters", None)
        if callable(draw) and any(True for _ in module.parameters(recurse=False)):
            reseed(drawn_from, seed_for(seed, f"{purpose}/{name}"))
            draw()
