"""What a method sees of the world: a space, batches, a loss. Never test data, never a device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from morphogen.core.errors import ConfigError
from morphogen.core.rng import numpy_state, numpy_stream, seed_for, set_numpy_state
from morphogen.spaces import SearchSpace
from morphogen.supernets import (
    Gates,
    ModuleSupernet,
    NetworkSpec,
    Supernet,
    build,
    enough_values,
    evaluating,
    explained,
    frozen_statistics,
    take_weights,
    train_mode,
)
from morphogen.supernets.global_rng import ReplayedDraws, forked_rng
from morphogen.supernets.nested import mapped
from morphogen.tasks.base import PARTS, Task
from morphogen.tasks.batches import Batch, Examples
from morphogen.tasks.streams import Stream, share

BilevelLoss = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]
"""`loss(weights, alphas)` -> scalar tensor: an inner or an outer objective on its batch."""

AlphasToGates = Callable[[Sequence[Tensor]], Gates]
"""From alphas, one matrix per group of the space in the order of groups, to gates."""


ModuleT = TypeVar("ModuleT", bound=nn.Module)


def trainable(net: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of `net` that a weight step moves, by name, in a fixed order."""
    return {name: p for name, p in net.named_parameters() if p.requires_grad}


def running(net: nn.Module, x: Any) -> AbstractContextManager[None]:
    """The context in which a supernet runs on inputs `x`: what a user's raises is explained."""
    own = isinstance(net, ModuleSupernet)
    return explained(net, x, "your module") if own else enough_values(x)


class Devices(Protocol):
    """Where tensors live and how data-parallel processes agree; the engine's Fabric, or `Local`."""

    rank: int
    world: int
    device: torch.device

    def mean(self, tensors: list[Tensor]) -> list[Tensor]:
        """The mean over all processes of each tensor."""

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of the chosen precision."""

    def placed(self, net: ModuleT) -> ModuleT:
        """A stand-alone network, moved to the device and laid out for the chosen precision."""


class Local:
    """One process on the CPU in float32."""

    rank = 0
    world = 1
    device = torch.device("cpu")

    def mean(self, tensors: list[Tensor]) -> list[Tensor]:
        """The tensors themselves."""
        return tensors

    def autocast(self) -> AbstractContextManager[Any]:
        """No change of precision."""
        return nullcontext()

    def placed(self, net: ModuleT) -> ModuleT:
        """The network, on the CPU."""
        return net.to(self.device)


class Ahead(NamedTuple):
    """A phase of a search that is to come."""

    phase: str
    epochs: int
    steps: int
    """Of an epoch."""
    work: float = 1.0
    """About how long a step is, in those of the other phases."""


@dataclass(frozen=True)
class Clock:
    """Where the search stands; schedules read it."""

    epoch: int
    """Finished epochs, from 0."""
    epochs: int
    """Epochs in all."""
    step: int
    """Finished steps of this epoch, from 0."""
    steps: int
    """Steps of an epoch."""
    phase: str = "search"
    """Which phase of the search; the numbers above are of this phase alone."""
    ahead: tuple[Ahead, ...] = ()
    """Phases to come, for who watches: his clock counts the epochs of all phases."""
    work: float = 1.0
    """See `Ahead`."""

    @classmethod
    def after(cls, done: int, epochs: int, steps: int) -> Self:
        """Where a training of `epochs` epochs of `steps` steps each stands after `done` steps."""
        epoch, step = divmod(done, steps)
        return cls(epoch, epochs, step, steps)

    @property
    def last(self) -> bool:
        """Whether this is the last step of its epoch."""
        return self.step == self.steps - 1

    def cosine(self, start: float, end: float) -> float:
        """A value that falls from `start` to `end` along half a cosine, constant in an epoch."""
        return end + (start - end) * (1 + float(np.cos(np.pi * self.epoch / self.epochs))) / 2

    def linear(self, start: float, end: float) -> float:
        """A value that goes from `start` in the first epoch to `end` in the last one."""
        return start + (end - start) * self.epoch / max(self.epochs - 1, 1)


@dataclass(frozen=True)
class Start:
    """Weights that the supernet begins with, instead of random ones."""

    weights: Mapping[str, Tensor]
    """A supernet's state dict."""
    other_outputs: int | None = None
    """Outputs for the data they were trained on, if it was other data: the classifier is then
    drawn anew. None if it was the same."""


class Problem:
    """One search problem: the search space, the parts of the search data, the loss.

    Args:
        space: what is searched.
        task: data, loss and metric; only its two search parts are ever touched here.
        spec: size of the supernet.
        batch_size: examples of a joint batch, over all processes.
        seed: from which every random stream is seeded.
        devices: where to compute.
        start: what the supernet begins with.
    """

    def __init__(
        self,
        space: SearchSpace,
        task: Task,
        spec: NetworkSpec,
        *,
        batch_size: int,
        seed: int = 0,
        devices: Devices | None = None,
        start: Start | None = None,
    ) -> None:
        self.space, self.task, self.spec, self.start = space, task, spec, start
        self.devices = devices or Local()
        self.seed = seed
        self.search_rng = torch.Generator().manual_seed(seed_for(seed, "search"))
        """For a method's draws in torch: alpha's start, Gumbel noise. Equal on all processes."""
        self.numpy_rng = numpy_stream(seed, "search")
        """For a method's draws in numpy: sampled architectures. Equal on all processes."""
        self.batch_size = batch_size
        self.progress = 0.0
        """Share of the epochs of the search's first phase that are done, 1 in later phases: what
        schedules of regularisers go by. The loop sets it."""
        self._joint: list[tuple[str, Stream]] = []
        self._measured: dict[str, int] = {}
        self._pool: Examples | None = None
        self._acting: Callable[[Any], Any] | None = None
        self._streams = {
            part: self.stream(part, batch_size, f"data/{part}") for part in ("train", "valid")
        }

    def on(self, task: Task) -> Problem:
        """The same on other rows, say, with streams of its own; nothing is trained already."""
        return Problem(
            self.space,
            task,
            self.spec,
            batch_size=self.batch_size,
            seed=self.seed,
            devices=self.devices,
        )

    # -- data --------------------------------------------------------------------------------

    def batch(self, part: str) -> Batch:
        """A fresh augmented batch of a part, this process's share of it.

        Args:
            part: `train`, which trains weights, `valid`, which trains architectures, or `pool`,
                both in one.
        """
        return self._stream(part).next()

    def steps(self, part: str) -> int:
        """Whole batches in a part: steps of an epoch that is a pass over it."""
        return self.task.steps(part, self.batch_size)

    def gather(self, net: Supernet, gates: Gates) -> None:
        """Have all examples gathered anew, if the task gathers them with the network in training.

        At the next batch of each part: by `net` as it is then, in evaluation mode, under these
        gates, held fixed. The loop calls it before each epoch.
        """
        if not self.task.gathers:
            return
        held = gates.detach()

        def forward(x: Any) -> Any:
            with evaluating(net):
                return self.forward(net, held, x)

        self._acting = forward
        for stream in (*self._streams.values(), *(s for _, s in self._joint)):
            stream.refresh(forward)

    @property
    def told(self) -> dict[str, float]:
        """Figures of what was gathered last, for the record: by part and name."""
        streams = self._streams.items()
        return {f"{part}_{name}": v for part, s in streams for name, v in s.told.items()}

    def _stream(self, part: str) -> Stream:
        if part not in self._streams:
            self._streams[part] = self.stream(part, self.batch_size, f"data/{part}")
            if self._acting is not None:
                self._streams[part].refresh(self._acting)
        return self._streams[part]

    def stream(self, part: str, batch_size: int, purpose: str) -> Stream:
        """An endless stream of this process's share of augmented batches, seeded by its purpose."""
        return self.task.stream(
            part,
            batch_size=batch_size,
            generator=torch.Generator().manual_seed(seed_for(self.seed, purpose)),
            device=self.devices.device,
            rank=self.devices.rank,
            world=self.devices.world,
        )

    def drawn(self, rows: Tensor, purpose: str, epoch: int, step: int) -> Batch:
        """A fresh augmented batch of some rows of the pool, this process's share of it.

        For passes over rows that are others in each epoch. Their order follows from seed, purpose
        and epoch, and step `i` has the i-th batch of it; after the last whole batch the first
        again.

        Args:
            rows: int64, of the part `pool`.
            purpose: what the batch is for; each has an order of its own.
            epoch: of the pass.
            step: within the epoch.

        Raises:
            ConfigError: there are fewer rows than a batch has, or examples are gathered, of which
                there are no rows.
        """
        if self.task.gathers:
            raise ConfigError(
                f"{purpose} asks for rows of the data, and those of {self.task.name!r} are "
                "gathered with the network; accepted: batches of the parts, as of a fixed split"
            )
        whole, devices = len(rows) // self.batch_size, self.devices
        if not whole:
            raise ConfigError(
                f"batch_size is {self.batch_size}, and the split leaves {len(rows)} examples for "
                f"{purpose}; accepted: 1 to {len(rows)}"
            )
        name = f"{purpose}/{epoch}"
        shuffle = torch.Generator().manual_seed(seed_for(self.seed, name))
        order = torch.randperm(len(rows), generator=shuffle)
        first = step % whole * self.batch_size
        chosen = rows[order[first : first + self.batch_size]]
        if self._pool is None:
            self._pool = self.task.examples("pool", device=devices.device, augmented=True)
        self.count_measured("pool", self.batch_size)
        return self._pool.batch(
            chosen,
            mine=share(self.batch_size, devices.rank, devices.world),
            generator=torch.Generator().manual_seed(seed_for(self.seed, f"{name}/{step}")),
        )

    def joint_stream(self, part: str, purpose: str) -> Stream:
        """An endless stream of whole joint batches, the same on every process.

        For what is no mean over examples, and so cannot be put together from shares.
        """
        stream = self.task.stream(
            part,
            batch_size=self.batch_size,
            generator=torch.Generator().manual_seed(seed_for(self.seed, purpose)),
            device=self.devices.device,
        )
        self._joint.append((part, stream))
        return stream

    def chosen(self, part: str, count: int, purpose: str) -> Tensor:
        """Rows of a part to judge networks by, as the task chooses them; 0, or too many, is all.

        The same at every call and on every process: seed and purpose decide.
        """
        return torch.from_numpy(self.task.choose(part, count, numpy_stream(self.seed, purpose)))

    def count_measured(self, part: str, examples: int) -> None:
        """Count a pass over so many fixed examples of a part, all processes together."""
        self._measured[part] = self._measured.get(part, 0) + examples

    @property
    def seen(self) -> dict[str, int]:
        """Examples that the search used so far, over all processes, each as often as it was drawn.

        Those of streams, of which a joint batch is drawn whole by every process, and those on
        which architectures were measured; not those of diagnostics, which decide nothing.
        """
        found = {part: stream.seen for part, stream in self._streams.items()}
        measured = self._measured.items()
        for part, count in (*((part, s.seen) for part, s in self._joint), *measured):
            found[part] = found.get(part, 0) + count
        return found

    # -- networks ----------------------------------------------------------------------------

    def supernet(self) -> Supernet:
        """A new supernet on the device, in train mode, its weights drawn from the run's seed.

        If the run begins with another's supernet (`start`), the weights are that one's.
        """
        with forked_rng(self.devices.device, seed=seed_for(self.seed, "weights")):
            net = build(self.space, self.spec)
        if self.start is not None:
            take_weights(net, self.start.weights, classes=self.start.other_outputs)
        return train_mode(net.to(self.devices.device))

    def forward(
        self,
        net: Supernet,
        gates: Gates,
        x: Any,
        weights: Mapping[str, Tensor] | Sequence[Tensor] | None = None,
    ) -> Any:
        """The output of `net` under `gates`, in float32: logits, apart from any loss.

        Args:
            net: the supernet, in the mode it has.
            gates: the options that are run and their weights.
            x: the inputs of a batch.
            weights: other weights than the net's own, which stay as they are: by name (of
                parameters or buffers, not necessarily all), or in the order of `trainable(net)`.
        """
        with running(net, x), self.devices.autocast():
            if weights is None:
                output = net(x, gates)
            else:
                if not isinstance(weights, Mapping):
                    weights = dict(zip(trainable(net), weights, strict=True))
                output = functional_call(net, dict(weights), (x, gates))
        return mapped(Tensor.float, output)

    def loss(
        self,
        net: Supernet,
        gates: Gates,
        batch: Batch,
        *,
        more: Callable[[Any], Tensor] | None = None,
    ) -> Tensor:
        """The task's mean loss of `net` under `gates`: a weight step's loss.

        Args:
            net: the supernet.
            gates: the options that are run and their weights.
            batch: examples.
            more: a further term of the loss, of the output: self-distillation, say.
        """
        output = self.forward(net, gates, batch.x)
        loss = self.task.loss(output, batch.y, train=True) * self._share(batch)
        return loss if more is None else loss + more(output)

    def _share(self, batch: Batch) -> float:
        """By what the mean loss of this process's share is multiplied.

        So that the mean over processes is the mean over the joint batch, also where shares of as
        many examples have unequally many units: tokens, pixels that are not void.
        """
        if self.devices.world == 1:
            return 1.0
        size = torch.tensor(float(batch.size), device=self.devices.device)
        (mean,) = self.devices.mean([size])
        return batch.size / float(mean) if mean else 1.0

    def bilevel_loss(
        self,
        net: Supernet,
        gates: AlphasToGates,
        batch: Batch,
        *,
        more: Callable[[Any], Tensor] | None = None,
    ) -> BilevelLoss:
        """The loss on `batch` as a function of (weights, alphas), for hypergradients.

        The weights are those of `trainable(net)`, in its order; frozen ones keep their values.
        Running statistics of batch norms stay as they are: these passes ask, they do not train.
        What modules and `gates` draw (dropout, noise, sampled gates) is drawn at the first call
        and is the same in all that follow: it is one function. `more` is a further term of it, of
        the output.
        """
        names = list(trainable(net))
        drawn = ReplayedDraws(self.devices.device, more=[self.search_rng])
        share = self._share(batch)

        def loss(weights: Sequence[Tensor], alphas: Sequence[Tensor]) -> Tensor:
            named = dict(zip(names, weights, strict=True))
            with drawn(), frozen_statistics(net):
                output = self.forward(net, gates(alphas), batch.x, named)
            value = self.task.loss(output, batch.y) * share
            return value if more is None else value + more(output)

        return loss

    # -- regularisation: nothing here, see `bilevel.regularised` -------------------------------

    edge_normalisation = False
    """Whether alphas have a column for the edges (`bilevel.gates.edge_shares`)."""

    def weight_gates(self, net: Supernet, gates: Gates, batch: Batch) -> Gates:
        """The gates under which a step trains weights on `batch`: those given, held fixed."""
        return gates.detach()

    def alpha_penalty(self, alphas: Sequence[Tensor]) -> Tensor | None:
        """What every alpha step minimises besides its loss, a scalar of the alphas; None: nothing.

        The same on all processes.
        """
        return None

    @property
    def alpha_moves(self) -> bool:
        """Whether alpha is stepped by now."""
        return True

    def mean_over_ranks(self, tensors: list[Tensor]) -> list[Tensor]:
        """The mean over data-parallel processes; `autograd.grad` bypasses DDP's own."""
        return self.devices.mean(tensors)

    # -- checkpoint --------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Positions of all streams, and what was counted beside them."""
        return {
            "measured": dict(self._measured),
            "search_rng": self.search_rng.get_state(),
            "numpy_rng": numpy_state(self.numpy_rng),
            **{part: stream.state_dict() for part, stream in self._streams.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue all streams from where `state_dict` was taken."""
        self._measured = dict(state["measured"])
        self.search_rng.set_state(state["search_rng"])
        set_numpy_state(self.numpy_rng, state["numpy_rng"])
        for part in PARTS:
            if part in state or part in self._streams:
                self._stream(part).load_state_dict(state[part])
