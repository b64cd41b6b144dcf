"""What a task is: data in parts, a loss, a metric. Usable as it is for any map-style data sets."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from morphogen.core.errors import ConfigError, DataError, MorphogenError, SpaceError
from morphogen.core.memory import ran_out
from morphogen.supernets.global_rng import forked_rng
from morphogen.supernets.nested import described, length_of, mapped, shapes, take, tensors_of
from morphogen.tasks.batches import Batch, Examples
from morphogen.tasks.cut import Cut
from morphogen.tasks.datasets import Fetched, MapDataset, require_data_set
from morphogen.tasks.digests import digest, raw
from morphogen.tasks.metric import Compare, Figure, Metric, Sums, added
from morphogen.tasks.shown import Shown
from morphogen.tasks.streams import Stream, once

PARTS = ("train", "valid", "pool")
"""Parts of which batches can be had: `train` trains weights, `valid` trains or ranks architectures,
`pool` is both in one. The test part is none of them."""


class Task:
    """Data, loss and metric of a search.

    The examples come in two disjoint search parts: `train` trains weights, `valid` trains or ranks
    architectures; `pool` is both. The test part stays closed: it is not read before `open_test` is
    called, every call is on record in `test_openings`, and inside `sealed` it is refused, which is
    how a search is run.

    A class of your own overrides what differs: how batches are made (`examples`), what the loss is
    (`loss`), how the metric is computed (`counts` and `value`).

    Args:
        train: a map-style data set whose items are (input, target). An input is a tensor (or what
            `collate` makes one of), or a tuple or dict of them for several inputs. What it draws
            at random, it draws from the global generators of torch, numpy or Python, which are
            seeded for each example, so that runs are repeated and resumed to the bit.
        valid: the search-validation part; by default half of `train`, drawn by `seed`.
        test: opened only to evaluate a finished network.
        loss: from the network's output and the targets to the mean, or to one number for each
            example: a function or a module of PyTorch, or your own.
        metric: by what architectures are judged; by default that of the class, if it is one of your
            own that has one, else the loss.
        train_loss: the loss that trains weights, where it is another: with class weights, say.
        collate: makes (inputs, targets) of a list of items, for instance with padding; by default
            PyTorch's `default_collate`.
        outputs: outputs of the network, for the built-in spaces; a module of your own has its own.
        name: for reports.
        seed: of the split.

    Raises:
        DataError: the data are no such data sets, or too few.
        ConfigError: an option is out of range.
    """

    name: str
    """Of the data, for reports."""
    metric: Metric
    own_valid: bool
    """Whether `valid` is a part of the data's own, and not cut from `train`."""
    asked: tuple[int, int]
    """Sizes of the two search parts from which they are cut again."""
    unit = "examples"
    """What its examples are called in sentences."""
    finishes = False
    """Whether there are figures of finished networks, see `finished`."""
    gathers = False
    """Whether the batches of its streams are gathered with the network in training."""
    usual_batch = 0
    """Examples of a batch where nothing is asked for; 0: as of any task."""
    kind = ""
    """Name of its registered kind of data (`tasks.configs`); empty of any other task."""
    test_openings: tuple[str, ...] = ()
    """The reason of every opening of the test part so far, refused ones not included."""
    _test: Any = None
    """The test part as it was given, or where it can be read; None: none was."""
    _sealed_by = ""

    def __init__(
        self,
        *,
        train: MapDataset,
        valid: MapDataset | None = None,
        test: MapDataset | None = None,
        loss: Compare | nn.Module,
        metric: Metric | None = None,
        train_loss: Compare | nn.Module | None = None,
        collate: Callable[[list[Any]], Any] | None = None,
        outputs: int | None = None,
        name: str = "data",
        seed: int = 0,
    ) -> None:
        for field, value in (("loss", loss), ("train_loss", train_loss), ("collate", collate)):
            if value is not None and not callable(value):
                raise ConfigError(f"{field} is {_shown(value)}; accepted: a function")
        if metric is not None and (not isinstance(metric, Metric) or metric.of is None):
            raise ConfigError(
                f"metric is {_shown(metric)}; accepted: morphogen.Metric(name, of=function)"
            )
        if metric is not None and metric.name == "loss" and metric.of is not loss:
            raise ConfigError("metric is named loss, and is another function; accepted: its name")
        if outputs is not None and outputs < 1:
            raise ConfigError(f"outputs is {outputs}; accepted: 1 or more")
        parts = [("train", train), *([] if valid is None else [("valid", valid)])]
        self._data = [require_data_set(part, data) for part, data in parts]
        self._test = None if test is None else require_data_set("test", test)
        self._loss, self._train_loss = loss, loss if train_loss is None else train_loss
        own = metric or getattr(type(self), "metric", None)  # that of a class computes itself
        self.metric = own or Metric("loss", higher_is_better=False, of=loss)
        self._collate, self._outputs = collate, outputs
        self.name, self.seed, self.own_valid = name, seed, valid is not None
        n = len(train)
        if valid is None:
            first, second = parted(n, n - n // 2, seed)
        else:
            first, second = torch.arange(n), n + torch.arange(len(valid))
        self.train_rows, self.valid_rows = first, second
        self.asked = len(first), len(second)

    # -- data --------------------------------------------------------------------------------

    def rows(self, part: str) -> Tensor:
        """The rows of a part in `pool`, int64 `[n]`, ascending.

        Raises:
            ConfigError: there is no such part, or it is the test part, which is closed.
        """
        if part == "train":
            return self.train_rows
        if part == "valid":
            return self.valid_rows
        if part == "pool":
            return torch.arange(len(self.train_rows) + len(self.valid_rows))
        hint = " (the test part is closed; open_test gives it to an evaluation)"
        raise ConfigError(
            f"part is {part!r}; accepted: train, valid or pool{hint if part == 'test' else ''}"
        )

    def cut(self, cut: Cut) -> Task:
        """This task with its parts as they are asked for; this one does not change.

        A task that is made in Python has two search parts already, so that of a cut only a share
        to hold out counts, for a training from scratch.

        Raises:
            ConfigError: other sizes are asked for.
        """
        for name, size, has in (
            ("train_images", cut.train, self.length("train")),
            ("valid_images", cut.valid, self.length("valid")),
        ):
            if size not in (None, has) and name not in cut.at_most:
                raise ConfigError(
                    f"{name} is {size}, and the data are a task, which has its own parts; "
                    "accepted: 0, and data sets of the sizes that are wanted"
                )
        if cut.held_out is None or self.own_valid:
            return self
        whole = self.with_all()
        n = whole.length("pool")
        held = min(max(round(cut.held_out * n), 1), n - 1) if cut.held_out else 0
        return whole.with_parts(*parted(n, n - held, cut.seed))

    def with_parts(self, train: Tensor, valid: Tensor) -> Self:
        """A copy with other rows of the pool in its search parts.

        Args:
            train: int64, ascending.
            valid: likewise; none of them in `train`.
        """
        other = copy(self)
        for part in ("train", "valid"):  # of a class that keeps them: they are of the old rows
            other.__dict__.pop(part, None)
        other.train_rows, other.valid_rows = train, valid
        other.asked = len(train), len(valid)
        return other

    def with_all(self) -> Self:
        """A copy whose pool is all that there is to train on, also what no search part has."""
        return copy(self)

    def train_on_all(self) -> None:
        """Measure what is measured on training examples (means, weights) on the whole pool."""

    def inputs(self) -> dict[str, Any]:
        """What one must know beside a network's weights to give it inputs: kind, sizes, scales."""
        return {"kind": "tensors", "example": described(*map(self._alone, self._some()))}

    @property
    def groups(self) -> NDArray[Any] | None:
        """The group (subject, recording) of each row of the pool; None: there are none."""
        return None

    @property
    def at_once(self) -> int:
        """Examples of a pass without gradients, at most."""
        return 500

    def length(self, part: str) -> int:
        """Examples of a part."""
        return len(self.rows(part))

    def drawn(self, part: str) -> int:
        """Examples from which a stream over a part makes its batches, in one pass."""
        return self.length(part)

    def steps(self, part: str, batch_size: int) -> int:
        """Whole batches of a stream over a part in an epoch."""
        return self.drawn(part) // batch_size

    def examples(
        self, part: str, *, device: torch.device | str = "cpu", augmented: bool = False
    ) -> Examples:
        """A part, from which batches can be made.

        Args:
            part: `train`, `valid` or `pool`.
            device: where batches are made.
            augmented: as training sees them.
        """
        rows = self.rows(part)
        if self.own_valid and part != "pool":
            alone = self._data[part == "valid"]
            return self._fetched([alone], torch.arange(len(alone)), device)
        return self._fetched(self._data, rows, device)

    def _fetched(
        self, data: list[MapDataset], rows: Tensor, device: torch.device | str
    ) -> Examples:
        return Fetched(
            data,
            rows,
            collate=self._collate,
            units=self.units,
            device=torch.device(device),
            name=self.name,
        )

    def choose(self, part: str, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """`count` different rows of a part to judge networks by; 0, or too many, is all.

        In an order in which every stretch is as much like the whole as may be.
        """
        n = self.length(part)
        return rng.permutation(n)[: min(count, n) or n]

    def example(self) -> Any:
        """The input of a batch of one example, on the CPU: for costs, checks and exports."""
        with forked_rng(seed=0):
            return self.batch("train", torch.zeros(1, dtype=torch.int64)).x

    def _some(self) -> Tensor:
        """Sixteen rows of the pool, or all."""
        n = self.length("pool")
        return torch.linspace(0, n - 1, min(n, 16)).round().long()

    def _alone(self, row: Tensor) -> Any:
        with forked_rng(seed=0):
            return self.batch("pool", row[None]).x

    def outputs(self) -> int:
        """Outputs of a network for this task: classes, targets; 0 where it cannot be known."""
        return self._outputs or 0

    @property
    def in_channels(self) -> int:
        """Channels of the input, its second axis; 0 where it is not a single tensor."""
        x = self.example()
        return int(x.shape[1]) if isinstance(x, Tensor) and x.ndim > 1 else 0

    def batch(self, part: str, rows: Tensor, *, device: torch.device | str = "cpu") -> Batch:
        """One batch, of these rows of a part, without augmentation."""
        return self.examples(part, device=device).batch(rows)

    def stream(
        self,
        part: str,
        batch_size: int,
        generator: torch.Generator,
        *,
        augmented: bool = True,
        replacement: bool = False,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> Stream:
        """Endless batches of `train`, `valid` or `pool`; see `Stream` for the arguments."""
        return Stream(
            self.examples(part, device=device, augmented=augmented),
            batch_size,
            generator,
            replacement=replacement,
            rank=rank,
            world=world,
            name=part,
        )

    def once(
        self,
        part: str | Examples,
        batch_size: int,
        *,
        limit: int = 0,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> Iterator[Batch]:
        """One ordered pass without augmentation over a part, or over what `open_test` gave.

        Args:
            part: `train`, `valid`, `pool`, or examples.
            batch_size: examples of a batch of this process; the last may have fewer.
            limit: only so many examples, the first; 0: all.
            device: where batches are made; examples have their own.
            rank: this process, which gets the examples `rank`, `rank + world`, ...
            world: number of processes.
        """
        some = part if isinstance(part, Examples) else self.examples(part, device=device)
        return once(some, batch_size, limit=limit, rank=rank, world=world)

    # -- the test part -----------------------------------------------------------------------

    @property
    def has_test(self) -> bool:
        """Whether there is a test part to open."""
        return self._test is not None

    def open_test(self, reason: str, *, device: torch.device | str = "cpu") -> Examples:
        """Open the test part, for the final evaluation of a network and nothing else.

        Args:
            reason: goes on record, e.g. `"evaluation of run 12"`.
            device: where batches are made.

        Raises:
            DataError: there is no test part, it does not fit, or the task is sealed.
            ConfigError: the reason is empty.
        """
        if not reason.strip():
            raise ConfigError("reason is empty; accepted: why the test part is opened, in words")
        if self._sealed_by:
            raise DataError(
                f"the test part of {self.name!r} is closed during {self._sealed_by}; "
                "accepted: open it after the search, to evaluate what was found"
            )
        if not self.has_test:
            raise DataError(
                f"data {self.name!r} has no test part; accepted: data with one, or the option test"
            )
        self.test_openings = (*self.test_openings, reason)
        return self._test_examples(self._test, torch.device(device))

    def _test_examples(self, held: Any, device: torch.device) -> Examples:
        """Of the test part as it was given, which there is; called by `open_test` alone."""
        return self._fetched([held], torch.arange(len(held)), device)

    def check_test(self, *, open: bool) -> None:
        """Compare what is known of the test part without its examples with the training data.

        So that a test part that does not fit is refused before hours of training, not after.

        Args:
            open: read labels and headers of files too; a search does not.

        Raises:
            DataError: it does not fit.
        """

    @contextmanager
    def sealed(self, by: str) -> Iterator[None]:
        """Refuse `open_test` inside the block; `by` says what is going on, e.g. `"the search"`."""
        before, self._sealed_by = self._sealed_by, by
        try:
            yield
        finally:
            self._sealed_by = before

    # -- loss and metric ---------------------------------------------------------------------

    def loss(self, output: Any, y: Any, *, train: bool = False, each: bool = False) -> Tensor:
        """The mean loss of a batch: a scalar.

        Args:
            output: of the network.
            y: targets of the batch.
            train: the loss that trains weights, which may have weights and smoothing that the one
                that judges has not.
            each: one number for each example instead, `[b]`; their mean is the loss.
        """
        compare = self._train_loss if train else self._loss
        values = _compared(compare, output, y)
        if not each:
            return values.mean()
        if values.ndim:
            return values.flatten(1).mean(1) if values.ndim > 1 else values
        rows = range(length_of(y))
        return torch.stack([_compared(compare, take(output, [i]), take(y, [i])) for i in rows])

    @property
    def criterion(self) -> Compare:
        """The loss that judges, a mean: of kinds of data without the data, for other processes."""
        return self.loss

    def units(self, y: Any) -> int:
        """Units over which the loss of a batch is a mean: by default its examples."""
        return length_of(y)

    def counts(self, output: Any, y: Any) -> Sums:
        """What the metric needs of one batch, as sums over its units."""
        of = self.metric.of
        if of is None:
            raise ConfigError(
                f"metric {self.metric.name!r} has no function; accepted: one, or a class that "
                "overrides counts and value"
            )
        mean = _compared(of, output, y).detach().double().mean()
        return {"metric": mean * self.units(y)}

    def measure(self, forward: Callable[[Any], Any], batches: Iterable[Batch]) -> Sums:
        """Loss and metric of a network over batches, as sums that add up.

        Args:
            forward: the network's output for a batch's `x`; no gradient is taken.
            batches: of one part.

        Returns:
            `loss` times its units, `size`, and the metric's own sums.
        """
        total: Sums = {}
        with torch.no_grad():
            for batch in batches:
                output = forward(batch.x)
                loss = self.loss(output, batch.y).double() * batch.size
                size = torch.full_like(loss, batch.size)
                one = {**self.counts(output, batch.y), "loss": loss, "size": size}
                total = added(total, one)
        return total

    def value(self, sums: Mapping[str, Tensor]) -> float:
        """The metric in its unit, from the sums of `measure`."""
        return float(sums["metric"] / sums["size"])

    def interval(self, sums: Mapping[str, Tensor]) -> tuple[float, float] | None:
        """Ends of the metric's 95 % interval that the number of examples allows, in its unit.

        It covers which examples were drawn for the part, and nothing of the network's training.

        Args:
            sums: of `measure`, of one network on examples that are independent of it.

        Returns:
            None: nothing is known of how the metric varies.
        """
        return None

    def finished(self, net: nn.Module, examples: Examples) -> tuple[Figure, ...]:
        """What a finished network reaches beside the metric, of whole translations, say; here none.

        Args:
            net: in evaluation mode, on the device of the examples.
            examples: of a part, or the opened test part.
        """
        return ()

    def check_output(self, output: Any, batch: Batch, *, whose: str) -> tuple[str, ...]:
        """Sentences on what is odd about a network's output for a batch.

        Args:
            output: of the network.
            batch: for which it was given.
            whose: what messages call the network.

        Raises:
            SpaceError: the loss or the metric do not take it.
        """
        try:
            output = mapped(Tensor.float, output)
            with warnings.catch_warnings():
                # What torch's losses say where shapes differ and are spread over each other.
                warnings.filterwarnings("error", message="Using a target size")
                self.loss(output, batch.y, train=True)
                self.counts(output, batch.y)
        except MorphogenError:
            raise
        except Exception as error:
            if ran_out(error):
                raise
            reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
            raise SpaceError(
                f"{whose} gives {shapes(output)} for inputs {shapes(batch.x)}, which the loss and "
                f"the metric do not take: {reason.rstrip('.')}; accepted: "
                f"{self.accepted_output(batch)}"
            ) from error
        return ()

    def accepted_output(self, batch: Batch) -> str:
        """In words, what a network has to give for a batch."""
        return f"an output that the loss takes with targets {shapes(batch.y)}"

    def shown(
        self, forward: Callable[[Any], Any], part: str, *, device: torch.device | str = "cpu"
    ) -> Shown | None:
        """A few examples of a part with what a network makes of them; None: nothing to see.

        Args:
            forward: the network's output for a batch's `x`; no gradient is taken.
            part: `valid`, or where nothing is held out `pool`.
            device: where batches are made.
        """
        return None

    # -- the record --------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """All that a report knows of the task, in plain values."""
        return {
            "name": self.name,
            "examples": self.unit,
            "metric": self.metric.describe(),
            "outputs": self.outputs(),
            "parts": self.parts(),
        }

    def parts(self) -> dict[str, str]:
        """What the search parts are, in words."""
        train, valid = self.length("train"), self.length("valid")
        if self.own_valid:
            return {
                "train": f"{train} {self.unit} of the train part",
                "valid": f"{valid} {self.unit} of the validation part",
            }
        cut = f"of {train + valid} training {self.unit}, by seed {self.seed}"
        return {"train": f"{train} {cut}", "valid": f"{valid} others {cut}"}

    def on_record(self) -> dict[str, Any]:
        """What config.yaml says of it: `describe`, and what is told once of the data."""
        return self.describe() | {"prepared": self.prepared(), "remarks": self.remarks()}

    def prepared(self) -> list[str]:
        """What is done to examples before a network sees them, a phrase each."""
        return []

    def remarks(self) -> list[str]:
        """What a user should know of the data before believing in a result, a sentence each."""
        return []

    def contents(self) -> dict[str, Any]:
        """Numbers and digests of the data, by which other data are told; the test part is closed.

        Of data sets whose items are made one by one, sixteen items are read.
        """
        n = self.length("pool")
        with forked_rng(seed=0):  # data sets that draw draw the same
            x, y, _ = self.batch("pool", self._some())
        return {
            "examples": n,
            "inputs": digest(raw(t) for t in tensors_of(x)),
            "targets": digest(raw(t) for t in tensors_of(y)),
            "split": digest([raw(self.rows("train")), b"/", raw(self.rows("valid"))]),
        }

    def changed(self, before: Mapping[str, Any], *, resized: bool = False) -> str | None:
        """How these data differ from those whose `contents` are given, in words; None: not.

        Args:
            before: of `contents`.
            resized: whether both may be read in other sizes and split otherwise.
        """
        now = self.contents()
        if before.get("examples") != now["examples"]:
            return f"{before.get('examples')} examples then, {now['examples']} now"
        for key in ("inputs", "targets", *(() if resized else ("split",))):
            if before.get(key) != now[key]:
                return f"other {'rows in the search parts' if key == 'split' else key}"
        return None


def _shown(value: object) -> str:
    return repr(value)[:80]


def parted(n: int, first: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows of two parts of `n` examples, `first` in one, drawn by the seed, each ascending.

    They are the same on any machine.

    Raises:
        ConfigError: the seed is negative.
        DataError: there are fewer than two examples.
    """
    if seed < 0:
        raise ConfigError(f"seed is {seed}; accepted: 0 or more")
    if n < 2:
        raise DataError(f"train has {n} examples; accepted: two or more, or a valid part")
    order = np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable")
    one, other = np.sort(order[:first]), np.sort(order[first:])
    return torch.from_numpy(one), torch.from_numpy(other)


def _compared(compare: Compare | nn.Module, output: Any, y: Any) -> Tensor:
    """What a user's function gives, which has to be a tensor; a module's buffers come along."""
    if isinstance(compare, nn.Module):
        compare = compare.to(tensors_of(output)[0].device)
    value = compare(output, y)
    if not isinstance(value, Tensor):
        raise ConfigError(
            f"the loss or metric gives a {type(value).__name__}; accepted: a function that gives "
            "a tensor, the mean over the batch or a number for each example"
        )
    return value
