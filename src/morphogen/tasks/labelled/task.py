"""What all classification has in common: classes, the cut of the parts, loss and accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from morphogen.core.errors import ConfigError, SpaceError
from morphogen.core.statistics import proportion
from morphogen.supernets.nested import length_of, shapes
from morphogen.tasks.base import Task
from morphogen.tasks.batches import Batch
from morphogen.tasks.labelled.data import Labelled
from morphogen.tasks.labelled.groups import Groups, shared_groups
from morphogen.tasks.labelled.remarks import remarks
from morphogen.tasks.labelled.split import chosen_rows
from morphogen.tasks.labelled.weighting import ClassWeights
from morphogen.tasks.labelled.weighting import class_weights as weights_of
from morphogen.tasks.metric import Compare, Metric, Sums

L = TypeVar("L", bound=Labelled)


class LabelledTask(Task, Generic[L]):
    """Examples of classes, cut into two disjoint search parts by class and seed, groups whole.

    Args:
        name: of the data, for reports.
        pool: all examples of a search, of which `train` and `valid` are cut.
        train_rows: int64, the rows of `pool` in `train`, ascending.
        valid_rows: int64, the rows of `pool` in `valid`, ascending.
        seed: of the split.
        own_valid: whether the data came with a search-validation part; `valid` is of it then, and
            `pool` is both.
        asked: the sizes from which the parts are cut again; groups, which come whole, may have left
            less. None: as many as they have.
        class_weights: of the loss that trains weights, see `weighting`.
        label_smoothing: of the same: the share of a label that goes to all classes alike.

    Raises:
        ConfigError: an option is out of range.
    """

    metric = Metric("accuracy", "%", bounds=(0.0, 100.0))

    def __init__(
        self,
        name: str,
        pool: L,
        train_rows: Tensor,
        valid_rows: Tensor,
        *,
        seed: int,
        own_valid: bool,
        asked: tuple[int, int] | None,
        class_weights: ClassWeights,
        label_smoothing: float,
    ) -> None:
        if not 0 <= label_smoothing < 1:
            raise ConfigError(f"label_smoothing is {label_smoothing}; accepted: 0 or more, below 1")
        self.name, self.pool, self.seed, self.own_valid = name, pool, seed, own_valid
        self.train_rows, self.valid_rows = train_rows, valid_rows
        self.asked = asked or (len(train_rows), len(valid_rows))
        self.label_smoothing = label_smoothing
        self._class_weights = class_weights
        self._weights = weights_of(class_weights, self._counts(train_rows), pool.classes)

    # -- data --------------------------------------------------------------------------------

    @cached_property
    def train(self) -> L:
        """The part that trains weights in a search."""
        return self.pool.take(self.train_rows)

    @cached_property
    def valid(self) -> L:
        """The part that trains or ranks architectures in a search."""
        return self.pool.take(self.valid_rows)

    @property
    def unit(self) -> str:  # type: ignore[override]
        """What its examples are: `images`, `signals`."""
        return self.pool.unit

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.pool.classes

    def rows(self, part: str) -> Tensor:
        """The rows of a part in `pool`, int64 `[n]`, ascending."""
        return torch.arange(len(self.pool)) if part == "pool" else super().rows(part)

    def choose(self, part: str, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """`count` rows of a part, the classes mixed evenly from first to last; 0 is all rows."""
        return chosen_rows(self.pool.labels[self.rows(part)].numpy(), count, rng)

    @property
    def groups(self) -> Groups | None:
        """The group of each row of the pool."""
        return self.pool.groups

    def outputs(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def train_on_all(self) -> None:
        """Take class weights from all examples, not from the train part."""
        counts = self._counts(self.rows("pool"))
        self._weights = weights_of(self._class_weights, counts, self.classes)

    def _counts(self, rows: Tensor) -> Tensor:
        """How many of these rows are of each class."""
        return torch.bincount(self.pool.labels[rows], minlength=len(self.classes))

    # -- the record --------------------------------------------------------------------------

    def parts(self) -> dict[str, str]:
        """What the search parts are, in words, for the record of a run."""
        train, valid = len(self.train_rows), len(self.valid_rows)
        if self.own_valid:
            return {
                "train": f"{train} {self.pool.unit} of the data's train part",
                "valid": f"{valid} {self.pool.unit} of the data's own validation part",
            }
        by = "class and seed" if self.pool.groups is None else "group, class and seed"
        cut = f"of {len(self.pool)} training {self.pool.unit}, by {by} {self.seed}"
        whole = self._groups_in_words()
        return {
            "train": f"{train} {cut}{whole.get('train', '')}",
            "valid": f"{valid} others {cut}{whole.get('valid', '')}",
        }

    def _groups_in_words(self) -> dict[str, str]:
        if self.pool.groups is None:
            return {}
        counts = {p: len(np.unique(self.pool.groups[self.rows(p)])) for p in ("train", "valid")}
        return {p: f"; {n} groups, none of them in the other part" for p, n in counts.items()}

    def describe(self) -> dict[str, Any]:
        """All that a report knows of the task: also its classes."""
        return super().describe() | {"classes": list(self.classes)}

    def remarks(self) -> list[str]:
        """What a user should know of the data, a sentence each."""
        said = remarks(self.pool)
        if self.own_valid and self.pool.groups is not None:
            train, valid = (self.pool.groups[self.rows(p).numpy()] for p in ("train", "valid"))
            said += shared_groups(train, valid, "the validation part")
        return said

    # -- loss and metric ---------------------------------------------------------------------

    def loss(self, output: Tensor, y: Tensor, *, train: bool = False, each: bool = False) -> Tensor:
        """Cross entropy in nats of logits `[b, classes]` and labels `[b]`; see `Task.loss`.

        With smoothing, targets are `(1 - smoothing) onehot + smoothing / classes` (Szegedy et al.,
        CVPR 2016, arXiv 1512.00567, section 7). With class weights, every example's loss is
        multiplied by its class's. The mean is divided by the number of examples, not by the sum of
        their weights, so that the shares of data-parallel processes add up.
        """
        smoothing, weights = (self.label_smoothing, self._weights) if train else (0.0, None)
        if weights is None:
            reduction = "none" if each else "mean"
            return F.cross_entropy(output, y, label_smoothing=smoothing, reduction=reduction)
        if weights.device != output.device:
            weights = self._weights = weights.to(output.device)
        values = F.cross_entropy(output, y, label_smoothing=smoothing, reduction="none")
        values = weights[y] * values
        return values if each else values.mean()

    @property
    def criterion(self) -> Compare:
        """Cross entropy of logits and labels."""
        return F.cross_entropy

    def check_output(self, output: Any, batch: Batch, *, whose: str) -> tuple[str, ...]:
        """Refuse what is no row of scores for each example; see `Task.check_output`."""
        count, classes = length_of(batch.x), len(self.classes)
        shape = list(output.shape) if isinstance(output, Tensor) else []
        if len(shape) != 2 or shape[0] != count or shape[1] < classes:
            raise SpaceError(
                f"{whose} gives {shapes(output)} for inputs {shapes(batch.x)}; accepted: "
                f"{self.accepted_output(batch)}"
            )
        more = shape[1] - classes
        if not more:
            return ()
        return (
            f"{whose} gives {shape[1]} scores for {classes} classes: {more} of them are for no "
            "class of the data, and wrong wherever they are largest",
        )

    def accepted_output(self, batch: Batch) -> str:
        """In words, what a network has to give for a batch."""
        count = length_of(batch.x)
        return f"scores [{count}, {len(self.classes)}], one for each example and class"

    def counts(self, output: Tensor, y: Tensor) -> Sums:
        """`right`: examples whose largest logit is their label's, and whose logits are finite."""
        right = (output.argmax(1) == y) & output.isfinite().all(dim=1)
        return {"right": right.sum().double()}

    def value(self, sums: Mapping[str, Tensor]) -> float:
        """The accuracy in percent."""
        return float(100.0 * sums["right"] / sums["size"])

    def interval(self, sums: Mapping[str, Tensor]) -> tuple[float, float]:
        """Wilson's, of the share of right answers."""
        low, high = proportion(float(sums["right"]), float(sums["size"]))
        return 100.0 * low, 100.0 * high
