"""Batches: an endless, resumable, shardable stream, and one ordered pass for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from morphogen.core.errors import CheckpointError, ConfigError, DataError
from morphogen.tasks.batches import Batch, Examples


class Stream:
    """An endless sequence of batches, a pure function of its generator's state.

    The stream draws row numbers; making a batch of them is the task's. An epoch is one permutation
    of the rows, cut into batches; the rows that do not fill a last batch are left out of that
    epoch, so every batch has the same size.

    Data-parallel processes each hold a stream with the same seed and the joint batch size. Each
    draws permutation and augmentation for the joint batch and makes only its own slice: together
    they see exactly the batch of one process.

    Examples that are gathered with the network in training (`Examples.gathers`) are gathered anew
    at the first batch after each `refresh`, by every process all of them.

    Args:
        examples: the part to draw from.
        batch_size: examples of the joint batch, over all processes.
        generator: a CPU generator of this stream alone; the stream draws from it and
            checkpoints it.
        replacement: draw every batch independently and uniformly instead of by epochs.
        rank: this process, from 0.
        world: number of processes; divides `batch_size`.
        name: of the part, for messages.

    Raises:
        DataError: the batch is larger than the part.
        ConfigError: the batch is not positive or cannot be shared equally.
    """

    def __init__(
        self,
        examples: Examples,
        batch_size: int,
        generator: torch.Generator,
        *,
        replacement: bool = False,
        rank: int = 0,
        world: int = 1,
        name: str = "train",
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; accepted: 1 or more examples")
        if batch_size > len(examples):
            raise DataError(
                f"batch_size is {batch_size}, but the {name} part has {len(examples)} examples; "
                f"accepted: 1 to {len(examples)}"
            )
        if generator.device.type != "cpu":
            raise ConfigError(f"generator is on {generator.device}; accepted: a CPU generator")
        self.examples, self.batch_size, self.generator = examples, batch_size, generator
        self.replacement, self.name = replacement, name
        self.rank, self.world = rank, world
        self._mine = share(batch_size, rank, world)
        self._order = torch.empty(0, dtype=torch.int64)
        self._position = 0  # in the order, of the next joint batch
        self._batches = 0
        self._forward: Callable[[Any], Any] | None = None  # by which examples are to be gathered
        self._since = 0  # batches since they were

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the part, in all passes of an epoch."""
        return self.examples.passes * (len(self.examples) // self.batch_size)

    @property
    def seen(self) -> int:
        """Examples drawn so far, over all processes; of gathered ones, how many there were."""
        return self.examples.gathered if self.examples.gathers else self._batches * self.batch_size

    @property
    def told(self) -> Mapping[str, float]:
        """Figures of what was gathered since the last `refresh`, for the record."""
        return self.examples.told if self._forward is None else {}

    def refresh(self, forward: Callable[[Any], Any]) -> None:
        """Have the examples gathered anew with the network, at the next batch; fixed ones stay.

        Args:
            forward: the network's output for a batch's `x`, in evaluation mode.
        """
        if self.examples.gathers:
            self._forward = forward

    def next(self) -> Batch:
        """The next batch: this process's share of it, `batch_size / world` examples."""
        if self._forward is not None:
            with torch.no_grad():
                self.examples.gather(self._forward, self.generator)
            self._forward, self._position, self._since = None, 0, 0
            self._order = torch.empty(0, dtype=torch.int64)
        rows = self._draw()
        self._batches += 1
        self._since += 1
        return self.examples.batch(rows, mine=self._mine, generator=self.generator)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield self.next()

    def _draw(self) -> Tensor:
        """Rows of the next joint batch, int64 `[batch_size]`."""
        n, b = len(self.examples), self.batch_size
        if self.replacement:
            return torch.randint(0, n, (b,), generator=self.generator)
        if self._position + b > len(self._order):
            self._order = torch.randperm(n, generator=self.generator)
            self._position = 0
        self._position += b
        return self._order[self._position - b : self._position]

    def shard(self, rank: int, world: int) -> Stream:
        """A stream from the same point on, of process `rank` of `world`; this one is not moved."""
        generator = torch.Generator()
        generator.set_state(self.generator.get_state())
        other = Stream(
            self.examples.anew(),
            self.batch_size,
            generator,
            replacement=self.replacement,
            rank=rank,
            world=world,
            name=self.name,
        )
        other.load_state_dict(self.state_dict())
        other._forward = self._forward
        return other

    def state_dict(self) -> dict[str, Any]:
        """Tensors and integers from which the stream continues bit for bit, also in mid-epoch.

        Equal on all processes, and independent of their number.
        """
        return {
            "generator": self.generator.get_state(),
            "order": self._order.clone(),
            "position": self._position,
            "batches": self._batches,
            "examples": len(self.examples),
            "batch_size": self.batch_size,
            **(self._gathering() if self.examples.gathers else {}),
        }

    def _gathering(self) -> dict[str, Any]:
        used = self._since >= self.steps_per_epoch
        return {"since": self._since, "gathering": self.examples.state_dict(used=used)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken.

        Raises:
            CheckpointError: the state is incomplete, or of another data set or batch size.
        """
        missing = self.state_dict().keys() - set(state)
        if missing:
            raise CheckpointError(
                f"the checkpoint of the {self.name} stream lacks {', '.join(sorted(missing))}; "
                "accepted: one written by this version of morphogen"
            )
        for key, value in (("examples", len(self.examples)), ("batch_size", self.batch_size)):
            if state[key] != value:
                raise CheckpointError(
                    f"the checkpoint of the {self.name} stream has {key} {state[key]}, this run "
                    f"has {value}; accepted: the same data, split and batch size"
                )
        order, position, batches = state["order"], state["position"], state["batches"]
        n = len(self.examples)
        if (
            not isinstance(order, Tensor)
            or order.dtype != torch.int64
            or order.shape not in ((0,), (n,))
            or (len(order) and not 0 <= int(order.min()) <= int(order.max()) < n)
            or not isinstance(position, int)
            or not isinstance(batches, int)
            or not 0 <= position <= len(order)
        ):
            raise CheckpointError(
                f"the checkpoint of the {self.name} stream is corrupt (order or position out of "
                "range); accepted: an unchanged checkpoint"
            )
        try:
            self.generator.set_state(state["generator"].cpu())
        except (AttributeError, RuntimeError, TypeError) as error:
            raise CheckpointError(
                f"the checkpoint of the {self.name} stream has no valid generator state; "
                "accepted: an unchanged checkpoint"
            ) from error
        if self.examples.gathers:
            self.examples.load_state_dict(state["gathering"])
            self._since = int(state["since"])
        self._order = order.cpu().clone()
        self._position, self._batches = position, batches
        self._forward = None


def share(batch: int, rank: int, world: int) -> slice:
    """The rows of a joint batch that belong to process `rank` of `world`.

    Raises:
        ConfigError: `world` does not divide the batch, or there is no such rank.
    """
    if world < 1 or not 0 <= rank < world:
        raise ConfigError(f"rank is {rank} of {world} processes; accepted: 0 to world - 1")
    if batch % world:
        raise ConfigError(
            f"batch_size is {batch}, which {world} processes cannot share equally; "
            f"accepted: a multiple of {world}"
        )
    each = batch // world
    return slice(rank * each, (rank + 1) * each)


def once(
    examples: Examples, batch_size: int, *, limit: int = 0, rank: int = 0, world: int = 1
) -> Iterator[Batch]:
    """Every example once, in order, without augmentation; the last batch may be smaller.

    Of several processes each gets the examples `rank`, `rank + world`, ...: sums over batches add
    up to those of one process.

    Args:
        examples: to evaluate on.
        batch_size: examples of a batch of this process; more than there are is one batch.
        limit: only so many examples, the first; 0, or more than there are, is all.
        rank: this process.
        world: number of processes.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; accepted: 1 or more examples")
    share(world, rank, world)  # refuses a rank that is not there
    rows = torch.arange(min(limit or len(examples), len(examples)))[rank::world]
    starts = range(0, len(rows), batch_size)
    return (examples.batch(rows[start : start + batch_size]) for start in starts)
